//! The time that a hook costs its session, as a whole process.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Size;
use crate::figures::Figures;
use crate::peer::live;
use crate::sandbox::{HOOK_WAIT, Sandbox};
use crate::world::World;

pub fn hook(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("hook", &format!("hook ({} times)", size.starts));
    let sandbox = &world.sandbox;
    let mut peers = live(sandbox, ["a".to_owned(), "b".to_owned()]);
    let without: Vec<Duration> = (0..size.starts).map(|n| one(sandbox, n, false)).collect();
    figures.durations("empty", "without mail, start to end", &without, &[]);
    let mut with = Vec::new();
    for number in 0..size.starts {
        peers[0].call("send_message", json!({ "to_id": "b", "message": "hello" }));
        // The answer. The push goes to the other session.
        peers[0].next();
        with.push(one(sandbox, number, true));
    }
    figures.durations("mail", "with a message to show, start to end", &with, &[]);
    drop(peers);

    let none = Sandbox::new().with(HOOK_WAIT, "");
    let took: Vec<Duration> = (0..size.starts).map(|n| one(&none, n, false)).collect();
    figures.durations("none", "no broker, start to end", &took, &[]);
    std::fs::create_dir_all(none.socket().parent().unwrap()).unwrap();
    let _deaf = UnixListener::bind(none.socket()).unwrap();
    let took: Vec<Duration> = (0..size.starts.min(20)).map(|n| one(&none, n, false)).collect();
    figures.durations("deaf", "a broker that never answers, start to end", &took, &[]);
}

/// Runs the hook as the client does at the beginning of turn `number`. Returns its duration.
fn one(sandbox: &Sandbox, number: usize, has_mail: bool) -> Duration {
    let mut command: Command = sandbox.command(["hook", "UserPromptSubmit"]);
    command.env("CLAUDE_PID", std::process::id().to_string());
    let input = json!({ "session_id": "session-b", "prompt_id": format!("{has_mail}-{number}"), "prompt": "go on" });
    let since = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let took = since.elapsed();
    assert!(output.status.success());
    assert_eq!(has_mail, !output.stdout.is_empty(), "{output:?}");
    took
}
