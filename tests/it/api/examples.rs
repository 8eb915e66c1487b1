//! Documentation: the examples of `docs/api.md` run as they stand, and its tables are complete.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::schema::Description;
use crate::support::{Sandbox, until};

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap()
}

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<String> {
    let (page, begin) = (page(), format!("```{language}\n"));
    let blocks = page.split(&begin).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Writes an example to a file. The examples name the usual port; the sandbox's broker has another.
fn written(sandbox: &Sandbox, example: &str) -> PathBuf {
    let example = example.replace("127.0.0.1:7899", &format!("127.0.0.1:{}", sandbox.port()));
    let file = sandbox.path().join("example");
    std::fs::write(&file, example).unwrap();
    file
}

/// Runs an example in the shell or in Python.
#[track_caller]
fn run(sandbox: &Sandbox, program: &str, example: &str) -> String {
    let file = written(sandbox, example);
    let output: Output = sandbox.shell(&format!("{program} {}", file.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs an example that goes on, and returns the first line that it prints.
fn first_line(sandbox: &Sandbox, example: &str) -> String {
    let example = written(sandbox, example);
    let mut command = sandbox.shell_command(&format!("exec sh {}", example.display()));
    let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::TERM).unwrap();
    child.wait().unwrap();
    line
}

#[test]
fn the_examples_have_at_most_ten_lines() {
    let all: Vec<String> = blocks("sh").into_iter().chain(blocks("python")).collect();
    assert!(all.len() >= 7);
    for example in all {
        let lines = example.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= 10, "{lines} lines:\n{example}");
    }
}

#[test]
fn the_examples_for_curl_run_as_they_stand() {
    if !has("curl") || !has("jq") {
        println!("skipped: curl or jq is missing");
        return;
    }
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let [unix, tcp, send, search, events]: [String; 5] = blocks("sh").try_into().unwrap();
    for list in [unix, tcp] {
        let list: Value = serde_json::from_str(&run(&sandbox, "sh", &list)).unwrap();
        assert_eq!(list["peers"][0]["name"], "backend");
    }
    let sent: Value = serde_json::from_str(&run(&sandbox, "sh", &send)).unwrap();
    assert_eq!(sent["to"]["name"], "backend");
    assert!(backend.push().to_string().contains("GET /orders needs a cursor"));
    let found: Value = serde_json::from_str(&run(&sandbox, "sh", &search)).unwrap();
    assert_eq!(found["messages"][0]["id"], sent["id"]);
    let event = first_line(&sandbox, &events);
    let event: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(event["type"], "snapshot");
    assert_eq!(event["messages"][0]["text"], "GET /orders needs a cursor");
}

#[test]
fn the_examples_for_python_run_as_they_stand() {
    if !has("python3") {
        println!("skipped: python3 is missing");
        return;
    }
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let [ask, take]: [String; 2] = blocks("python").try_into().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| run(&sandbox, "python3", &ask));
        let question = backend.push();
        assert!(question.to_string().contains("Which port?"));
        let id = question["meta"]["message_id"].as_str().unwrap().to_owned();
        backend.call("send_message", json!({ "to_id": "cli", "message": "8080", "reply_to": id }));
        assert_eq!(asked.join().unwrap(), "8080\n");
    });
    backend.send("cli", "Deployed.");
    assert_eq!(run(&sandbox, "python3", &take), "backend: Deployed.\n");
    until("the message is read", || sandbox.json(["inbox"])["messages"] == json!([]));
    sandbox.assert_state(&last_of(&sandbox), "read", "cli");
}

fn last_of(sandbox: &Sandbox) -> String {
    let log = sandbox.json(["log", "-n", "1"]);
    log["messages"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_page_names_each_stable_route_and_each_refusal() {
    let (page, description) = (page(), Description::read());
    for (id, method, path, operation) in description.operations() {
        let route = format!("`{} {path}`", method.to_uppercase());
        let is_stable = operation["tags"] == json!(["stable"]);
        assert_eq!(page.contains(&format!("| {route} |")), is_stable, "{id}: {route}");
    }
    let (_, refusals) = page.split_once("\n## Refusals\n").unwrap();
    for code in description.codes() {
        assert!(refusals.contains(&format!("`{code}`")), "{code}");
    }
}
