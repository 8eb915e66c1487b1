//! Faults of the operating system for one process: a wall clock that is set, disks that fail, no more
//! descriptors or threads.
//!
//! A small library (`faults.c`) is compiled once and loaded before the C library. Linux with glibc and
//! a C compiler; elsewhere there is none.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use super::Sandbox;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// What fails, as the library maps it. The same as `struct control` in `faults.c`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Control {
    /// Added to the wall clock, in milliseconds.
    pub wall_offset_millis: AtomicI64,
    /// The error number of writes to the database; 0 for none.
    pub write_error: AtomicI32,
    pub sync_error: AtomicI32,
    pub read_error: AtomicI32,
    /// How many calls still succeed.
    pub countdown: AtomicI32,
    /// 1: a write puts half of its bytes, and then the process is killed.
    pub torn: AtomicI32,
    /// The error number of open, socket and accept.
    pub descriptor_error: AtomicI32,
    pub thread_error: AtomicI32,
    /// How many calls failed.
    pub hits: AtomicI32,
    /// How many syncs of the database were made.
    pub syncs: AtomicI32,
}

/// The control file of one process, mapped.
pub struct Faults {
    path: PathBuf,
    control: NonNull<Control>,
}

// SAFETY: all fields are atomic, and the mapping stays until this is dropped.
unsafe impl Send for Faults {}
// SAFETY: as above.
unsafe impl Sync for Faults {}

impl Faults {
    /// Makes a control file in a directory, in which nothing fails. `None` where there is no such library.
    pub fn new(directory: &Path) -> Option<Self> {
        library()?;
        let file = tempfile::Builder::new().prefix("faults-").tempfile_in(directory).ok()?;
        file.as_file().set_len(size_of::<Control>() as u64).ok()?;
        // SAFETY: a new mapping of a file of that size, which nobody truncates.
        let map = unsafe {
            mmap(
                std::ptr::null_mut(),
                size_of::<Control>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file.as_file(),
                0,
            )
        };
        let control = NonNull::new(map.ok()?.cast::<Control>())?;
        let (_, path) = file.keep().ok()?;
        Some(Self { path, control })
    }

    /// Returns the variables with which a process is started.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let library = library().map(|path| path.display().to_string()).unwrap_or_default();
        [("LD_PRELOAD", library), ("FAULT_CONTROL", self.path.display().to_string())]
    }

    /// Sets the wall clock by so many milliseconds from the true time.
    pub fn set_wall_clock(&self, offset_millis: i64) {
        self.wall_offset_millis.store(offset_millis, Ordering::SeqCst);
    }

    /// Ends all faults but that of the clock.
    pub fn clear(&self) {
        for fault in [
            &self.write_error,
            &self.sync_error,
            &self.read_error,
            &self.torn,
            &self.descriptor_error,
            &self.thread_error,
        ] {
            fault.store(0, Ordering::SeqCst);
        }
    }
}

impl std::ops::Deref for Faults {
    type Target = Control;

    fn deref(&self) -> &Control {
        // SAFETY: mapped until this is dropped, and all fields are atomic.
        unsafe { self.control.as_ref() }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no reference outlives this value.
        let _ = unsafe { munmap(self.control.as_ptr().cast(), size_of::<Control>()) };
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A sandbox whose processes have these faults, except those that they start themselves: a broker
/// that a client starts gets none of its client's variables. `None`, with a line, where there is no
/// such library.
pub fn sandbox() -> Option<(Sandbox, Faults)> {
    let sandbox = Sandbox::new();
    let Some(faults) = Faults::new(sandbox.path()) else {
        println!("skipped: no C compiler, or a C library other than glibc");
        assert!(std::env::var_os("CI").is_none(), "with CI=true nothing is skipped");
        return None;
    };
    let variables = faults.variables().into_iter();
    Some((variables.fold(sandbox, |sandbox, (name, value)| sandbox.with(name, value)), faults))
}

/// Compiles the library, once for each run of the tests.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            if !cfg!(all(target_os = "linux", target_env = "gnu")) {
                return None;
            }
            let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
            let library = directory.join(format!("faults-{}.so", std::process::id()));
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/faults.c");
            let compiled = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&library)
                .args([source, "-ldl", "-pthread"])
                .status();
            compiled.is_ok_and(|status| status.success()).then_some(library)
        })
        .as_deref()
}
