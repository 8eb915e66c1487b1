//! Inherited signal dispositions, corrected before anything else runs.
//!
//! A parent may ignore or block signals for its own reasons, and a program inherits both. Those that
//! this program cannot work with are reset. An ignored SIGHUP or SIGINT stays ignored: that is how
//! `nohup` and a shell's `&` tell a program to keep running.

use std::io;

/// Unblocks all signals, and resets SIGCHLD and SIGTERM.
///
/// With SIGCHLD ignored a process cannot wait for its children (`wait(2)` fails with ECHILD), so no
/// broker could be started and `git` could not be run. A process that ignores or blocks SIGTERM
/// would outlive its client, and could not be stopped by its service manager.
///
/// Must be called before any thread is started, because a thread inherits its creator's mask.
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

/// Makes a write beyond the limit on the size of files fail (EFBIG) instead of killing the process.
pub fn ignore_file_size_limit() {
    // SAFETY: no handler is installed.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Leaves an interrupt from the terminal to the program that the person looks at, such as a pager.
pub fn ignore_interrupts() {
    // SAFETY: no handler is installed.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
    }
}

/// Returns whether SIGHUP is ignored, as `nohup(1)` sets it: the process should outlive its terminal.
///
/// # Errors
///
/// If the system call fails.
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

/// Stops this process, or all processes of its group, as Ctrl-Z does. Returns when it is continued.
///
/// Without a shell that could continue it (an orphaned process group) the system does not stop it.
///
/// # Errors
///
/// If a system call fails.
pub fn stop_this_process(group: bool) -> io::Result<()> {
    // SAFETY: the structures are of the right type and live during the calls. No handler is installed:
    // the signal gets its default action, and then what it had before.
    unsafe {
        let mut before = std::mem::zeroed::<libc::sigaction>();
        let mut default = std::mem::zeroed::<libc::sigaction>();
        default.sa_sigaction = libc::SIG_DFL;
        if libc::sigaction(libc::SIGTSTP, &raw const default, &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        let sent = if group { libc::kill(0, libc::SIGTSTP) } else { libc::raise(libc::SIGTSTP) };
        let error = io::Error::last_os_error();
        libc::sigaction(libc::SIGTSTP, &raw const before, std::ptr::null_mut());
        if sent == 0 { Ok(()) } else { Err(error) }
    }
}
