//! Gemini CLI: an entry of `settings.json`.

use std::path::PathBuf;

use serde_json::json;

use super::servers::Servers;
use super::surroundings::Surroundings;
use super::text::Syntax;

pub const PROGRAMS: &[&str] = &["gemini"];

pub fn directory(surroundings: &Surroundings) -> PathBuf {
    surroundings.home.join(".gemini")
}

pub fn servers(surroundings: &Surroundings) -> Servers {
    Servers {
        file: directory(surroundings).join("settings.json"),
        syntax: Syntax::Json,
        container: "mcpServers",
        entry: json!({ "command": surroundings.program, "args": ["mcp"] }),
    }
}
