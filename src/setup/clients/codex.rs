//! Codex: a table of `config.toml`.

use std::path::PathBuf;

use serde_json::json;

use crate::setup::clients::servers::Servers;
use crate::setup::edit::syntax::Syntax;
use crate::setup::host::Surroundings;

pub const PROGRAMS: &[&str] = &["codex"];

/// Codex gives a server few of its own variables. Without these it could look for another broker
/// than the others do.
const VARIABLES: [&str; 7] = [
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "CLAUDE_PEERS_PORT",
    "CLAUDE_PEERS_DB",
    "CLAUDE_PEERS_SOCKET",
    "CLAUDE_PEERS_NAME",
];

pub fn directory(surroundings: &Surroundings) -> PathBuf {
    surroundings.directory("CODEX_HOME").unwrap_or_else(|| surroundings.home.join(".codex"))
}

pub fn servers(surroundings: &Surroundings) -> Servers {
    Servers {
        file: directory(surroundings).join("config.toml"),
        syntax: Syntax::Toml,
        container: "mcp_servers",
        entry: json!({
            "command": surroundings.program,
            "args": ["mcp"],
            "env_vars": VARIABLES,
        }),
    }
}
