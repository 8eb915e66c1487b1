//! The broker as a process of its own: away from the program that started it and its terminal.

use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

/// The arguments of a broker that [`detach`] started.
const DETACHED: [&str; 2] = ["broker", "--detached"];

/// Starts the broker as a process of its own. This process is to end then, so that the broker is
/// not a child of the client.
///
/// # Errors
///
/// Returns why the program cannot be started.
pub fn detach() -> io::Result<()> {
    keep_descriptors_here()?;
    // Both outputs are inherited: standard output is the pipe on which the broker reports that it
    // is ready, standard error its log.
    Command::new(std::env::current_exe()?).args(DETACHED).spawn()?;
    Ok(())
}

/// Leaves the session and the terminal of the program that started this process: their end must
/// not end the broker.
///
/// # Errors
///
/// Returns the system's reason.
pub fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Closes further inherited descriptors when the broker starts.
///
/// A script's lock or a pipe that a program reads to its end must not live as long as the broker.
fn keep_descriptors_here() -> io::Result<()> {
    for entry in std::fs::read_dir("/dev/fd")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if number > 2 {
            // SAFETY: the descriptor was open a moment ago, and no other thread runs in this
            // process; only the listing's own may be closed by now, which is an error here.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}
