//! New peers: one process registers only so many in a time.
//!
//! Limits go by sender, so a process that could be a new sender each time would be above all of them.

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::core::rate_limit::{NEW_PEERS, NEW_PEERS_PER_MINUTE};
use crate::broker::store::Fault;
use crate::protocol::peers::Register;
use crate::protocol::{ApiError, ErrorCode};

/// Refuses a registration by the process `pid` that would make one new instance too many.
///
/// Instances that are known already, as after a restart of the broker, count as none.
///
/// # Errors
///
/// [`ErrorCode::RateLimited`].
pub fn check_new_peer(tx: &mut Tx<'_>, pid: Option<u32>, request: &Register) -> Result<(), Fault> {
    let is_known: bool = tx
        .db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM receivers WHERE instance = ?1)")?
        .query_row(params![request.instance.as_str()], |row| row.get(0))?;
    if is_known {
        return Ok(());
    }
    let now = tx.state.live.sources.clock.instant();
    tx.state.rates.spend_registration(pid, now).map_err(|seconds| {
        ApiError::new(
            ErrorCode::RateLimited,
            format!(
                "this process registers too many new sessions: {NEW_PEERS} are allowed at once, then {NEW_PEERS_PER_MINUTE} a minute"
            ),
        )
        .hint(format!("Wait {seconds} s. A session's server registers once."))
        .into()
    })
}
