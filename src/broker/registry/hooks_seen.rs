//! Whether hooks of ours have ever spoken, in any session.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::store::Fault;
use crate::protocol::Timestamp;

/// How exactly it is kept: a row more for each event would cost every turn.
const EXACTLY: Duration = Duration::from_secs(60 * 60);

/// A hook speaks.
///
/// # Errors
///
/// If the database fails.
pub fn note_hook(tx: &mut Tx<'_>) -> Result<(), Fault> {
    if tx.state.hooks_spoke_at.is_some_and(|at| tx.now.since(at) < EXACTLY) {
        return Ok(());
    }
    tx.db
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES ('hooks_spoke_at', ?1)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![tx.now.millis().to_string()])?;
    tx.state.hooks_spoke_at = Some(tx.now);
    Ok(())
}

/// When a hook last spoke, to the hour.
///
/// # Errors
///
/// If the database fails.
pub fn hooks_spoke_at(tx: &Tx<'_>) -> Result<Option<Timestamp>, Fault> {
    let said: Option<String> = tx
        .db
        .prepare_cached("SELECT value FROM meta WHERE key = 'hooks_spoke_at'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(said.and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis))
}
