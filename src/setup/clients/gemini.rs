//! Gemini CLI: an entry of `settings.json`.

use std::path::PathBuf;

use crate::setup::clients::servers::Servers;
use crate::setup::host::Surroundings;

pub const PROGRAMS: &[&str] = &["gemini"];

pub fn directory(surroundings: &Surroundings) -> PathBuf {
    surroundings.home.join(".gemini")
}

pub fn servers(surroundings: &Surroundings) -> Servers {
    Servers::usual(directory(surroundings).join("settings.json"), &surroundings.program)
}
