//! A session of the demo: `claude-peers mcp` as a child process, driven as Claude Code drives it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::config::Environment;
use crate::demo::error::DemoError;

const ANSWER: Duration = Duration::from_secs(20);

/// The demo's own home, directories and port. No file of the user is touched.
pub struct Sandbox {
    root: PathBuf,
    variables: Vec<(&'static str, OsString)>,
}

impl Sandbox {
    pub fn new(root: &Path, ours: &Environment) -> Result<Self, DemoError> {
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).recursive(true);
        let mut variables: Vec<(&'static str, OsString)> = Vec::new();
        for (name, directory) in [
            ("HOME", "home"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
        ] {
            private.create(root.join(directory))?;
            variables.push((name, root.join(directory).into()));
        }
        // A port that is free now. Sessions do not need it if another process takes it.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        variables.push(("CLAUDE_PEERS_PORT", port.to_string().into()));
        // A short name: the path of a temporary directory is long on some systems.
        variables.push(("CLAUDE_PEERS_SOCKET", root.join("b.sock").into()));
        variables.push(("PATH", ours.search_path().to_owned()));
        Ok(Self { root: root.into(), variables })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns what a process of the demonstration sees.
    pub fn variables(&self) -> Environment {
        self.variables.iter().cloned().collect()
    }

    pub fn apply(&self, command: &mut Command) {
        command.env_clear().envs(self.variables.iter().cloned());
    }
}

/// A push, and when it was read from the server's standard output.
pub struct Push {
    pub params: Value,
    pub at: Instant,
}

impl Push {
    /// Returns the push as Claude Code shows it to the model.
    pub fn as_tag(&self) -> String {
        let mut tag = "<channel source=\"claude-peers\"".to_owned();
        for (name, value) in self.params["meta"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let _ = write!(tag, "\n         {name}=\"{value}\"");
        }
        format!("{tag}>\n{}\n</channel>", self.params["content"].as_str().unwrap_or_default())
    }
}

/// A running session.
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pushes: VecDeque<Push>,
    next_id: u64,
    /// The time from the start of the process to the answer to `initialize`.
    pub started_after: Duration,
}

impl Session {
    pub async fn start(sandbox: &Sandbox, name: &str) -> Result<Self, DemoError> {
        let project = sandbox.root().join(name);
        std::fs::create_dir_all(&project)?;
        let mut command = Command::new(std::env::current_exe()?);
        sandbox.apply(&mut command);
        command
            .arg("mcp")
            .current_dir(&project)
            .env("CLAUDE_PROJECT_DIR", &project)
            .env("CLAUDE_CODE_SESSION_ID", format!("demo-{name}"))
            .env("CLAUDE_CODE_ENTRYPOINT", "cli")
            .env("CLAUDE_PEERS_CHANNEL", "on")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let since = Instant::now();
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(DemoError::step("the session has no standard input or output"));
        };
        let output = BufReader::new(output).lines();
        let mut session = Self {
            child,
            input,
            output,
            pushes: VecDeque::new(),
            next_id: 0,
            started_after: Duration::ZERO,
        };
        session
            .request(
                "initialize",
                json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "roots": { "listChanged": true } },
                    "clientInfo": { "name": "claude-code", "version": "2.1.330" },
                }),
            )
            .await?;
        session.started_after = since.elapsed();
        session.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        session.request("tools/list", json!({})).await?;
        Ok(session)
    }

    async fn write(&mut self, message: &Value) -> Result<(), DemoError> {
        let mut line = message.to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, DemoError> {
        let id = self.next_id;
        self.next_id += 1;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await?;
        let wait = async {
            loop {
                let message = self.read().await?;
                if message["id"] == id {
                    return Ok::<_, DemoError>(message);
                }
            }
        };
        let answer: Value = tokio::time::timeout(ANSWER, wait)
            .await
            .map_err(|_| DemoError::step(format!("{method} was not answered")))??;
        match answer.get("error") {
            Some(error) => Err(DemoError::step(format!("{method} failed: {error}"))),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Reads the next line. A push is kept for [`Session::next_push`] as well.
    async fn read(&mut self) -> Result<Value, DemoError> {
        let line = self
            .output
            .next_line()
            .await?
            .ok_or_else(|| DemoError::step("the session ended too early"))?;
        let at = Instant::now();
        let message: Value = serde_json::from_str(&line)?;
        if message["method"] == "notifications/claude/channel" {
            self.pushes.push_back(Push { params: message["params"].clone(), at });
        }
        Ok(message)
    }

    /// Calls a tool and returns its result, which must not be an error.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, DemoError> {
        let result =
            self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await?;
        if result["isError"] == true {
            return Err(DemoError::step(format!(
                "{tool} failed: {}",
                result["content"][0]["text"]
            )));
        }
        Ok(result)
    }

    /// Waits for the next push.
    pub async fn next_push(&mut self, limit: Duration) -> Result<Push, DemoError> {
        let wait = async {
            loop {
                if let Some(push) = self.pushes.pop_front() {
                    return Ok::<_, DemoError>(push);
                }
                self.read().await?;
            }
        };
        tokio::time::timeout(limit, wait)
            .await
            .map_err(|_| DemoError::step("no message arrived"))?
    }

    /// Closes the session as a client that exits does.
    pub async fn end(mut self) -> Result<(), DemoError> {
        drop(self.input);
        let ended = tokio::time::timeout(ANSWER, self.child.wait()).await;
        ended.map_err(|_| DemoError::step("the session does not end"))??;
        Ok(())
    }
}
