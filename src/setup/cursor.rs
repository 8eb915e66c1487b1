//! Cursor, editor and command line alike: an entry of `mcp.json`.

use std::path::PathBuf;

use serde_json::json;

use super::servers::Servers;
use super::surroundings::Surroundings;
use super::text::Syntax;

pub const PROGRAMS: &[&str] = &["cursor", "cursor-agent"];

pub fn directory(surroundings: &Surroundings) -> PathBuf {
    surroundings.home.join(".cursor")
}

pub fn servers(surroundings: &Surroundings) -> Servers {
    Servers {
        file: directory(surroundings).join("mcp.json"),
        syntax: Syntax::Json,
        container: "mcpServers",
        entry: json!({ "command": surroundings.program, "args": ["mcp"] }),
    }
}
