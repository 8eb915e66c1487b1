//! What the hooks of client processes reported last: the session, and when.
//!
//! The database has the same, but the time only as it was when the session last changed or began, or
//! when a broker stopped: an event that reports nothing new is no reason for a write.

use std::collections::HashMap;

use crate::protocol::{ProcessId, Timestamp};

/// The last hook event of a client process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReport {
    /// The session that the process shows.
    pub session: String,
    pub at: Timestamp,
    /// Whether the database has the time of this event, too.
    pub is_written: bool,
}

/// The client processes whose hooks have spoken to this broker.
#[derive(Debug, Default)]
pub struct HookReports(HashMap<ProcessId, LastReport>);

impl HookReports {
    /// Records an event, unless a newer one is known.
    pub fn record(&mut self, client: ProcessId, report: LastReport) {
        if self.0.get(&client).is_none_or(|known| known.at <= report.at) {
            self.0.insert(client, report);
        }
    }

    /// Returns the last event of a client process.
    #[must_use]
    pub fn last(&self, client: &ProcessId) -> Option<&LastReport> {
        self.0.get(client)
    }

    /// Whether the database has this session as the one that the client process shows.
    #[must_use]
    pub fn shows(&self, client: &ProcessId, session: &str) -> bool {
        self.last(client).is_some_and(|last| last.session == session)
    }

    /// Returns the events whose time the database does not have.
    pub fn unwritten(&self) -> impl Iterator<Item = (&ProcessId, &LastReport)> {
        self.0.iter().filter(|(_, last)| !last.is_written)
    }

    /// Moves all times by so many milliseconds: the wall clock was set.
    pub fn shift(&mut self, by_millis: i64) {
        for last in self.0.values_mut() {
            last.at = last.at.shifted(by_millis);
        }
    }

    /// Forgets the client processes for which `is_over` holds.
    pub fn forget(&mut self, is_over: impl Fn(&ProcessId) -> bool) {
        self.0.retain(|client, _| !is_over(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

    #[test]
    fn an_older_event_replaces_no_newer_one() {
        let (mut reports, client) = (HookReports::default(), process::own());
        let report = |session: &str, at, is_written| LastReport {
            session: session.to_owned(),
            at: Timestamp::from_millis(at),
            is_written,
        };
        reports.record(client.clone(), report("one", 2, true));
        reports.record(client.clone(), report("two", 1, true));
        assert!(reports.shows(&client, "one") && !reports.shows(&client, "two"));
        assert_eq!(reports.unwritten().count(), 0);
        reports.record(client.clone(), report("one", 3, false));
        assert_eq!(reports.unwritten().count(), 1);
        reports.forget(|known| *known == client);
        assert_eq!(reports.last(&client), None);
    }
}
