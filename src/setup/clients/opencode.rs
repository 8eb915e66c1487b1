//! opencode: an entry of its global configuration, which it reads from several files and merges.

use std::path::PathBuf;

use serde_json::json;

use crate::setup::clients::servers::Servers;
use crate::setup::edit::file::ConfigFile;
use crate::setup::edit::json;
use crate::setup::edit::syntax::Syntax;
use crate::setup::host::Surroundings;

pub const PROGRAMS: &[&str] = &["opencode"];

/// Where a later one says something else, it wins.
const FILES: [&str; 2] = ["opencode.json", "opencode.jsonc"];

pub fn directory(surroundings: &Surroundings) -> PathBuf {
    let base = surroundings.directory("XDG_CONFIG_HOME");
    base.unwrap_or_else(|| surroundings.home.join(".config")).join("opencode")
}

/// One for each file that there may be, best first: the one that has our entry already, else the
/// one that wins, else the one that is there.
pub fn servers(surroundings: &Surroundings) -> Vec<Servers> {
    let directory = directory(surroundings);
    let of = |name: &str| Servers {
        file: directory.join(name),
        syntax: Syntax::Json,
        container: "mcp",
        entry: json!({
            "type": "local",
            "command": [surroundings.program, "mcp"],
            "enabled": true,
        }),
    };
    let mut all: Vec<Servers> = FILES.iter().rev().map(|name| of(name)).collect();
    all.sort_by_key(|servers| match ConfigFile::read(&servers.file) {
        Ok(file) if file.bytes.is_none() => 2,
        Ok(file) => {
            let value = json::parse(file.text()).unwrap_or_default();
            u8::from(servers.ours(&value).is_none())
        }
        Err(_) => 1,
    });
    if all.iter().all(|servers| !servers.file.exists()) {
        // The name that its documentation gives.
        all.reverse();
    }
    all
}
