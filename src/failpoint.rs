//! Failpoints: named steps at which a test has the process killed or delayed.
//!
//! `failpoint!("broker.store.committed")` is nothing at all unless the crate's feature `failpoints` is
//! on. Only `tests/failpoints` turns it on: no package and no ordinary build has the feature. With it,
//! the variable `CLAUDE_PEERS_FAILPOINT` arms one point of a process: `NAME:HIT:ACTION`, where `HIT`
//! counts from 1 and `ACTION` is `kill` (SIGKILL) or `delay=MILLISECONDS`. A fourth part,
//! `NAME:HIT:ACTION:PATH`, names a file: hits count from when it exists, so that a test can first
//! bring everything to where the step is to be interrupted.

/// Marks a step between a request and its answer.
#[cfg(feature = "failpoints")]
macro_rules! failpoint {
    ($name:literal) => {
        crate::failpoint::hit($name)
    };
}

/// Marks a step between a request and its answer. Without the feature it is nothing.
#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint {
    ($name:literal) => {};
}

#[cfg(feature = "failpoints")]
pub use armed::{NAMES, arm, hit};

#[cfg(feature = "failpoints")]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    /// Every failpoint of the source. `tests/failpoints` compares it with the source, and hits each.
    pub const NAMES: &[&str] = &[
        "broker.request.read",
        "broker.request.answered",
        "broker.store.begun",
        "broker.store.ran",
        "broker.store.committed",
        "broker.store.applied",
        "broker.store.answered",
        "broker.send.inserted",
        "broker.batch.inserted",
        "broker.offer.taken",
        "broker.offer.streamed",
        "broker.offer.shown",
        "broker.evidence.marked",
        "broker.receipt.stored",
        "broker.notes.waiting",
        "broker.notes.due",
        "broker.registration.inserted",
        "broker.stream.opened",
        "broker.spool.set_aside",
        "broker.spool.read",
        "broker.spool.applied",
        "broker.spool.deleted",
        "broker.expiry.noticed",
        "broker.expiry.swept",
        "broker.checkpoint.begun",
        "broker.checkpoint.made",
        "broker.takeover.asked",
        "broker.takeover.locked",
        "broker.takeover.opened",
        "broker.takeover.listening",
        "broker.migration.begun",
        "broker.migration.run",
        "broker.migration.committed",
        "broker.stop.drained",
        "broker.stop.marked_clean",
        "server.send.called",
        "server.send.answered",
        "server.batch.answered",
        "server.result.written",
        "server.evidence.confirmed",
        "server.push.received",
        "server.push.added",
        "server.push.written",
        "server.push.reported",
        "server.registration.answered",
        "hook.event.read",
        "hook.mail.received",
        "hook.output.written",
        "hook.receipt.answered",
        "hook.spool.opened",
        "hook.spool.appended",
        "cli.inbox.taken",
        "cli.inbox.printed",
        "cli.inbox.confirmed",
    ];

    enum Action {
        Kill,
        Delay(Duration),
    }

    struct Armed {
        name: String,
        /// At which hit the action is carried out.
        at: u32,
        action: Action,
        /// Hits count from when this file exists.
        gate: Option<PathBuf>,
        hits: AtomicU32,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms the point that `text` names. A text that names none ends the process, so that no test
    /// waits for a point in vain.
    pub fn arm(text: &str) {
        let Some(armed) = parse(text) else {
            tracing::error!("{text:?} names no failpoint and action");
            std::process::exit(64);
        };
        // Armed before: the first one stays.
        let _ = ARMED.set(armed);
    }

    fn parse(text: &str) -> Option<Armed> {
        let mut parts = text.splitn(4, ':');
        let name = parts.next().filter(|name| NAMES.contains(name))?.to_owned();
        let at = parts.next()?.parse().ok()?;
        let action = match parts.next()?.split_once('=') {
            None => Action::Kill,
            Some(("delay", milliseconds)) => {
                Action::Delay(Duration::from_millis(milliseconds.parse().ok()?))
            }
            Some(_) => return None,
        };
        let gate = parts.next().map(PathBuf::from);
        Some(Armed { name, at, action, gate, hits: AtomicU32::new(0) })
    }

    /// Carries out the action if the point `name` is armed and this is the hit.
    pub fn hit(name: &str) {
        let Some(armed) = ARMED.get() else { return };
        let is_open = || armed.gate.as_ref().is_none_or(|gate| gate.exists());
        if armed.name != name || !is_open() {
            return;
        }
        if armed.hits.fetch_add(1, Ordering::SeqCst) + 1 != armed.at {
            return;
        }
        match armed.action {
            Action::Kill => {
                // It does not return.
                let _ = kill_process(getpid(), Signal::KILL);
            }
            Action::Delay(pause) => std::thread::sleep(pause),
        }
    }
}
