//! Waiting until a broker that was asked to stop has released its locks.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;

use crate::config::Config;
use crate::endpoint::broker_lock::Holder;
use crate::endpoint::socket::holder;

/// How often the locks are looked at where the end of the process cannot be watched.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often they are looked at beside a watched process: a broker releases them as it exits, or
/// shortly before.
#[cfg(target_os = "linux")]
const WATCHED_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the broker `running` holds no lock of these settings. Blocks for up to `limit`.
///
/// Returns false if the broker still holds one then.
#[must_use]
pub fn wait_until_released(config: &Config, running: &Holder, limit: Duration) -> bool {
    let since = Instant::now();
    let mut exit = ExitWatch::new(running);
    while holder(config).is_some_and(|now| now.is_same(running)) {
        let Some(left) = limit.checked_sub(since.elapsed()) else { return false };
        exit.wait(left);
    }
    true
}

/// A handle on the process, so that its end ends the wait at once.
struct ExitWatch {
    #[cfg(target_os = "linux")]
    process: Option<OwnedFd>,
}

impl ExitWatch {
    #[cfg(target_os = "linux")]
    fn new(running: &Holder) -> Self {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};

        use crate::endpoint::broker_lock::Whereabouts;

        let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
        // The handle comes first, then the check that the number is still this process's.
        let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Self { process: process.filter(|_| running.whereabouts() == Whereabouts::Here) }
    }

    #[cfg(not(target_os = "linux"))]
    fn new(_running: &Holder) -> Self {
        Self {}
    }

    /// Waits until the process ends or it is time to look at the locks again.
    #[cfg(target_os = "linux")]
    fn wait(&mut self, limit: Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let Some(process) = &self.process else {
            return std::thread::sleep(limit.min(POLL_INTERVAL));
        };
        let time = Timespec::try_from(limit.min(WATCHED_INTERVAL)).ok();
        match poll(&mut [PollFd::new(process, PollFlags::IN)], time.as_ref()) {
            // Nothing yet, or a signal.
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            // It has ended. If a lock is held all the same, a child of it has inherited the file.
            Ok(_) | Err(_) => self.process = None,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn wait(&mut self, limit: Duration) {
        std::thread::sleep(limit.min(POLL_INTERVAL));
    }
}
