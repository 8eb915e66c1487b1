//! The hook spool: events that hooks leave in a file while no broker runs, for the next broker.
//!
//! A client runs its first hook at the same time as it starts its servers, and the first server of all
//! starts the broker. Hooks start no broker; but only they know which session a client process
//! shows. Without that a session that is resumed would get a new peer, and its messages would stay
//! with the old one.
//!
//! The broker drains the spool in three steps: [`drain`] sets the file aside and reads it, the broker
//! applies the events in a transaction, and [`Drained::delete`] removes the file after the commit.
//! After a failure or a crash in between, the next call of [`drain`] returns the same events again, so
//! they must be harmless to apply twice.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Paths;
use crate::protocol::{ProcessId, Timestamp};
use crate::sys::files::{beside, is_at, open_own, open_own_to_write, private_directory, read_all};

/// The largest size of the file, in bytes, for the case that no broker ever runs: some hundred events.
const MAX_BYTES: u64 = 64 * 1024;

/// The largest spool that is read, in bytes: the last event may go beyond [`MAX_BYTES`].
const MAX_READ: u64 = 16 * MAX_BYTES;

/// One event in the spool: a client process shows a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpooledEvent {
    pub client: ProcessId,
    /// The session that the client process shows.
    pub session: String,
    /// What began the session, in the client's word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    pub said_at: Timestamp,
}

/// The drained events, and the file that holds them until they are applied.
#[derive(Debug)]
pub struct Drained {
    file: PathBuf,
    /// The events, oldest first.
    pub events: Vec<SpooledEvent>,
}

impl Drained {
    /// Deletes the file, after the events have been applied.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed.
    pub fn delete(self) -> io::Result<()> {
        fs::remove_file(self.file)
    }
}

fn spool(paths: &Paths) -> PathBuf {
    beside(&paths.socket, ".unheard")
}

/// Appends an event for the next broker.
///
/// # Errors
///
/// If the file cannot be written, or is full.
pub fn append(paths: &Paths, event: &SpooledEvent) -> io::Result<()> {
    private_directory(paths.runtime())?;
    let path = spool(paths);
    let mut file = loop {
        let file = open_own_to_write(&path, OpenOptions::new().append(true).create(true))?;
        file.lock()?;
        // A broker may have set the file aside before the lock was taken.
        if is_at(&file, &path)? {
            break file;
        }
    };
    if file.metadata()?.len() > MAX_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    failpoint!("hook.spool.opened");
    file.write_all(&line)?;
    failpoint!("hook.spool.appended");
    Ok(())
}

/// Sets the spool aside and reads it. Lines that are not events are skipped; `None` if there is no
/// spool.
///
/// Only one drain may be under way. If an earlier one was not finished, its events come again, and
/// those that were appended since come with the next call.
///
/// # Errors
///
/// If there is a spool that cannot be read; [`io::ErrorKind::WouldBlock`] while a hook appends to it.
/// It does not wait for the hook, which may be suspended: the broker has one thread for all requests.
pub fn drain(paths: &Paths) -> io::Result<Option<Drained>> {
    let path = spool(paths);
    let aside = beside(&path, "-taken");
    if !aside.try_exists()? {
        match open_own(&path, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => {
                let file = file?;
                // No hook is about to append to the file once it has its new name.
                file.try_lock()?;
                fs::rename(&path, &aside)?;
                failpoint!("broker.spool.set_aside");
            }
        }
    }
    let set_aside = open_own(&aside, OpenOptions::new().read(true))?;
    let events = read_all(set_aside, MAX_READ)?
        .split(|byte| *byte == b'\n')
        .flat_map(serde_json::from_slice)
        .collect();
    Ok(Some(Drained { file: aside, events }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sys::process;

    fn paths(home: &tempfile::TempDir) -> Paths {
        let environment = [("HOME", home.path())].into_iter().collect();
        Config::from_environment(&environment).unwrap().paths
    }

    fn event(session: &str) -> SpooledEvent {
        SpooledEvent {
            client: process::of_pid(std::process::id()).unwrap(),
            session: session.to_owned(),
            source: String::new(),
            said_at: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    #[test]
    fn events_come_in_order_and_once_when_they_are_deleted() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(&home);
        assert!(drain(&paths).unwrap().is_none());
        append(&paths, &event("one")).unwrap();
        let spool = OpenOptions::new().append(true).open(spool(&paths));
        spool.unwrap().write_all(b"nonsense\n").unwrap();
        append(&paths, &event("two")).unwrap();
        let drained = drain(&paths).unwrap().unwrap();
        assert_eq!(drained.events, [event("one"), event("two")]);
        drained.delete().unwrap();
        assert!(drain(&paths).unwrap().is_none());
    }

    #[test]
    fn events_that_were_not_deleted_come_again_before_newer_ones() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(&home);
        append(&paths, &event("one")).unwrap();
        drop(drain(&paths).unwrap());
        append(&paths, &event("two")).unwrap();
        let drained = drain(&paths).unwrap().unwrap();
        assert_eq!(drained.events, [event("one")]);
        drained.delete().unwrap();
        assert_eq!(drain(&paths).unwrap().unwrap().events, [event("two")]);
    }

    #[test]
    fn a_hook_that_is_appending_is_not_waited_for_and_its_event_comes_later() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(&home);
        append(&paths, &event("one")).unwrap();
        let appending = OpenOptions::new().append(true).open(spool(&paths)).unwrap();
        appending.lock().unwrap();
        assert_eq!(drain(&paths).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(appending);
        assert_eq!(drain(&paths).unwrap().unwrap().events, [event("one")]);
    }

    #[test]
    fn a_spool_that_no_broker_drains_has_a_limit() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(&home);
        private_directory(paths.runtime()).unwrap();
        fs::write(spool(&paths), "x".repeat(70_000)).unwrap();
        let refused = append(&paths, &event("one")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }
}
