//! Identity: servers and hooks without a session id belong to the client process above them.
//!
//! An old client gives them none, or a wrapper clears the environment.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::hooks::{hook_of, run_hook};
use crate::support::{PROGRAM, Sandbox, Session, SessionOptions, until};

/// Runs our server without a session id.
const PLAIN: &str = r#""$0" mcp; exit"#;

/// The same behind a wrapper that clears the environment and stays between client and server.
const WRAPPED: &str = r#"env -i HOME="$HOME" PATH="$PATH" XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" \
    XDG_STATE_HOME="$XDG_STATE_HOME" XDG_CONFIG_HOME="$XDG_CONFIG_HOME" \
    CLAUDE_PEERS_PORT="$CLAUDE_PEERS_PORT" CLAUDE_PEERS_CHANNEL=off CLAUDE_PEERS_LOG=stderr \
    sh -c '"$0" mcp; exit' "$0"; exit"#;

/// A client that gives its hooks no variable either. It runs one hook for each name that is written
/// to the pipe `events`, with `input` as its input.
const WITH_HOOKS: &str = r#"/bin/sh -c 'while read -r event; do
            "$0" hook $event <"$1/input" >"$1/output" 2>&1; mv "$1/output" "$1/said"
        done <"$1/events"' "$0" "$1" </dev/null >/dev/null 2>&1 &
    "$0" mcp; exit"#;

/// Starts a client process in a directory of this name. It runs as `program`, and starts the server
/// by `script`.
fn untold(sandbox: &Sandbox, program: &str, script: &str, name: &str) -> Session {
    let directory = sandbox.path().join(name);
    fs::create_dir_all(&directory).unwrap();
    let arguments = ["-c".as_ref(), script.as_ref(), PROGRAM.as_ref(), directory.as_os_str()];
    let mut command = sandbox.command_of(program, arguments);
    command.current_dir(&directory).env("CLAUDE_PEERS_CHANNEL", "off");
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    session.until_live();
    session
}

/// A shell that has Claude Code's name.
fn claude(sandbox: &Sandbox) -> String {
    let path = sandbox.path().join("bin/claude");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
    path.display().to_string()
}

/// Runs a hook of this client process, with the process's pid. Returns its output.
fn told(sandbox: &Sandbox, client: &Session, event: &str, session: &str) -> String {
    hook_of(sandbox, client.pid(), session, event, Value::Null)
}

/// A client process of [`WITH_HOOKS`].
struct Old {
    window: Session,
    directory: PathBuf,
    /// The loop that runs the hooks ends when this is closed.
    events: fs::File,
}

impl Old {
    fn new(sandbox: &Sandbox, program: &str, name: &str) -> Self {
        let directory = sandbox.path().join(name);
        fs::create_dir_all(&directory).unwrap();
        let pipe = directory.join("events");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Opened for reading and writing, or the call would wait for the other end.
        let events = fs::File::options().read(true).write(true).open(pipe).unwrap();
        Self { window: untold(sandbox, program, WITH_HOOKS, name), directory, events }
    }

    /// Runs a hook. Returns its output.
    fn says(&mut self, event: &str, input: &Value) -> String {
        fs::write(self.directory.join("input"), input.to_string()).unwrap();
        writeln!(self.events, "{event}").unwrap();
        let said = self.directory.join("said");
        until("the hook has ended", || said.exists());
        let text = fs::read_to_string(&said).unwrap();
        fs::remove_file(said).unwrap();
        text
    }
}

