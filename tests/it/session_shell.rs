//! Promise 4: a command line in a session's shell speaks as that session, and reads its mail.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::hooks::{context, hook_of};
use crate::support::{PROGRAM, Sandbox, Session, SessionOptions, until};

/// The program as the Bash tool of a session runs it.
fn bash(sandbox: &Sandbox, session: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command.env("CLAUDE_CODE_SESSION_ID", format!("session-{session}")).env("CLAUDECODE", "1");
    command
}

#[track_caller]
fn succeeds(mut command: Command) -> (String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    said(output)
}

#[track_caller]
fn said(output: Output) -> (String, String) {
    let (out, error) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{error}");
    (out, error)
}

fn sessions<const N: usize>(sandbox: &Sandbox, names: [&str; N]) -> [Session; N] {
    names.map(|name| SessionOptions::new(name).start(sandbox))
}

#[test]
fn what_a_sessions_shell_sends_comes_from_the_session_and_the_answer_goes_to_its_conversation() {
    let sandbox = Sandbox::new();
    let [mut backend, mut frontend, mut other] =
        sessions(&sandbox, ["backend", "frontend", "other"]);
    let (sent, error) = succeeds(bash(&sandbox, "frontend", &["send", "backend", "from a shell"]));
    assert_eq!(error, "", "nothing needs to be said");
    let push = backend.push();
    assert_eq!(push["meta"]["from_id"], frontend.id().as_str());
    assert_eq!(push["meta"]["from_name"], "frontend (by its command line)");
    let shown = backend.text("check_messages", json!({}));
    assert!(shown.contains("frontend (by its command line) (from_id "), "{shown}");
    let id = sent.split(' ').next().unwrap();
    assert_eq!(sandbox.message(id)["from"]["id"], frontend.id().as_str());

    // By the id, by the reply, or by the name that was shown.
    let from = push["meta"]["from_id"].as_str().unwrap();
    backend.call("send_message", json!({ "to_id": from, "message": "one", "reply_to": id }));
    backend.send("frontend (by its command line)", "two");
    assert_eq!(frontend.push()["content"], "one");
    assert_eq!(frontend.push()["content"], "two");
    assert_eq!(sandbox.message(id)["state"], "read", "it was answered");
    assert_eq!(sandbox.ok(["inbox"]), "No messages.\n", "the person's inbox has none of it");
    assert!(other.text("check_messages", json!({})).starts_with("No messages"));
}

#[test]
fn each_sessions_shell_reads_the_mail_of_its_own_session_and_no_other() {
    let sandbox = Sandbox::new();
    let start = |name| SessionOptions::new(name).without_channel().start(&sandbox);
    let (mut backend, mut frontend) = (start("backend"), start("frontend"));
    let mut sender = sandbox.session("sender");
    let [for_backend, for_frontend] =
        ["backend", "frontend"].map(|name| sender.send(name, &format!("for the {name}")));
    sender.send("cli", "for the person");
    let (out, error) = succeeds(bash(&sandbox, "backend", &["inbox"]));
    assert!(out.contains("for the backend") && !out.contains("frontend"), "{out}");
    assert!(!out.contains("for the person") && error.is_empty(), "{out}{error}");
    until("it is read", || sandbox.message(&for_backend)["state"] == "read");
    assert_eq!(sandbox.message(&for_backend)["read_via"], "cli");
    assert!(backend.text("check_messages", json!({})).starts_with("No messages"));
    // A message that a hook could show is shown once only.
    assert_eq!(context(&sandbox, "PostToolUse", "backend", "t1", json!({})), "");
    assert_eq!(sandbox.message(&for_frontend)["state"], "queued");
    assert!(frontend.text("check_messages", json!({})).contains("| for the frontend"));
    let (out, _) = succeeds(bash(&sandbox, "frontend", &["inbox"]));
    assert_eq!(out, "No messages.\n");
    assert!(sandbox.ok(["inbox"]).contains("for the person"));
}

