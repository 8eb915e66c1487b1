//! Gemini CLI: an entry of `settings.json`.

use std::path::PathBuf;

use crate::setup::clients::servers::Servers;
use crate::setup::host::Host;

pub const PROGRAMS: &[&str] = &["gemini"];

pub fn directory(host: &Host) -> PathBuf {
    host.home.join(".gemini")
}

pub fn servers(host: &Host) -> Servers {
    Servers::usual(directory(host).join("settings.json"), &host.program)
}
