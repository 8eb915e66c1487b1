//! Registration by Claude Code's own command, `claude mcp`.
//!
//! That command changes the file with Claude Code's whole state, which running sessions write at any
//! time. So the file is never written here, with one exception: if its JSON after an undo equals the
//! original, the original bytes are restored.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::setup::clients::servers::MCP_SERVERS;
use crate::setup::edit::file::ConfigFile;
use crate::setup::edit::json;
use crate::setup::error::SetupError;
use crate::setup::undo::{Record, ServerRecord, Store};
use crate::sys::shell;
use crate::sys::subprocess;

/// The limit of a command of Claude Code, which starts a large JavaScript program.
const LIMIT: Duration = Duration::from_secs(30);

/// A planned change of one entry in Claude Code's state file.
#[derive(Debug, Clone)]
pub struct Registration {
    pub program: PathBuf,
    /// The file as it was when this was planned.
    pub config: ConfigFile,
    pub name: String,
    pub now: Option<Value>,
    pub wanted: Option<Value>,
}

/// Returns the entry of this name.
pub fn entry(value: &Value, name: &str) -> Option<Value> {
    value.get(MCP_SERVERS)?.get(name).cloned()
}

impl Registration {
    /// Returns the commands, as a person would type them.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let with_program = |arguments: Vec<String>| {
            let program = self.program.display().to_string();
            std::iter::once(program).chain(arguments).collect()
        };
        Self::arguments(&self.name, self.now.as_ref(), self.wanted.as_ref())
            .into_iter()
            .map(with_program)
            .collect()
    }

    fn arguments(name: &str, now: Option<&Value>, wanted: Option<&Value>) -> Vec<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut all = Vec::new();
        if now.is_some() {
            all.push(words(&["mcp", "remove", "--scope", "user", name]));
        }
        if let Some(wanted) = wanted {
            all.push(match plain(wanted) {
                Some(command) => {
                    let head =
                        ["mcp", "add", "--scope", "user", "--transport", "stdio", name, "--"];
                    words(&[&head[..], &command[..]].concat())
                }
                None => words(&["mcp", "add-json", "--scope", "user", name, &wanted.to_string()]),
            });
        }
        all
    }

    /// Runs the commands. If one fails midway, the old entry is restored.
    ///
    /// # Errors
    ///
    /// If a command fails, or reports success without effect.
    pub fn carry_out(&self) -> Result<(), SetupError> {
        for arguments in Self::arguments(&self.name, self.now.as_ref(), self.wanted.as_ref()) {
            if let Err(error) = self.run(&arguments) {
                self.put_back();
                return Err(error);
            }
        }
        let found = self.found()?;
        let as_wanted = match (&found, &self.wanted) {
            (None, None) => true,
            (Some(found), Some(wanted)) => wanted
                .as_object()
                .into_iter()
                .flatten()
                .all(|(key, value)| found.get(key) == Some(value)),
            _ => false,
        };
        if as_wanted {
            return Ok(());
        }
        self.put_back();
        Err(SetupError::Command {
            command: format!("{} mcp", self.program.display()),
            said: format!(
                "it succeeded, but {} was not changed as it should be",
                self.config.path.display()
            ),
        })
    }

    fn found(&self) -> Result<Option<Value>, SetupError> {
        let file = ConfigFile::read(&self.config.path)?;
        let value = json::parse(file.text())
            .map_err(|problem| SetupError::text(&file.path, &problem, ""))?;
        Ok(entry(&value, &self.name))
    }

    /// Restores the old entry, best effort, after a failure that is about to be reported.
    fn put_back(&self) {
        let Ok(found) = self.found() else { return };
        if found != self.now {
            for arguments in Self::arguments(&self.name, found.as_ref(), self.now.as_ref()) {
                let _ = self.run(&arguments);
            }
        }
    }

    fn run(&self, arguments: &[String]) -> Result<(), SetupError> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = self.program.to_string_lossy();
        let failed = |said: String| {
            let words = std::iter::once(&*program).chain(arguments.iter().copied());
            let command: Vec<String> = words.map(shell::quoted).collect();
            SetupError::Command { command: command.join(" "), said }
        };
        match subprocess::run_named(&program, &arguments, LIMIT) {
            Ok(said) if said.succeeded() => Ok(()),
            Ok(said) => Err(failed(said.first_line().to_owned())),
            Err(problem) => Err(failed(problem)),
        }
    }

    /// Adds the entry to the undo record, before it is registered.
    ///
    /// # Errors
    ///
    /// If the client's file cannot be copied.
    pub fn note(&self, store: &Store, record: &mut Record) -> Result<(), SetupError> {
        let Some(entry) = self.wanted.clone() else { return Ok(()) };
        let same =
            |known: &ServerRecord| known.config == self.config.path && known.name == self.name;
        if let Some(known) = record.servers.iter_mut().find(|known| same(known))
            && self.now.as_ref().is_some_and(crate::setup::edit::ownership::is_server)
        {
            known.entry = entry;
            return Ok(());
        }
        record.servers.retain(|known| known.config != self.config.path);
        record.servers.push(ServerRecord {
            config: self.config.path.clone(),
            name: self.name.clone(),
            entry,
            before: self.now.clone(),
            copy: store.keep(&self.config)?,
        });
        Ok(())
    }

    /// Restores the original bytes of the client's file, if its JSON equals theirs.
    pub fn restore_bytes(&self, store: &Store, record: &Record) {
        let copy = record.server(&self.config.path).and_then(|known| known.copy.as_deref());
        let Some(Ok(copy)) = copy.map(|name| store.copy(name)) else { return };
        let Ok(file) = ConfigFile::read(&self.config.path) else { return };
        let meaning = |text: &str| json::parse(text).ok().map(without_empty_servers);
        let copied = String::from_utf8_lossy(&copy);
        let copied = meaning(copied.trim_start_matches('\u{feff}'));
        if copied.is_some() && copied == meaning(file.text()) && file.check_writable().is_ok() {
            // If it has just changed, the new content is kept.
            let _ = file.write(&copy);
        }
    }

    /// Removes the entry from the undo record.
    pub fn forget(&self, store: &Store, record: &mut Record) {
        let copy = record.server(&self.config.path).and_then(|known| known.copy.clone());
        record.servers.retain(|known| known.config != self.config.path);
        store.drop_copy(copy.as_deref());
    }
}

/// Returns the command line of an entry that contains nothing else.
fn plain(entry: &Value) -> Option<Vec<&str>> {
    let object = entry.as_object()?;
    let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    let only = object.iter().all(|(key, value)| match key.as_str() {
        "type" => value == "stdio",
        "command" | "args" => true,
        "env" => empty(value),
        _ => false,
    });
    let command = object.get("command")?.as_str()?;
    let arguments = match object.get("args") {
        None => Vec::new(),
        Some(list) => list.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?,
    };
    only.then(|| std::iter::once(command).chain(arguments).collect())
}

/// Claude Code leaves an empty object behind when the last server is removed.
fn without_empty_servers(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
        if object.get(MCP_SERVERS).is_some_and(empty) {
            object.shift_remove(MCP_SERVERS);
        }
    }
    value
}
