//! Where a measure takes place: a sandbox whose database is on a real disk.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::sandbox::{HOOK_WAIT, Sandbox, until};

pub struct World {
    // Dropped first: it ends the broker that has the database open.
    pub sandbox: Sandbox,
    disk: TempDir,
}

impl World {
    /// A world without limits on rate and backlog. An empty variable leaves a hook its usual time.
    pub fn new() -> Self {
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let database = disk.path().join("bench.db");
        let sandbox = Sandbox::unlimited()
            .with("CLAUDE_PEERS_DB", database.to_str().unwrap().to_owned())
            .with(HOOK_WAIT, "");
        Self { sandbox, disk }
    }

    /// A directory on the disk that has the database.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    pub fn database(&self) -> PathBuf {
        self.disk.path().join("bench.db")
    }

    /// Ends the broker and waits for its end. No session may be there that starts another.
    pub fn stop_broker(&self) {
        self.sandbox.ok(["kill-broker"]);
        until("the broker is gone", || self.sandbox.broker().is_none());
    }

    /// The process of the broker, which runs.
    pub fn broker(&self) -> u32 {
        self.sandbox.broker().expect("a broker runs").pid
    }
}
