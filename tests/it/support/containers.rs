//! Containers as an ordinary user can make them.
//!
//! Each has a user, pid and mount namespace of its own, the host's socket, and its own home.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{PROGRAM, Sandbox, Session, until};

/// The properties of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its client is its first process.
    ClientFirst,
    /// Another process comes before its client.
    ClientLater,
    /// As `ClientFirst`, but without `/proc`.
    WithoutProc,
    /// As `ClientFirst`, but with the host's `/proc`.
    HostsProc,
    /// The client is outside, and each server and each hook is alone in a container.
    ServerAlone,
    /// Its process numbers are the host's, but its boot clock is set ahead.
    OtherTime,
}

/// A client in a container, with one session and its server.
pub struct Container {
    pub session: Session,
    directory: PathBuf,
}

/// Starts the server when the file `go` exists, and runs hooks on request, one line each: session,
/// event, file for the output.
const CLIENT: &str = r#"
    exec 3<&0
    (
        while [ ! -e go ]; do sleep 0.02; done
        export CLAUDE_CODE_SESSION_ID=$1 CLAUDE_CODE_ENTRYPOINT=cli
        exec "$PROGRAM" mcp <&3 3<&-
    ) &
    exec 3<&-
    while read -r session event output; do
        echo "{\"session_id\": \"$session\", \"prompt_id\": \"$output\", \"source\": \"clear\"}" |
            CLAUDE_PID=$$ CLAUDE_CODE_SESSION_ID=$session "$PROGRAM" hook "$event" >"$output.new"
        mv "$output.new" "$output"
    done <>hooks
"#;

impl Container {
    /// Starts a container called `name` with a live session. Returns `None` where that is not
    /// allowed.
    pub fn start(sandbox: &Sandbox, name: &str, session: &str, kind: Kind) -> Option<Self> {
        let mut container = Self::without_server(sandbox, name, session, kind)?;
        container.serve();
        Some(container)
    }

    /// Starts a container whose client has not yet started its server.
    pub fn without_server(
        sandbox: &Sandbox,
        name: &str,
        session: &str,
        kind: Kind,
    ) -> Option<Self> {
        let directory = sandbox.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        // Claude Code is recognised by its name.
        let claude = directory.join("claude");
        super::write_program(&claude, std::fs::read("/bin/sh").unwrap());
        let made = Command::new("mkfifo").arg(directory.join("hooks")).status().unwrap();
        assert!(made.success());
        let mut command = contained(sandbox, &directory, kind)?;
        let client: &[&str] = match kind {
            // The `exit` keeps the shell from becoming the client.
            Kind::ClientLater => &["sh", "-c", "\"$@\"; exit", "sh"],
            _ => &[],
        };
        command.args(client).arg(&claude).args(["-c", CLIENT, "claude", session]);
        Some(Self { session: Session::spawn(command), directory })
    }

    /// Has the client start its server, and waits until the session is live.
    pub fn serve(&mut self) {
        std::fs::write(self.directory.join("go"), "").unwrap();
        self.session.handshake("claude-code");
        until("the session is live", || self.session.me()["live"] == true);
    }

    /// Runs a hook of the client. Returns its output.
    pub fn hook(&self, session: &str, event: &str) -> String {
        static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let output = self.directory.join(format!("output-{call}"));
        let mut hooks =
            std::fs::File::options().write(true).open(self.directory.join("hooks")).unwrap();
        writeln!(hooks, "{session} {event} {}", output.display()).unwrap();
        until("the hook ends", || output.exists());
        std::fs::read_to_string(output).unwrap()
    }
}

/// A new user, pid and mount namespace with its own `/proc`.
const NEW: [&str; 7] =
    ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The words before a command that run it in a container of this kind.
fn container(kind: Kind) -> Vec<&'static str> {
    let mut words = vec!["unshare"];
    match kind {
        Kind::OtherTime => {
            words.extend([NEW[0], NEW[1], "--time", "--boottime=5000", NEW[4], NEW[5]])
        }
        Kind::HostsProc => words.extend(&NEW[..6]),
        Kind::WithoutProc => {
            words.extend(NEW);
            words.extend(["sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"]);
        }
        Kind::ClientFirst | Kind::ClientLater | Kind::ServerAlone => words.extend(NEW),
    }
    words
}

/// Returns a command that runs what is added to it in a container whose home is `directory`; `None`
/// where that is not allowed.
pub fn contained(sandbox: &Sandbox, directory: &Path, kind: Kind) -> Option<Command> {
    let words = container(kind);
    let alone = directory.join("alone");
    let mut command = if kind == Kind::ServerAlone {
        let script = format!("#!/bin/sh\nexec {} {PROGRAM} \"$@\"\n", words.join(" "));
        super::write_program(&alone, script);
        sandbox.command_of("env", [""; 0])
    } else {
        sandbox.command_of(words[0], &words[1..])
    };
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").stdin(Stdio::null()).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "no container ({kind:?}): {tried:?}"
        );
        println!("skipped: no container ({kind:?}) can be made here");
        return None;
    }
    command
        .env("HOME", directory)
        .env("CLAUDE_PEERS_SOCKET", sandbox.socket())
        .env("CLAUDE_PROJECT_DIR", directory)
        .env("CLAUDE_PEERS_CHANNEL", "off")
        .env(
            "PROGRAM",
            if kind == Kind::ServerAlone { alone.as_path() } else { Path::new(PROGRAM) },
        )
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_STATE_HOME")
        .current_dir(directory);
    Some(command)
}

/// The live peers as seen from outside: name and reachability.
pub fn reached(sandbox: &Sandbox) -> Vec<(String, String)> {
    let peers = sandbox.json(["peers"])["peers"].clone();
    let text = |peer: &Value, key: &str| peer[key].as_str().unwrap_or_default().to_owned();
    let peers = peers.as_array().cloned().unwrap_or_default();
    let mut found: Vec<_> = peers.iter().map(|p| (text(p, "name"), text(p, "reach"))).collect();
    found.sort();
    found
}
