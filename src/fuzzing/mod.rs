//! What the fuzzers of `tests/fuzz` call: one function per target, each with what must hold.
//!
//! Compiled with the feature `fuzzing` only. What belongs to one module and is private there has its
//! entry point in that module's own file `fuzzing.rs`.

// Like a test, it fails loudly.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod repositories;
mod requests;
mod settings;
mod texts;

/// A target: it takes any bytes, and panics if something does not hold.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 12] = [
    ("claude_settings", settings::claude_settings),
    ("codex_settings", settings::codex_settings),
    ("config_file", settings::config_file),
    ("databases", crate::broker::fuzzing::databases),
    ("event_stream", crate::client::fuzzing::event_stream),
    ("hook_input", crate::hook::fuzzing::hook_input),
    ("mcp_lines", crate::mcp::transport_fuzzing::lines),
    ("names", texts::names),
    ("repositories", repositories::repositories),
    ("requests", requests::requests),
    ("runtime_files", files::runtime_files),
    ("texts", texts::texts),
];

/// A directory for one execution, in memory where the system has one.
///
/// # Panics
///
/// If none can be made.
pub fn directory() -> tempfile::TempDir {
    let shared_memory = std::path::Path::new("/dev/shm");
    let made = match shared_memory.is_dir() {
        true => tempfile::tempdir_in(shared_memory),
        false => tempfile::tempdir(),
    };
    made.unwrap()
}

/// A runtime of this thread.
///
/// # Panics
///
/// If none can be made.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
