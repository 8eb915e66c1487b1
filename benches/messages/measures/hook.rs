//! The time that a hook costs its session, as a whole process.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Size;
use crate::figures::Figures;
use crate::floor::{Floor, Lengths};
use crate::peer::live;
use crate::sandbox::{HOOK_WAIT, Sandbox};
use crate::world::World;

/// About what a hook writes to the broker, and gets from it.
const HOOK: Lengths = Lengths { call: 700, answer: 200, push: 700 };

/// How often a hook waits for a broker that does not answer: each time 200 ms.
const DEAF: usize = 10;

pub fn hook(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("hook", &format!("hook ({} times)", size.starts));
    let sandbox = &world.sandbox;
    let mut peers = live(sandbox, ["a".to_owned(), "b".to_owned()]);
    let floor = Floor::start(world.disk(), 1, 1, HOOK);
    let (mut took, mut floors) = (Vec::new(), Vec::new());
    for number in 0..size.starts {
        took.push(tool_used(sandbox, number));
        floors.push(floor.run(true));
    }
    figures.durations("empty", "without mail, start to end", &took, &floors);
    let (mut took, mut floors) = (Vec::new(), Vec::new());
    for number in 0..size.starts {
        peers[0].call("send_message", json!({ "to_id": "b", "message": "hello" }));
        // The answer. The push goes to the other session.
        peers[0].next();
        took.push(one(sandbox, number, true));
        tool_used(sandbox, number);
        floors.push(floor.run(false));
    }
    figures.durations("mail", "with a message to show, start to end", &took, &floors);
    drop(peers);

    let none = Sandbox::new().with(HOOK_WAIT, "");
    let took: Vec<Duration> = (0..size.starts).map(|n| one(&none, n, false)).collect();
    figures.durations("none", "no broker, start to end", &took, &[]);
    std::fs::create_dir_all(none.socket().parent().unwrap()).unwrap();
    let _deaf = UnixListener::bind(none.socket()).unwrap();
    let took: Vec<Duration> =
        (0..size.starts.div_ceil(4).min(DEAF)).map(|n| one(&none, n, false)).collect();
    figures.durations("deaf", "a broker that never answers, start to end", &took, &[]);
}

/// Runs the hook of session b as the client does at the beginning of turn `number`. Returns its
/// duration.
pub fn one(sandbox: &Sandbox, number: usize, has_mail: bool) -> Duration {
    let turn = format!("turn-{number}");
    let input = json!({ "session_id": "session-b", "prompt_id": turn, "prompt": "go on" });
    run(sandbox, "UserPromptSubmit", &input, has_mail)
}

/// Runs the hook of session b as the client does after a tool call of that turn, when there is no
/// mail. It is the evidence that the turn went on with what was shown at its beginning.
pub fn tool_used(sandbox: &Sandbox, number: usize) -> Duration {
    let input = json!({
        "session_id": "session-b", "prompt_id": format!("turn-{number}"), "tool_name": "Bash",
        "tool_use_id": format!("toolu_{number:04}"), "duration_ms": 0,
        "tool_input": { "command": "ls" }, "tool_response": { "stdout": "src" },
    });
    run(sandbox, "PostToolUse", &input, false)
}

fn run(sandbox: &Sandbox, event: &str, input: &Value, has_mail: bool) -> Duration {
    let mut command: Command = sandbox.command(["hook", event]);
    command.env("CLAUDE_PID", std::process::id().to_string());
    let since = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let took = since.elapsed();
    assert!(output.status.success());
    assert_eq!(has_mail, !output.stdout.is_empty(), "{output:?}");
    took
}
