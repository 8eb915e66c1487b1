//! opencode: an entry of its global configuration, which it reads from several files and merges.

use std::path::PathBuf;

use serde_json::json;

use crate::setup::clients::servers::Servers;
use crate::setup::edit::file::ConfigFile;
use crate::setup::edit::json;
use crate::setup::edit::syntax::Syntax;
use crate::setup::host::Host;

pub const PROGRAMS: &[&str] = &["opencode"];

/// Its configuration files. A later one takes precedence.
const FILES: [&str; 2] = ["opencode.json", "opencode.jsonc"];

pub fn directory(host: &Host) -> PathBuf {
    let base = host.directory("XDG_CONFIG_HOME");
    base.unwrap_or_else(|| host.home.join(".config")).join("opencode")
}

/// Returns one for each possible file, the best first: the one that already has our entry, then the one
/// with precedence, then an existing one.
pub fn servers(host: &Host) -> Vec<Servers> {
    let directory = directory(host);
    let of = |name: &str| Servers {
        file: directory.join(name),
        syntax: Syntax::Json,
        container: "mcp",
        entry: json!({
            "type": "local",
            "command": [host.program, "mcp"],
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
        // The name in its documentation.
        all.reverse();
    }
    all
}
