//! What this process inherited of signals, set right before anything else runs.
//!
//! Whoever starts us may ignore or block signals for reasons of its own, and a program that is
//! run inherits both. What a program of ours cannot work with is reset. That SIGHUP or SIGINT is
//! ignored is left alone: so `nohup` and a shell's `&` say that we are to live on.

use std::io;

/// Unblocks all signals, and undoes what would keep us from ending or from waiting.
///
/// With SIGCHLD ignored nobody can wait for a program (`wait(2)` says ECHILD), so no broker could
/// be started and no `git` heard. A process that ignores or blocks SIGTERM outlives its client and
/// its service manager's patience.
///
/// Call it before any thread is started: a thread inherits the mask of the one that starts it.
pub fn reset_inherited() {
    // SAFETY: `set` is written by `sigemptyset` before it is read, and no handler is installed:
    // the two signals get their default action.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        if libc::sigemptyset(&raw mut set) == 0 {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        }
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
    }
}

/// Has a write beyond a limit on the size of files fail (EFBIG) instead of ending the process.
pub fn ignore_file_size_limit() {
    // SAFETY: no handler is installed.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Whether SIGHUP is ignored, as `nohup(1)` has it: the end of a terminal is not to be ours.
///
/// # Errors
///
/// If the system does not tell.
pub fn hangup_is_ignored() -> io::Result<bool> {
    // SAFETY: the call only reads, into a structure of the right type.
    unsafe {
        let mut now = std::mem::zeroed::<libc::sigaction>();
        if libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(now.sa_sigaction == libc::SIG_IGN)
    }
}
