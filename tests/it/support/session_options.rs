//! How a session is started: its name, directory, client and variables.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{PROGRAM, Sandbox, Session};

/// The properties of a session.
pub struct SessionOptions {
    pub name: String,
    /// `CLAUDE_CODE_SESSION_ID`; `None` for a client without one.
    pub session_id: Option<String>,
    pub client: String,
    pub variables: Vec<(String, String)>,
    pub directory: Option<PathBuf>,
    /// Whether `start` waits until the session is live and pushes may reach it.
    pub settle: bool,
}

impl SessionOptions {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            session_id: Some(format!("session-{name}")),
            client: "claude-code".to_owned(),
            variables: vec![("CLAUDE_PEERS_CHANNEL".to_owned(), "on".to_owned())],
            directory: None,
            settle: true,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(n, _)| n != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_channel(self) -> Self {
        self.with("CLAUDE_PEERS_CHANNEL", "off")
    }

    pub fn at_once(mut self) -> Self {
        self.settle = false;
        self
    }

    pub fn session_id(mut self, id: Option<&str>) -> Self {
        self.session_id = id.map(str::to_owned);
        self
    }

    pub fn client(mut self, name: &str) -> Self {
        name.clone_into(&mut self.client);
        self
    }

    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The server's command line, as the session's client would run it.
    pub fn command(&self, sandbox: &Sandbox) -> Command {
        let directory = self.directory.clone().unwrap_or_else(|| sandbox.path().join(&self.name));
        std::fs::create_dir_all(&directory).unwrap();
        let mut command = sandbox.command(["mcp"]);
        command.current_dir(&directory).env("CLAUDE_PROJECT_DIR", &directory);
        if let Some(id) = &self.session_id {
            command.env("CLAUDE_CODE_SESSION_ID", id).env("CLAUDE_CODE_ENTRYPOINT", "cli");
        }
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Starts the process and does nothing else.
    pub fn spawn(&self, sandbox: &Sandbox) -> Session {
        Session::spawn(self.command(sandbox))
    }

    /// Starts the session and shakes hands, as Claude Code does.
    pub fn start(&self, sandbox: &Sandbox) -> Session {
        let mut session = self.spawn(sandbox);
        session.handshake(&self.client);
        if self.settle {
            // The peer's own listing says when it is live. Pushes begin one second after
            // `initialized`.
            let since = Instant::now();
            session.until_live();
            std::thread::sleep(Duration::from_millis(1_050).saturating_sub(since.elapsed()));
        }
        session
    }
}

/// Starts a client process between the test and the server, as an agent program is one. Its own
/// environment has no session id; its child's has.
pub fn client_process(sandbox: &Sandbox, name: &str, session: &str) -> Session {
    let directory = sandbox.path().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let script = "CLAUDE_CODE_SESSION_ID=\"$1\" CLAUDE_CODE_ENTRYPOINT=cli \"$0\" mcp; exit";
    let mut command = sandbox.command_of("sh", ["-c", script, PROGRAM, session]);
    command
        .current_dir(&directory)
        .env("CLAUDE_PROJECT_DIR", &directory)
        .env("CLAUDE_PEERS_CHANNEL", "on");
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    session.until_live();
    session
}
