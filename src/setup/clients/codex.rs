//! Codex: a table of `config.toml`.

use std::path::PathBuf;

use serde_json::json;

use crate::setup::clients::servers::Servers;
use crate::setup::edit::syntax::Syntax;
use crate::setup::host::Host;

pub const PROGRAMS: &[&str] = &["codex"];

/// The variables that Codex must pass on: it passes few to a server, which without these could look for
/// another broker than other clients do.
const VARIABLES: [&str; 7] = [
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "CLAUDE_PEERS_PORT",
    "CLAUDE_PEERS_DB",
    "CLAUDE_PEERS_SOCKET",
    "CLAUDE_PEERS_NAME",
];

pub fn directory(host: &Host) -> PathBuf {
    host.directory("CODEX_HOME").unwrap_or_else(|| host.home.join(".codex"))
}

pub fn servers(host: &Host) -> Servers {
    Servers {
        file: directory(host).join("config.toml"),
        syntax: Syntax::Toml,
        container: "mcp_servers",
        entry: json!({
            "command": host.program,
            "args": ["mcp"],
            "env_vars": VARIABLES,
        }),
    }
}