fn reach(sandbox: &Sandbox, id: &str) -> String {
    let peers = sandbox.json(["peers"])["peers"].clone();
    let found = peers.as_array().unwrap().iter().find(|peer| peer["id"] == id).cloned();
    found.unwrap()["reach"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_without_a_session_id_is_bound_by_its_client() {
    let sandbox = Sandbox::new();
    for (name, script) in [("plain", PLAIN), ("wrapped", WRAPPED)] {
        let mut window = untold(&sandbox, "sh", script, name);
        let (id, _) = window.identity();
        assert_eq!(reach(&sandbox, &id), "tools", "{name}: no hook has spoken");
        sandbox.ok(["send", &id, "for the untold"]);
        assert_eq!(told(&sandbox, &window, "SessionStart", name), "");
        assert_eq!(reach(&sandbox, &id), "hooks", "{name}");
        let shown = told(&sandbox, &window, "UserPromptSubmit", name);
        assert!(shown.contains("| for the untold"), "{name}: {shown}");
        // The session can be resumed, in a client process without a session id as well.
        window.close_input();
        window.wait_end();
        until("it is away", || sandbox.live_ids().is_empty());
        sandbox.ok(["send", &id, "for the one who resumes"]);
        let mut again = untold(&sandbox, "sh", script, name);
        told(&sandbox, &again, "SessionStart", name);
        assert_eq!(again.identity().0, id, "{name}");
        let shown = told(&sandbox, &again, "UserPromptSubmit", name);
        assert!(shown.contains("| for the one who resumes"), "{name}: {shown}");
        assert_eq!(sandbox.live_ids(), [id.as_str()], "{name}");
        again.close_input();
        again.wait_end();
        until("it is away", || sandbox.live_ids().is_empty());
    }
}

#[test]
fn a_hook_event_before_it_binds_a_server_without_a_session_id() {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    assert_eq!(sandbox.live_ids().len(), 0, "the broker runs");
    let said = |event: &str| {
        let output = run_hook(sandbox.command(["hook", event]), &json!({ "session_id": "s" }));
        String::from_utf8(output.stdout).unwrap()
    };
    said("SessionStart");
    let mut session =
        SessionOptions::new("work").session_id(None).without_channel().start(&sandbox);
    let id = session.id();
    assert_eq!(reach(&sandbox, &id), "hooks");
    sandbox.ok(["send", &id, "hello"]);
    assert!(said("UserPromptSubmit").contains("| hello"));
}

/// A sender is told what a hook would do, not just that a hook event came.
#[test]
fn hooks_of_another_session_of_the_client_do_not_count() {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let untold = |name: &str| SessionOptions::new(name).session_id(None).without_channel();
    let mut first = untold("first").start(&sandbox);
    let mut last = untold("last").start(&sandbox);
    let (first, last) = (first.id(), last.id());
    let said = |event: &str| {
        let output = run_hook(sandbox.command(["hook", event]), &json!({ "session_id": "s" }));
        String::from_utf8(output.stdout).unwrap()
    };
    said("SessionStart");
    assert_eq!((reach(&sandbox, &first), reach(&sandbox, &last)), ("tools".into(), "hooks".into()));
    sandbox.ok(["send", &first, "for the first"]);
    sandbox.ok(["send", &last, "for the last"]);
    let shown = said("UserPromptSubmit");
    assert!(shown.contains("| for the last") && !shown.contains("for the first"), "{shown}");
}

/// Clients before 2.1.154 give their servers and hooks no variable.
#[test]
fn hooks_and_servers_of_an_old_client_find_each_other_by_the_client_above_both() {
    let sandbox = Sandbox::new();
    let claude = claude(&sandbox);
    for (name, program) in [("named", claude.as_str()), ("unnamed", "sh")] {
        let mut old = Old::new(&sandbox, program, name);
        let (id, _) = old.window.identity();
        let input = |session: &str| json!({ "session_id": session, "source": "startup" });
        assert_eq!(old.says("SessionStart", &input(name)), "");
        assert_eq!(reach(&sandbox, &id), "hooks", "{name}");
        sandbox.ok(["send", &id, "for the old"]);
        let shown = old.says("UserPromptSubmit", &input(name));
        assert!(shown.contains("| for the old"), "{name}: {shown}");
        // After /clear, too.
        sandbox.ok(["send", &id, "after the clear"]);
        assert_eq!(old.says("SessionStart", &input("cleared")), "");
        let shown = old.says("UserPromptSubmit", &input("cleared"));
        assert!(shown.contains("| after the clear"), "{name}: {shown}");
        old.window.close_input();
        old.window.wait_end();
        until("it is away", || sandbox.live_ids().is_empty());
    }
}

/// A waiting hook must notice the end of its client.
#[test]
fn an_old_client_is_woken() {
    let sandbox = Sandbox::new();
    let mut old = Old::new(&sandbox, &claude(&sandbox), "idle");
    let (id, _) = old.window.identity();
    let input = json!({ "session_id": "s", "prompt_id": "t" });
    assert_eq!(old.says("Stop", &input), "");
    sandbox.ok(["send", &id, "wake up"]);
    let said = old.says("Stop --wait", &input);
    assert!(said.contains("1 message from another session waits"), "{said}");
}
