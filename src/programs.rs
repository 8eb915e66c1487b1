//! Threads and programs that are given up when they take too long.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Runs `work` on a thread of its own.
pub fn off_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Receiver<T>, String> {
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        // Whoever waits may have given up.
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| error.to_string())?;
    Ok(receiver)
}

/// Where a program lies.
pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(candidate)
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// What a program said, and whether it succeeded.
pub struct Said {
    pub success: bool,
    pub output: String,
    pub errors: String,
}

/// Runs a program to its end. One that takes longer is ended, with all that it started.
pub fn program(program: &str, arguments: &[&str], limit: Duration) -> Result<Said, String> {
    let child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let ended = off_thread(program, move || child.wait_with_output())?;
    match ended.recv_timeout(limit) {
        Ok(Ok(output)) => Ok(Said {
            success: output.status.success(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Ok(Err(error)) => Err(format!("{program} cannot be heard: {error}")),
        Err(_) => {
            if let Some(group) = group {
                // An error means that it has ended just now.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let line = format!("{program} {}", arguments.join(" "));
            Err(format!("`{line}` did not end within {} s", limit.as_secs()))
        }
    }
}
