//! What the hooks of client processes report: which session each of them shows, and when it said so.
//!
//! It is written where it matters: when a session begins or changes, at the first event that a broker
//! hears of a client process, and when the broker stops. The times between are kept in memory.

use rusqlite::params;

use crate::broker::core::{Effect, Tx};
use crate::broker::live::hook_reports::LastReport;
use crate::broker::registry::keys::still_runs;
use crate::broker::store::Fault;
use crate::protocol::{ProcessId, Timestamp};

/// Holds what a hook reports about its client process.
pub struct HookReport<'a> {
    /// The session that the client shows.
    pub session: &'a str,
    pub client: &'a ProcessId,
    /// What began the session, in the client's word; empty if the event does not begin one.
    pub source: &'a str,
    pub at: Timestamp,
}

/// Records a report, and writes it if it begins a session or changes what is known.
pub fn record_hook_report(tx: &mut Tx<'_>, report: &HookReport<'_>) -> Result<(), Fault> {
    // The time of an event that begins a session is written in any case: the hook spool may hold an
    // older one that began another.
    let is_written =
        !report.source.is_empty() || !tx.state.hook_reports.shows(report.client, report.session);
    if is_written {
        write(tx, report.client, report.session, report.at)?;
    }
    note(tx, report, is_written);
    Ok(())
}

/// Records a report that changes nothing but the time.
pub fn note_hook(tx: &mut Tx<'_>, report: &HookReport<'_>) {
    note(tx, report, false);
}

fn note(tx: &mut Tx<'_>, report: &HookReport<'_>, is_written: bool) {
    let last = LastReport { session: report.session.to_owned(), at: report.at, is_written };
    tx.state.effects.push(Effect::HookReported(report.client.clone(), last));
}

/// Writes the times that are kept in memory, because the broker stops.
pub fn write_hook_reports(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let unwritten: Vec<(ProcessId, LastReport)> = {
        let unwritten = tx.state.hook_reports.unwritten();
        unwritten.map(|(client, last)| (client.clone(), last.clone())).collect()
    };
    for (client, last) in unwritten {
        write(tx, &client, &last.session, last.at)?;
        let last = LastReport { is_written: true, ..last };
        tx.state.effects.push(Effect::HookReported(client, last));
    }
    Ok(())
}

fn write(tx: &Tx<'_>, client: &ProcessId, session: &str, at: Timestamp) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "INSERT INTO clients (process, session, said_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (process) DO UPDATE SET session = excluded.session, said_at = excluded.said_at",
        )?
        .execute(params![client.to_string(), session, at.millis()])?;
    Ok(())
}

/// Returns whether the event at `said_at` is outdated: the client process has a newer hook event, or
/// this one is recorded already.
pub fn has_newer_hook(
    tx: &Tx<'_>,
    client: &ProcessId,
    session: &str,
    said_at: Timestamp,
) -> Result<bool, Fault> {
    let is_newer =
        |last: &LastReport| last.at > said_at || (last.at == said_at && last.session == session);
    if tx.state.hook_reports.last(client).is_some_and(is_newer) {
        return Ok(true);
    }
    let event = params![client.to_string(), said_at.millis(), session];
    Ok(tx
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM clients WHERE process = ?1
                 AND (said_at > ?2 OR (said_at = ?2 AND session = ?3)))",
        )?
        .query_row(event, |row| row.get(0))?)
}

/// Deletes the reports of client processes that have ended.
pub fn forget_ended_clients(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let processes: Vec<String> = tx
        .db
        .prepare_cached("SELECT process FROM clients")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for process in processes.iter().filter(|process| !still_runs(process)) {
        tx.db.prepare_cached("DELETE FROM clients WHERE process = ?1")?.execute([process])?;
        // It cannot come back, whatever becomes of the transaction.
        tx.state.hook_reports.forget(|known| known.to_string() == *process);
    }
    Ok(())
}
