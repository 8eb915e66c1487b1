//! Faults of the operating system: a wall clock that is set, disks that fail, no more descriptors or
//! threads.
//!
//! A small library (`faults.c`) stands before the C library. Linux with glibc and a C compiler;
//! elsewhere there is none. Here it is loaded by `LD_PRELOAD`; the fault run has a way of its own, for
//! processes whose environment is chosen.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Sandbox;

/// The probability of what always happens.
pub const ALWAYS: u32 = 65_536;

/// What the library reads. The same as `struct control` in `faults.c`, which says what the fields are.
#[repr(C)]
#[derive(Debug)]
pub struct Control {
    pub clock_offset: AtomicI64,
    pub skip: AtomicU32,
    pub write_error: AtomicU32,
    pub full: AtomicU32,
    pub read_only: AtomicU32,
    pub torn: AtomicU32,
    pub sync_error: AtomicU32,
    pub descriptors: AtomicU32,
    pub threads: AtomicU32,
    /// How often each of the seven faults before happened.
    #[allow(dead_code, reason = "the fault run reports it")]
    pub hits: [AtomicU32; 7],
    /// How often `fsync` or `fdatasync` succeeded.
    #[allow(dead_code, reason = "the fault run does not ask")]
    pub syncs: AtomicU32,
}

impl Control {
    /// Has a system call fail from now on, or after so many more that succeed.
    pub fn fail_after(&self, fault: fn(&Self) -> &AtomicU32, skip: u32) {
        self.skip.store(skip, Ordering::SeqCst);
        fault(self).store(ALWAYS, Ordering::SeqCst);
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
            &self.skip,
        ] {
            field.store(0, Ordering::SeqCst);
        }
    }
}

/// A control file, mapped.
pub struct Mapped(NonNull<Control>);

// SAFETY: all fields are atomic, and the mapping stays until this is dropped.
unsafe impl Send for Mapped {}
// SAFETY: the same.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Makes the control file, in which nothing fails.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(size_of::<Control>() as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of a file of this size, which nobody truncates.
        let map = unsafe {
            mmap(std::ptr::null_mut(), size_of::<Control>(), access, MapFlags::SHARED, &file, 0)
        }?;
        NonNull::new(map.cast()).map(Self).ok_or_else(|| io::Error::other("mapped at 0"))
    }
}

impl Deref for Mapped {
    type Target = Control;

    fn deref(&self) -> &Control {
        // SAFETY: mapped until this is dropped, aligned to a page, and all fields are atomic.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `create` with this size; no reference outlives this value.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Control>()) };
    }
}

/// Compiles the library.
///
/// # Errors
///
/// Why it cannot be had here.
pub fn compile(library: &Path, linked: &[&str]) -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")) {
        return Err("it needs Linux with glibc on x86_64".to_owned());
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/faults.c");
    let compiled = Command::new("cc")
        .args(["-O1", "-w", "-shared", "-fPIC", "-Wl,--no-as-needed", "-o"])
        .arg(library)
        .args([source, "-ldl", "-pthread"])
        .args(linked)
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if compiled.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&compiled.stderr).into_owned())
    }
}

/// The library, compiled once for each run of the tests.
fn preloaded() -> Result<&'static Path, &'static str> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = LIBRARY.get_or_init(|| {
        let name = format!("faults-{}.so", std::process::id());
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        compile(&library, &[]).map(|()| library)
    });
    made.as_deref().map_err(String::as_str)
}

/// A sandbox whose processes have these faults, except those that they start themselves: a broker
/// that a client starts gets none of its client's variables. `None`, with a line, where there is no
/// such library.
pub fn sandbox() -> Option<(Sandbox, Mapped)> {
    let library = match preloaded() {
        Ok(library) => library.display().to_string(),
        Err(why) => {
            println!("skipped: faults of the system: {why}");
            assert!(std::env::var_os("CI").is_none(), "with CI=true nothing is skipped");
            return None;
        }
    };
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("faults");
    let control = Mapped::create(&path).unwrap();
    let path = path.display().to_string();
    Some((sandbox.with("LD_PRELOAD", library).with("FAULT_CONTROL", path), control))
}
