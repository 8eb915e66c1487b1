//! The end of another process, noticed without polling.

use rustix::process::{Pid, getppid};

use super::Process;

/// The process that started us.
pub struct Parent {
    pid: Option<Pid>,
}

impl Parent {
    /// The parent as it is now, early in `main`.
    #[must_use]
    pub fn now() -> Self {
        Self { pid: getppid() }
    }

    /// Returns once the parent is gone; never, where the system cannot tell.
    pub async fn gone(&self) {
        let Some(pid) = self.pid.filter(|pid| pid.as_raw_nonzero().get() > 1) else {
            return std::future::pending().await;
        };
        let watched = watch(pid);
        // It may have died before the watch began; its pid would then be another's.
        if getppid() != Some(pid) {
            return;
        }
        watched.await;
    }
}

/// Returns once this very process has ended; never, where the system cannot tell.
pub async fn ended(process: &Process) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    let watched = watch(pid);
    // It may have ended before the watch began.
    if process.is_alive() {
        watched.await;
    }
}

#[cfg(target_os = "linux")]
fn watch(pid: Pid) -> impl Future<Output = ()> {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let watched = pidfd_open(pid, PidfdFlags::NONBLOCK)
        .ok()
        // SAFETY: the descriptor is ours, and the `AsyncFd` owns it from here on.
        .and_then(|fd| unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok());
    async move {
        match watched {
            // Readable once the process has ended.
            Some(fd) if fd.readable().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }
}

#[cfg(target_os = "macos")]
fn watch(pid: Pid) -> impl Future<Output = ()> {
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
        // A list without room would make it return at once. Without a time limit it returns
        // for an event only.
        // SAFETY: the filter names a process and no descriptor.
        retry_on_intr(|| unsafe { kevent(&queue, &change, spare_capacity(&mut events), None) })?;
        Ok(())
    };
    // A thread of its own, because the wait blocks and cannot be cancelled.
    let started = std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        if wait().is_ok() {
            // An error means that nobody waits any more.
            let _ = sender.send(());
        } else {
            std::mem::forget(sender);
        }
    });
    async move {
        if started.is_err() || gone.await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn watch(_pid: Pid) -> impl Future<Output = ()> {
    std::future::pending()
}
