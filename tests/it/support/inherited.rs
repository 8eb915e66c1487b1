//! What a test and its processes begin with, whatever the suite was started by.
//!
//! `nohup`, many CI runners, a hook of git's and a careful shell leave signals ignored, a umask,
//! low limits and variables behind, which every process inherits. Here they are set to what a
//! person's terminal gives.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use rustix::fs::{Mode, RawMode};
use rustix::process::{Resource, getrlimit, setrlimit, umask};

use super::{PATIENCE, rounds};

/// What a person's shell sets.
const UMASK: RawMode = 0o022;

/// Sets this process right, once: who makes files and opens descriptors here is every test.
pub fn reset() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        umask(Mode::from_raw_mode(UMASK));
        // SAFETY: no handler is installed. Ignored, nobody could wait for a process.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        for resource in [Resource::Nofile, Resource::Fsize] {
            let mut limit = getrlimit(resource);
            limit.current = limit.maximum;
            // What cannot be raised is the machine's, and the tests that need more say so.
            let _ = setrlimit(resource, limit);
        }
    });
}

/// How long a process of a test may live: far longer than any of them needs, so that whoever waits
/// for one that hangs waits with a limit, and sees it ended by SIGALRM.
fn life() -> u32 {
    let rounds = u32::try_from(rounds(1)).unwrap();
    let life = 8 * PATIENCE + Duration::from_secs(60) * rounds;
    life.as_secs().try_into().unwrap()
}

/// Has a program begin with every signal at its default, and with a limit on its life.
pub fn afresh(command: &mut Command) {
    let life = life();
    let begin = move || {
        // The numbers that all systems share; the others nobody ignores.
        for signal in 1..=31 {
            if ![libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
                // SAFETY: no handler is installed.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
        }
        // SAFETY: a system call that survives the start of the program, as its timer does.
        unsafe { libc::alarm(life) };
        Ok(())
    };
    // SAFETY: the closure makes system calls only. The standard library has emptied the mask.
    unsafe { command.pre_exec(begin) };
}
