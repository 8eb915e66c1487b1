//! Codex: a table of `config.toml`.

use std::path::PathBuf;

use serde_json::json;

use crate::config::server_variables;
use crate::setup::clients::servers::Servers;
use crate::setup::edit::syntax::Syntax;
use crate::setup::host::Host;

pub const PROGRAMS: &[&str] = &["codex"];

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
            // Codex passes few variables to a server, which without these could look for another
            // broker than other clients do.
            "env_vars": server_variables().collect::<Vec<_>>(),
        }),
    }
}
