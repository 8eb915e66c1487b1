//! Cursor, editor and command line alike: an entry of `mcp.json`.

use std::path::PathBuf;

use crate::setup::clients::servers::Servers;
use crate::setup::host::Surroundings;

pub const PROGRAMS: &[&str] = &["cursor", "cursor-agent"];

pub fn directory(surroundings: &Surroundings) -> PathBuf {
    surroundings.home.join(".cursor")
}

pub fn servers(surroundings: &Surroundings) -> Servers {
    Servers::usual(directory(surroundings).join("mcp.json"), &surroundings.program)
}
