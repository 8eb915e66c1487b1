//! A window shows another session: what its hooks say moves its streams from peer to peer.
//!
//! Nothing is lost by it, and nothing is shown in the wrong conversation: what was under way to
//! the former peer without evidence stays that one's, and waits for whoever resumes its session.

use crate::broker::core::Tx;
use crate::broker::mailbox::push;
use crate::broker::registry;
use crate::broker::registry::{Said, Shown};
use crate::broker::store::Fault;
use crate::endpoint::hook_spool::Word;
use crate::protocol::{InstanceId, PeerId, ProcessId};
use crate::sys::process;

/// The peer whose session a window shows. Its servers are that one's receivers from now on.
///
/// # Errors
///
/// If the database fails.
pub fn follow_window(tx: &mut Tx<'_>, said: &Said<'_>) -> Result<Option<PeerId>, Fault> {
    match registry::shown(tx, said)? {
        Shown::Nobody => Ok(None),
        Shown::Peer(peer) => Ok(Some(peer)),
        Shown::Moves { from, to, just_made } => {
            let instances = registry::hand_over(tx, said.client, &from, &to)?;
            leave(tx, &from)?;
            if just_made {
                registry::absorb(tx, &from, &to)?;
            }
            arrive(tx, &instances, &from, &to)?;
            tracing::info!(event = "moved", from = %from, peer = %to, "a window shows another session");
            Ok(Some(to))
        }
    }
}

/// What hooks said while no broker ran counts, unless they said otherwise since.
///
/// # Errors
///
/// If the database fails.
pub fn hear(tx: &mut Tx<'_>, words: &[Word]) -> Result<(), Fault> {
    for Word { client, session, source, said_at } in words {
        // A hook of a container named it by the number that it has there.
        let client = &process::translate(client).unwrap_or_else(|| client.clone());
        if registry::still_runs(&client.to_string())
            && !registry::has_spoken_since(tx, client, *said_at)?
        {
            follow_window(tx, &Said { session, client, source, at: *said_at })?;
        }
    }
    Ok(())
}

/// The peer that a hook waits to wake, unless its window has gone on to another session.
///
/// # Errors
///
/// If the database fails.
pub fn peer_to_wake(
    tx: &mut Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<Option<PeerId>, Fault> {
    let Some(client) = client else { return registry::peer_of_session(tx, session, None) };
    if registry::is_past(tx, session, client)? {
        return Ok(None);
    }
    follow_window(tx, &Said { session, client, source: "", at: tx.now })
}

/// The former peer has ended, as far as this window goes.
fn leave(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    tx.state.turns.forget(peer);
    tx.state.waking.remove(peer);
    // A call that waits was made in the other conversation, and keeps its mail from nobody.
    tx.state.live.waiters.remove_all_of(peer);
    tx.state.effects.notify(peer.clone());
    push::look_again(tx, peer)
}

fn arrive(
    tx: &mut Tx<'_>,
    instances: &[InstanceId],
    from: &PeerId,
    to: &PeerId,
) -> Result<(), Fault> {
    {
        let mut inner = tx.state.live.presence.lock();
        if inner.forget_arriving(from) {
            inner.note_arriving(to);
        }
        for instance in instances {
            inner.reattach(instance, to);
        }
    }
    registry::ensure_name(tx, to)?;
    let peer = registry::peer(tx, to)?;
    for instance in instances {
        tx.state.effects.attached(instance.clone(), from.clone(), peer.clone());
    }
    tx.state.effects.notify(to.clone());
    push::push_waiting(tx, to)
}
