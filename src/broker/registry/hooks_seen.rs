//! When a hook of ours last reported an event, in any session.

use std::time::Duration;

use crate::broker::core::Tx;
use crate::broker::store::{Fault, meta};
use crate::protocol::Timestamp;

/// The key of the time in `meta`.
const HOOKS_SPOKE_AT: &str = "hooks_spoke_at";

/// How exactly the time is recorded. One more write for each event would slow down every turn.
const PRECISION: Duration = Duration::from_secs(60 * 60);

/// Records that a hook reports an event now.
pub fn record_hook(tx: &mut Tx<'_>) -> Result<(), Fault> {
    if !is_hook_to_be_recorded(tx) {
        return Ok(());
    }
    meta::set(tx.db, HOOKS_SPOKE_AT, &tx.now.millis().to_string())?;
    tx.state.hooks_spoke_at = Some(tx.now);
    Ok(())
}

/// Whether an event now is to be recorded.
pub fn is_hook_to_be_recorded(tx: &Tx<'_>) -> bool {
    tx.state.hooks_spoke_at.is_none_or(|at| tx.now.since(at) >= PRECISION)
}

/// Returns when a hook last reported an event, to the hour; `None` if none ever did.
pub fn last_hook_at(tx: &Tx<'_>) -> Result<Option<Timestamp>, Fault> {
    let recorded = meta::get(tx.db, HOOKS_SPOKE_AT)?;
    Ok(recorded.and_then(|millis| millis.parse().ok()).map(Timestamp::from_millis))
}
