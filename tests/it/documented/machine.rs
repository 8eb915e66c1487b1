//! Documentation: a machine on which the documented lines make sense.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::pages::Line;
use crate::support::{
    PATIENCE, PROGRAM, Sandbox, Session, in_a_terminal, repository, until, within, write_program,
};

/// A machine on which the examples make sense: sessions of the names that they use, a repository.
pub struct Machine {
    pub sandbox: Sandbox,
    pub directory: PathBuf,
}

impl Machine {
    pub fn new() -> Self {
        let sandbox = Sandbox::unlimited();
        let database = sandbox.home().join(".claude-peers.db").display().to_string();
        let sandbox = sandbox.with("CLAUDE_PEERS_DB", database);
        let directory = sandbox.path().join("shop");
        repository(&directory);
        std::fs::write(directory.join("src/deep/file.txt"), "changed\n").unwrap();
        std::fs::write(directory.join("Makefile"), "test:\n\t@echo all tests pass\n").unwrap();
        let bin = sandbox.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(PROGRAM, bin.join("claude-peers")).unwrap();
        // What fish makes at its first start, and what a desktop has.
        std::fs::create_dir_all(sandbox.home().join(".config/fish/completions")).unwrap();
        write_program(&bin.join("notify-send"), "#!/bin/sh\n");
        Self { sandbox, directory }
    }

    fn command(&self, line: &str) -> Command {
        let bin = self.sandbox.path().join("bin");
        let path = format!("{}:{}", bin.display(), self.sandbox.variable("PATH").unwrap());
        let line = line.replace("127.0.0.1:7899", &format!("127.0.0.1:{}", self.sandbox.port()));
        let mut command = self.sandbox.command_of("bash", ["-c", &line]);
        command.current_dir(&self.directory).env("PATH", path);
        command
    }

    /// Runs a line to its end.
    pub fn run(&self, Line { document, text }: &Line) {
        let output = self.command(text).stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{document}: {text}\n{errors}");
    }

    /// Runs a line in a terminal, where it goes on until it is interrupted, and prints what happens
    /// meanwhile.
    pub fn follow(&self, Line { document, text }: &Line) {
        let mut command = self.command(text);
        command.env("TERM", "xterm-256color");
        let (terminal, mut child) = in_a_terminal(command);
        let mut terminal = std::fs::File::from(terminal);
        let mut output = terminal.try_clone().unwrap();
        let printed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&printed);
        std::thread::spawn(move || {
            // The other end of a terminal ends with an error.
            let mut part = [0; 4096];
            while output.read(&mut part).is_ok_and(|count| count > 0) {
                seen.store(true, Ordering::Relaxed);
            }
        });
        let prints = within(PATIENCE, || {
            self.sandbox.ok(["send", "frontend", "one more"]);
            std::thread::sleep(Duration::from_millis(200));
            printed.load(Ordering::Relaxed)
        });
        let goes_on = child.try_wait().unwrap().is_none();
        let ended = within(PATIENCE, || {
            // Ctrl-C.
            let _ = terminal.write_all(b"\x03");
            std::thread::sleep(Duration::from_millis(100));
            child.try_wait().unwrap().is_some()
        });
        assert!(prints && goes_on && ended, "{document}: {text}: {prints} {goes_on} {ended}");
    }

    /// Runs a line in a terminal, where these keys are typed.
    pub fn type_into(&self, Line { document, text }: &Line, keys: &str) {
        let mut command = self.command(text);
        command.env("TERM", "xterm-256color");
        let (terminal, mut child) = in_a_terminal(command);
        let mut terminal = std::fs::File::from(terminal);
        let mut reader = terminal.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The other end of a terminal ends with an error.
                let mut rest = Vec::new();
                let _ = reader.read_to_end(&mut rest);
            });
            let mut code = None;
            until(&format!("{document}: {text} ends"), || {
                // It may not read yet, or no longer.
                let _ = terminal.write_all(keys.as_bytes());
                std::thread::sleep(Duration::from_millis(300));
                code = child.try_wait().unwrap();
                code.is_some()
            });
            assert!(code.unwrap().success(), "{document}: {text}");
        });
    }
}

/// Answers each question that backend is asked, until the end.
pub fn answering(mut backend: Session, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let Some((_, push)) = backend.push_within(Duration::from_millis(100)) else { continue };
        let id = push["meta"]["message_id"].as_str().unwrap();
        // Some were sent by a command that waits for no answer.
        backend.call("send_message", json!({ "to_id": "cli", "message": "8080", "reply_to": id }));
    }
}
