//! The shim: a copy of the program whose system calls fail, and a clock that jumps, on request.
//!
//! The program's name of the library libgcc_s is written over with the path of ours, which has the
//! same length. So a broker has it as well, though its environment is chosen by who starts it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use crate::support::faults::{Control, Mapped, compile};

/// What the hits count.
const KINDS: [&str; 7] = [
    "writes failed (EIO)",
    "disk full (ENOSPC)",
    "read-only (EROFS)",
    "torn writes, each with its process",
    "syncs failed (EIO)",
    "no descriptor (EMFILE)",
    "no thread (EAGAIN)",
];

/// The library, its control file and the program that needs it.
pub struct Shim {
    pub program: PathBuf,
    library: PathBuf,
    control: Mapped,
}

const REPLACED: &[u8] = b"libgcc_s.so.1\0";

/// The program asks for these versions of what it takes from libgcc_s.
const VERSIONS: &str = "GCC_3.0 {}; GCC_3.3 {}; GCC_3.3.1 {}; GCC_3.4 {}; GCC_4.0.0 {}; GCC_4.2.0 {}; GCC_4.3.0 {}; GCC_4.8.0 {};";

impl Shim {
    /// Builds the library, and writes the program that needs it into `directory`.
    ///
    /// # Errors
    ///
    /// Why it cannot be had here: another system than Linux with glibc, or no C compiler.
    pub fn build(program: &Path, directory: &Path) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let library = free_path().ok_or("no free name in /tmp")?;
        let versions = directory.join("versions");
        std::fs::write(&versions, VERSIONS).map_err(text)?;
        let script = format!("-Wl,--version-script={}", versions.display());
        compile(&library, &[&script, "-l:libgcc_s.so.1"])?;
        let mut bytes = std::fs::read(program).map_err(text)?;
        let at = bytes.windows(REPLACED.len()).position(|window| window == REPLACED);
        let at = at.ok_or("the program does not need libgcc_s")?;
        bytes[at..at + REPLACED.len() - 1].copy_from_slice(library.to_str().unwrap().as_bytes());
        let copy = directory.join("claude-peers");
        let raw = directory.join("claude-peers.raw");
        std::fs::write(&raw, bytes).map_err(text)?;
        std::fs::set_permissions(&raw, std::fs::Permissions::from_mode(0o755)).map_err(text)?;
        std::fs::rename(&raw, &copy).map_err(text)?;
        let control = Mapped::create(&control_file(&library)).map_err(text)?;
        let shim = Self { program: copy, library, control };
        shim.check()?;
        Ok(shim)
    }

    /// Checks that the program runs with the library in it, and that its clock obeys.
    fn check(&self) -> Result<(), String> {
        let command = |arguments: &[&str]| {
            let home = self.program.parent().unwrap_or(Path::new("/"));
            Command::new(&self.program).env_clear().env("HOME", home).args(arguments).output()
        };
        let ran = command(&["--version"]).map_err(|error| error.to_string())?;
        if !ran.status.success() || !ran.stderr.is_empty() {
            return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
        }
        self.control.fail_after(|control| &control.threads, 0);
        // A hook begins with a thread.
        let status = command(&["hook", "Stop"]);
        self.control.calm();
        let hit = self.control.hits[6].swap(0, Ordering::Relaxed) > 0;
        if status.is_ok() && hit { Ok(()) } else { Err("the program does not use it".to_owned()) }
    }

    /// How often each system call failed.
    pub fn hits(&self) -> Vec<(&'static str, u32)> {
        let hits = self.control.hits.iter().map(|hits| hits.load(Ordering::Relaxed));
        KINDS.into_iter().zip(hits).collect()
    }

    pub fn control(&self) -> &Control {
        &self.control
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(control_file(&self.library));
        let _ = std::fs::remove_file(&self.library);
    }
}

fn control_file(library: &Path) -> PathBuf {
    let mut name = library.as_os_str().to_owned();
    name.push(".control");
    name.into()
}

/// A path of as many bytes as the name that it replaces, created for us alone.
fn free_path() -> Option<PathBuf> {
    (0..100_000u32).find_map(|n| {
        let number = (std::process::id().wrapping_mul(31).wrapping_add(n)) % 100_000;
        let path = PathBuf::from(format!("/tmp/{number:05}.so"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut file = options.open(&path).ok()?;
        file.flush().ok()?;
        Some(path)
    })
}