#[test]
fn a_wait_in_a_sessions_shell_gets_the_answer_and_the_conversation_does_not() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let wait = |arguments: &[&str]| {
        let mut command = bash(&sandbox, "frontend", arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let waiting = wait(&["send", "--wait", "60", "backend", "ready?"]);
    let asked = backend.push();
    let question = asked["meta"]["message_id"].as_str().unwrap().to_owned();
    let answer = json!({ "to_id": frontend.id(), "message": "ready", "reply_to": question });
    backend.call("send_message", answer);
    assert_eq!(said(waiting.wait_with_output().unwrap()).0, "ready\n");
    assert!(frontend.text("check_messages", json!({})).starts_with("No messages"));

    // The same for the next message. A wait that times out leaves it to the session.
    let waiting = wait(&["inbox", "--wait", "60"]);
    let news = backend.send("frontend", "news");
    assert!(said(waiting.wait_with_output().unwrap()).0.contains("news"));
    until("it is read", || sandbox.message(&news)["read_via"] == "cli");
    let late = wait(&["send", "--wait", "1", "backend", "late?"]).wait_with_output().unwrap();
    assert_eq!(late.status.code(), Some(124));
    let error = String::from_utf8(late.stderr).unwrap();
    assert!(error.contains("goes to the session's own mailbox"), "{error}");
    backend.send("frontend", "too late");
    assert!(frontend.text("check_messages", json!({})).contains("| too late"));
}

#[test]
fn peers_and_log_in_a_sessions_shell_are_those_of_the_session() {
    let sandbox = Sandbox::new();
    let [mut backend, mut frontend] = sessions(&sandbox, ["backend", "frontend"]);
    let (out, error) = succeeds(bash(&sandbox, "frontend", &["peers"]));
    assert!(out.contains("backend") && !out.contains("frontend"), "{out}");
    let id = frontend.id();
    assert_eq!(error, format!("This command acts for the session frontend ({id}).\n"));
    let (json, _) = succeeds(bash(&sandbox, "frontend", &["peers", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["me"]["id"], id.as_str());
    frontend.send("backend", "by the tool");
    succeeds(bash(&sandbox, "frontend", &["send", "backend", "by the shell"]));
    sandbox.ok(["send", "backend", "by the person"]);
    let (json, _) = succeeds(bash(&sandbox, "frontend", &["log", "--sent", "--json"]));
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&Value> = lines.iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, ["by the tool", "by the shell"]);
    // A scope is that of the shell's directory; the session itself is not in it.
    let mut command = bash(&sandbox, "frontend", &["send", "--scope", "directory", "to all"]);
    command.current_dir(sandbox.path().join("backend"));
    succeeds(command);
    for _ in 0..3 {
        backend.push();
    }
    assert_eq!(backend.push()["content"], "to all");
    let (code, error) = {
        let mut command = bash(&sandbox, "frontend", &["send", "frontend", "to myself"]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(code == Some(1) && error.contains("the recipient is yourself"), "{error}");
}

#[test]
fn an_unknown_session_has_the_persons_command_line_and_is_told_so() {
    let sandbox = Sandbox::new();
    let [mut backend, mut frontend] = sessions(&sandbox, ["backend", "frontend"]);
    let (out, error) = succeeds(bash(&sandbox, "unknown", &["send", "backend", "hello"]));
    assert!(out.contains("to backend"), "{out}");
    assert!(error.contains("is not registered") && error.contains("as `cli`"), "{error}");
    assert_eq!(backend.push()["meta"]["from_name"], "cli (from a session)");
    backend.send("cli", "for the person");
    let (out, error) = succeeds(bash(&sandbox, "unknown", &["inbox"]));
    assert!(out.contains("for the person") && error.contains("is not registered"), "{out}{error}");
    let (_, error) = succeeds(bash(&sandbox, "unknown", &["peers"]));
    assert!(error.contains("is not registered"), "{error}");
    assert!(frontend.text("check_messages", json!({})).starts_with("No messages"));
    // Outside of a session nothing needs to be said.
    let output = sandbox.run(["peers"]);
    assert!(output.stderr.is_empty());
}

/// A client process that runs the server and, on request, a shell.
struct ClientProcess {
    session: Session,
    fifo: std::path::PathBuf,
}

impl ClientProcess {
    /// `program` is the client's name as the system knows it.
    fn open(sandbox: &Sandbox, name: &str, client: &str, program: &str) -> Self {
        let program = sandbox.path().join(program);
        if !program.exists() {
            std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        }
        let directory = sandbox.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let fifo = directory.join("commands");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // The shell's variable may name an earlier session, as after /clear or /resume.
        let script = r#"
            exec 3<&0 </dev/null
            CLAUDE_CODE_SESSION_ID="$1" CLAUDE_CODE_ENTRYPOINT=cli "$0" mcp <&3 &
            exec 3<&-
            while read -r line <"$2"; do
                CLAUDE_CODE_SESSION_ID="${line%% *}" sh -c "\"\$0\" ${line#* }; exit" "$0" \
                    >"$2.out" 2>"$2.err"
                echo done >"$2.done"
            done"#;
        let session = format!("session-{name}");
        let mut command = sandbox.command_of(program, ["-c", script, PROGRAM, &session]);
        command
            .arg(&fifo)
            .current_dir(&directory)
            .env("CLAUDE_PROJECT_DIR", &directory)
            .env("CLAUDE_PEERS_CHANNEL", "on");
        let mut session = Session::spawn(command);
        session.handshake(client);
        session.until_live();
        Self { session, fifo }
    }

    /// Runs the program in the shell of the client process, whose variable names `session`.
    fn run(&self, session: &str, arguments: &str) -> String {
        let done = std::path::PathBuf::from(format!("{}.done", self.fifo.display()));
        let _ = std::fs::remove_file(&done);
        std::fs::write(&self.fifo, format!("{session} {arguments}\n")).unwrap();
        until("the shell has run it", || done.exists());
        let read = |end: &str| std::fs::read_to_string(format!("{}.{end}", self.fifo.display()));
        format!("{}{}", read("out").unwrap(), read("err").unwrap())
    }
}

#[test]
fn a_shell_whose_variable_is_out_of_date_is_known_by_the_processes_above_it() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut client = ClientProcess::open(&sandbox, "frontend", "claude-code", "claude");
    let id = client.session.id();
    for said in ["session-frontend", "session-of-yesterday"] {
        let sent = client.run(said, "send backend hello");
        assert!(sent.contains("to backend"), "{sent}");
        let push = backend.push();
        assert_eq!(push["meta"]["from_id"], id.as_str(), "{said}");
    }
    // The id of a session that lives elsewhere counts only where nothing else is known: the nearest
    // client above the shell decides.
    let other = ClientProcess::open(&sandbox, "other", "claude-code", "claude");
    client.run("session-other", "send backend whose");
    assert_eq!(backend.push()["meta"]["from_id"], id.as_str());
    drop(other);
    // After /resume the client process shows another session, as its hooks say.
    let mut resumed = sandbox.session("resumed");
    let id = resumed.id();
    resumed.close_input();
    resumed.wait_end();
    sandbox.until_away(&id);
    hook_of(&sandbox, client.session.pid(), "session-resumed", "SessionStart", Value::Null);
    client.session.close_input();
    until("its old server is gone", || {
        let listed = sandbox.json(["peers"]);
        listed["peers"].as_array().unwrap().iter().all(|peer| peer["name"] != "frontend")
    });
    client.run("session-frontend", "send backend resumed");
    assert_eq!(backend.push()["meta"]["from_id"], id.as_str());
}

#[test]
fn a_shell_that_outlives_its_session_has_the_persons_command_line() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut client = ClientProcess::open(&sandbox, "frontend", "claude-code", "claude");
    let id = client.session.id();
    client.session.kill9();
    sandbox.until_away(&id);
    let (_, error) = succeeds(bash(&sandbox, "frontend", &["send", "backend", "left behind"]));
    assert!(error.contains("as `cli`"), "{error}");
    assert_eq!(backend.push()["meta"]["from_name"], "cli (from frontend)");
}

#[test]
fn the_shell_of_another_agent_inside_a_session_speaks_as_that_agent() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let [mut outer] = sessions(&sandbox, ["outer"]);
    let mut agent = ClientProcess::open(&sandbox, "agent", "codex-mcp-client", "codex");
    let sent = agent.run("session-outer", "send backend hello");
    assert!(sent.contains("to backend"), "{sent}");
    let push = backend.push();
    assert_eq!(push["meta"]["from_id"], agent.session.id().as_str());
    assert_ne!(push["meta"]["from_id"], outer.id().as_str());
}

/// Older clients do not report where they run, and older brokers do not use it.
#[test]
fn a_command_line_of_an_earlier_version_goes_on_as_before() {
    use crate::support::http::Request;
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let _frontend = sandbox.session("frontend");
    let body = json!({ "to": "backend", "text": "hello", "from_session": "session-frontend", "wait": true });
    let sent = Request::post("/v1/messages", &body).unix(&sandbox);
    assert_eq!(sent.status, 200, "{:?}", sent.refusal());
    let push = backend.push();
    assert_eq!(push["meta"]["from_name"], "cli (from frontend)");
    // Whatever a header of a later version holds, the call is answered.
    for odd in
        ["nonsense", "{\"inside\":{\"session\":\"session-frontend\",\"more\":1}}", "{\"inside\":5}"]
    {
        let sent = Request::post("/v1/messages", &json!({ "to": "backend", "text": odd }))
            .with("claude-peers-around", odd)
            .unix(&sandbox);
        assert_eq!(sent.status, 200, "{odd}: {:?}", sent.refusal());
        let from = backend.push()["meta"]["from_name"].clone();
        let inside = odd.contains("more");
        assert_eq!(from, if inside { "frontend (by its command line)" } else { "cli" }, "{odd}");
    }
}
