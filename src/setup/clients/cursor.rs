//! Cursor (editor and command line): an entry of `mcp.json`.

use std::path::PathBuf;

use crate::setup::clients::servers::Servers;
use crate::setup::host::Host;

pub const PROGRAMS: &[&str] = &["cursor", "cursor-agent"];

pub fn directory(host: &Host) -> PathBuf {
    host.home.join(".cursor")
}

pub fn servers(host: &Host) -> Servers {
    Servers::usual(directory(host).join("mcp.json"), &host.program)
}
