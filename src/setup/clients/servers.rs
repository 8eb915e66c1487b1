//! The entry of our MCP server in a client's configuration.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::setup::edit::change::{Change, path};
use crate::setup::edit::ownership::{SERVER, is_plain_server, is_server};
use crate::setup::edit::syntax::Syntax;

/// Where a client configures its servers, and how our entry is written there.
#[derive(Debug, Clone)]
pub struct Servers {
    pub file: PathBuf,
    pub syntax: Syntax,
    /// The key of all servers.
    pub container: &'static str,
    pub entry: Value,
}

/// The changes for our entry, and a remark.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub name: String,
    pub changes: Vec<Change>,
    pub note: Option<String>,
}

/// The key of all servers in Claude Code's file, and in those of clients with the same format.
pub const MCP_SERVERS: &str = "mcpServers";

impl Servers {
    /// Returns the format of Claude Code, which other clients use, too.
    pub fn usual(file: PathBuf, program: &str) -> Self {
        let entry = json!({ "command": program, "args": ["mcp"] });
        Self { file, syntax: Syntax::Json, container: MCP_SERVERS, entry }
    }

    /// Returns our entry, under any name.
    pub fn ours<'a>(&self, value: &'a Value) -> Option<(&'a str, &'a Value)> {
        let servers = value.get(self.container)?.as_object()?;
        let named = servers.get_key_value(SERVER);
        named
            .filter(|(_, server)| is_server(server))
            .or_else(|| servers.iter().find(|(_, server)| is_server(server)))
            .map(|(name, server)| (name.as_str(), server))
    }

    /// Returns the changes that give `value` our entry. Keys that a person added to it stay.
    pub fn wanted(&self, value: &Value) -> Wanted {
        let Some((name, server)) = self.ours(value) else {
            let there = value.get(self.container).and_then(|servers| servers.get(SERVER));
            let note = there.map(|_| {
                format!("Another server named {SERVER} is registered there. It is replaced; --undo restores it.")
            });
            let set =
                Change::Set { path: path(&[self.container, SERVER]), value: self.entry.clone() };
            return Wanted { name: SERVER.to_owned(), changes: vec![set], note };
        };
        if !is_plain_server(server) {
            let note =
                format!("The server {name} runs through another program, and is left as it is.");
            return Wanted { name: name.to_owned(), changes: Vec::new(), note: Some(note) };
        }
        let members = self.entry.as_object().into_iter().flatten();
        let changes =
            members.filter(|(key, wanted)| server.get(key) != Some(wanted)).map(|(key, wanted)| {
                Change::Set { path: path(&[self.container, name, key]), value: wanted.clone() }
            });
        Wanted { name: name.to_owned(), changes: changes.collect(), note: None }
    }

    /// Returns what a person could do by hand.
    pub fn by_hand(&self) -> String {
        let entry = match self.syntax {
            Syntax::Json => self.entry.to_string(),
            Syntax::Toml => toml::Value::try_from(&self.entry)
                .map_or_else(|_| self.entry.to_string(), |value| value.to_string()),
        };
        format!("correct that, or make {entry} the entry {SERVER} of {}", self.container)
    }
}
