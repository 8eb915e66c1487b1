//! Processes that tests start, stop, freeze and end by their pid, and files that can be run.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{PROGRAM, until};

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// Sends a signal to a process that the test started.
#[track_caller]
pub fn send_signal(process: u32, signal: Signal) {
    kill_process(pid(process), signal).unwrap();
}

/// A process that is stopped by SIGSTOP until this is dropped.
pub struct Frozen(u32);

impl Frozen {
    #[track_caller]
    pub fn new(process: u32) -> Self {
        send_signal(process, Signal::STOP);
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // An error means that the process has ended.
        let _ = kill_process(pid(self.0), Signal::CONT);
    }
}

/// Waits for the end of a process, with a timeout.
#[track_caller]
pub fn ends(child: &mut Child) -> ExitStatus {
    let mut end = None;
    until("the process ends", || {
        end = child.try_wait().unwrap();
        end.is_some()
    });
    end.unwrap()
}

/// Opens a terminal; returns our end, and the end for a program.
pub fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    // Not every system has a flag for CLOEXEC.
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    (ours, open(name, flags, Mode::empty()).unwrap())
}

/// Starts a command on a terminal of its own, as the leader of a session.
pub fn in_a_terminal(command: Command) -> (OwnedFd, Child) {
    in_a_terminal_of(command, |_| ())
}

/// The same on a terminal that is prepared first.
pub fn in_a_terminal_of(mut command: Command, prepare: impl FnOnce(&OwnedFd)) -> (OwnedFd, Child) {
    use rustix::process::{ioctl_tiocsctty, setsid};

    let (ours, theirs) = terminal();
    prepare(&ours);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    // SAFETY: both calls are single system calls.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    (ours, command.spawn().unwrap())
}

/// The permissions of a file; those of a link itself, not of its target.
#[track_caller]
pub fn mode(path: &Path) -> u32 {
    let metadata = std::fs::symlink_metadata(path);
    metadata.unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

#[track_caller]
pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Makes `path` an executable file with this content.
pub fn write_program(path: &Path, script: impl AsRef<[u8]>) {
    let mut writer = writing_program(path).stdin(Stdio::piped()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(script.as_ref()).unwrap();
    assert!(writer.wait().unwrap().success());
}

/// Makes `path` a copy of the program under test.
pub fn copy_program(path: &Path) {
    let original = std::fs::File::open(PROGRAM).unwrap();
    assert!(writing_program(path).stdin(original).status().unwrap().success());
}

/// A command that writes an executable file.
///
/// This process does not write it itself: a child that another thread starts at that moment would
/// keep the file open for writing, and such a file cannot be run.
fn writing_program(path: &Path) -> Command {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path);
    command
}

/// A number in `/proc/PID/status`: KiB, where it is memory.
pub fn process_status(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
