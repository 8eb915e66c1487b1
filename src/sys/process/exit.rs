//! Waits for the end of another process, without polling where the system allows it.
//!
//! On Linux by a descriptor of the process (pidfd_open(2)). A kernel before 5.3, a container whose
//! seccomp profile is older than that call, and gVisor do not have it. There a signal reports the
//! end of our parent, and any other process is polled.

use std::time::Duration;

use rustix::process::{Pid, getppid};

use crate::protocol::ProcessId;
use crate::sys::process::is_alive;

/// How often a process is polled whose end the system does not report.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// The process that started us.
pub struct ParentProcess {
    pid: Option<Pid>,
}

impl ParentProcess {
    /// Returns the parent as it is now; to be called early in `main`.
    #[must_use]
    pub fn now() -> Self {
        Self { pid: getppid() }
    }

    /// Waits until the parent has ended; forever if the parent cannot be watched.
    pub async fn exited(&self) {
        let Some(pid) = self.pid.filter(|pid| pid.as_raw_nonzero().get() > 1) else {
            return std::future::pending().await;
        };
        let watched = watch(pid);
        // The parent may have ended before the watch began, and its pid been reused.
        if getppid() != Some(pid) {
            return;
        }
        match watched {
            Some(watched) => watched.await,
            None => parent_ended(pid).await,
        }
    }
}

/// Waits until this process has ended; forever if the watch fails.
pub async fn exited(process: &ProcessId) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    let watched = watch(pid);
    // The process may have ended before the watch began.
    if !is_alive(process) {
        return;
    }
    match watched {
        Some(watched) => watched.await,
        None if getppid() == Some(pid) => parent_ended(pid).await,
        None => {
            while is_alive(process) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}

/// Waits until our parent is not `pid` any more, by a signal from the kernel (`PR_SET_PDEATHSIG`).
///
/// The kernel also sends the signal when only the thread of the parent that started us ends, and
/// again at the end of the next parent.
#[cfg(target_os = "linux")]
async fn parent_ended(pid: Pid) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    use tokio::signal::unix::{SignalKind, signal};

    // SIGURG does nothing to a process that does not handle it.
    let told = signal(SignalKind::from_raw(Signal::URG.as_raw())).ok();
    let told = told.filter(|_| set_parent_process_death_signal(Some(Signal::URG)).is_ok());
    let Some(mut told) = told else { return look_for_parent(pid).await };
    while getppid() == Some(pid) {
        told.recv().await;
    }
}

#[cfg(not(target_os = "linux"))]
async fn parent_ended(pid: Pid) {
    look_for_parent(pid).await;
}

async fn look_for_parent(pid: Pid) {
    while getppid() == Some(pid) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns a future that completes at the end of the process; `None` if the system has no such watch.
#[cfg(target_os = "linux")]
fn watch(pid: Pid) -> Option<impl Future<Output = ()>> {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)
        .or_else(|_| pidfd_open(pid, PidfdFlags::empty()))
        .ok()?;
    // SAFETY: the descriptor is ours, and the `AsyncFd` owns it from here on.
    let watched =
        unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.ok()?;
    Some(async move {
        // Readable once the process has ended.
        if watched.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(target_os = "macos")]
fn watch(pid: Pid) -> Option<impl Future<Output = ()>> {
    use rustix::buffer::spare_capacity;
    use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
    use rustix::io::retry_on_intr;

    let (sender, gone) = tokio::sync::oneshot::channel();
    let wait = move || -> rustix::io::Result<()> {
        let queue = kqueue()?;
        let filter = EventFilter::Proc { pid, flags: ProcessEvents::EXIT };
        let change =
            [Event::new(filter, EventFlags::ADD | EventFlags::ONESHOT, std::ptr::null_mut())];
        let mut events: Vec<Event> = Vec::with_capacity(1);
        // With an empty list kevent would return at once. Without a time limit it returns for an
        // event only.
        // SAFETY: the filter names a process and no descriptor.
        retry_on_intr(|| unsafe { kevent(&queue, &change, spare_capacity(&mut events), None) })?;
        Ok(())
    };
    // A thread of its own, because the wait blocks and cannot be cancelled.
    let started = std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        if wait().is_ok() {
            // An error means that the future was dropped.
            let _ = sender.send(());
        } else {
            std::mem::forget(sender);
        }
    });
    started.ok()?;
    Some(async move {
        if gone.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn watch(_pid: Pid) -> Option<std::future::Pending<()>> {
    None
}
