//! The shim: a copy of the program whose system calls fail, and a clock that jumps, on request.
//!
//! The program's name of the library libgcc_s is written over with the path of ours, which has the
//! same length. So a broker has it as well, though its environment is chosen by who starts it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// What the library reads. `shim.c` has the same layout.
#[repr(C)]
pub struct Control {
    pub clock_offset: AtomicI64,
    pub write_error: AtomicU32,
    pub full: AtomicU32,
    pub read_only: AtomicU32,
    pub torn: AtomicU32,
    pub sync_error: AtomicU32,
    pub descriptors: AtomicU32,
    pub threads: AtomicU32,
    hits: [AtomicU32; 7],
}

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

impl Control {
    /// How often each system call failed.
    pub fn hits(&self) -> Vec<(&'static str, u32)> {
        KINDS.into_iter().zip(self.hits.iter().map(|hits| hits.load(Ordering::Relaxed))).collect()
    }

    /// Has no more system calls fail. The clock stays as it is.
    pub fn calm(&self) {
        for field in [
            &self.write_error,
            &self.full,
            &self.read_only,
            &self.torn,
            &self.sync_error,
            &self.descriptors,
            &self.threads,
        ] {
            field.store(0, Ordering::Relaxed);
        }
    }
}

/// The library, its control file and the program that needs it.
pub struct Shim {
    pub program: PathBuf,
    library: PathBuf,
    control: *const Control,
}

// SAFETY: all fields of the mapping are atomic, and it lives as long as this.
unsafe impl Sync for Shim {}
// SAFETY: the same.
unsafe impl Send for Shim {}

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
        if !cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")) {
            return Err("it needs Linux with glibc on x86_64".to_owned());
        }
        let text = |error: std::io::Error| error.to_string();
        let library = free_path().ok_or("no free name in /tmp")?;
        let versions = directory.join("versions");
        std::fs::write(&versions, VERSIONS).map_err(text)?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-w", "-shared", "-fPIC", "-Wl,--no-as-needed"])
            .arg(format!("-Wl,--version-script={}", versions.display()))
            .arg("-o")
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-l:libgcc_s.so.1"])
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        if !compiled.status.success() {
            return Err(String::from_utf8_lossy(&compiled.stderr).into_owned());
        }
        let mut bytes = std::fs::read(program).map_err(text)?;
        let at = bytes.windows(REPLACED.len()).position(|window| window == REPLACED);
        let at = at.ok_or("the program does not need libgcc_s")?;
        bytes[at..at + REPLACED.len() - 1].copy_from_slice(library.to_str().unwrap().as_bytes());
        let copy = directory.join("claude-peers");
        let raw = directory.join("claude-peers.raw");
        std::fs::write(&raw, bytes).map_err(text)?;
        std::fs::set_permissions(&raw, std::fs::Permissions::from_mode(0o755)).map_err(text)?;
        std::fs::rename(&raw, &copy).map_err(text)?;
        let control = map(&control_file(&library)).map_err(text)?;
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
        self.control().threads.store(65_536, Ordering::Relaxed);
        // A hook begins with a thread.
        let status = command(&["hook", "Stop"]);
        self.control().calm();
        let hit = self.control().hits[6].swap(0, Ordering::Relaxed) > 0;
        if status.is_ok() && hit { Ok(()) } else { Err("the program does not use it".to_owned()) }
    }

    pub fn control(&self) -> &Control {
        // SAFETY: the mapping is as large as the struct, aligned to a page, and never unmapped.
        unsafe { &*self.control }
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

fn map(path: &Path) -> std::io::Result<*const Control> {
    let file: File =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    let length = size_of::<Control>();
    file.set_len(length as u64)?;
    // SAFETY: a new mapping of a file of this length.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    Ok(mapped.cast())
}
