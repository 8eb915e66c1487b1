//! A client process shows another session: its hooks report that, and its streams are attached to that
//! session's peer.
//!
//! No message is lost, and none is shown in the wrong conversation: a message that was offered to the
//! former peer without evidence stays in its mailbox until its session is resumed.

use crate::broker::core::{Effect, TurnChange, Tx};
use crate::broker::live::push_state::PushChange;
use crate::broker::live::waiters::WaiterChange;
use crate::broker::mailbox::push;
use crate::broker::registry;
use crate::broker::registry::{HookReport, ShownPeer};
use crate::broker::store::Fault;
use crate::endpoint::hook_spool::SpooledEvent;
use crate::protocol::{InstanceId, PeerId, ProcessId};
use crate::sys::process;

/// Returns the peer whose session a client process shows. Its servers are that peer's receivers from now
/// on.
pub fn follow_session_change(
    tx: &mut Tx<'_>,
    report: &HookReport<'_>,
) -> Result<Option<PeerId>, Fault> {
    match registry::peer_for_hook(tx, report)? {
        ShownPeer::NoPeer => Ok(None),
        ShownPeer::Peer(peer) => Ok(Some(peer)),
        ShownPeer::Changes { from, to, just_made } => {
            let instances = registry::reattach_receivers(tx, report.client, &from, &to)?;
            attach(tx, &instances, &from, &to);
            leave(tx, &from)?;
            if just_made {
                registry::merge_new_peer(tx, &from, &to)?;
            }
            arrive(tx, &instances, &to)?;
            tracing::info!(event = "moved", from = %from, peer = %to, "a client process shows another session");
            Ok(Some(to))
        }
    }
}

/// Applies the events that hooks spooled while no broker ran, unless newer ones are known.
/// Events that were applied before have no effect.
pub fn apply_spooled(tx: &mut Tx<'_>, events: &[SpooledEvent]) -> Result<(), Fault> {
    for SpooledEvent { client, session, source, said_at } in events {
        // A hook in a container names the process by its pid there.
        let client = &process::translate(client).unwrap_or_else(|| client.clone());
        if registry::still_runs(&client.to_string())
            && !registry::has_newer_hook(tx, client, session, *said_at)?
        {
            follow_session_change(tx, &HookReport { session, client, source, at: *said_at })?;
        }
    }
    Ok(())
}

/// Returns the peer that a hook waits to wake, unless its client process shows another session now.
pub fn peer_to_wake(
    tx: &mut Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<Option<PeerId>, Fault> {
    let Some(client) = client else { return registry::peer_of_session(tx, session, None) };
    if registry::has_moved_on(tx, session, client)? {
        return Ok(None);
    }
    follow_session_change(tx, &HookReport { session, client, source: "", at: tx.now })
}

/// Attaches the streams of these servers to the new peer: no message of the former one may be pushed
/// over them any more.
fn attach(tx: &mut Tx<'_>, instances: &[InstanceId], from: &PeerId, to: &PeerId) {
    let presence = tx.state.live.presence.clone();
    if presence.lock().forget_arriving(from) {
        presence.lock().note_arriving(to);
    }
    for instance in instances {
        presence.lock().set_peer(instance, to);
        tx.state.effects.push(Effect::Attached { instance: instance.clone(), from: from.clone() });
        tx.state.change_push(instance, PushChange::Attached);
    }
}

/// Ends what belonged to the former peer in this client process.
fn leave(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    let effects = &mut tx.state.effects;
    effects.turn(peer, TurnChange::Forgotten);
    effects.push(Effect::WakeDone(peer.clone()));
    // Its waiting calls were made in the other conversation, and reserve nothing any more.
    effects.push(Effect::Waiters(WaiterChange::EndAllOf(peer.clone())));
    effects.notify(peer);
    push::rescan(tx, peer)
}

/// Tells the servers of the client process which peer is theirs now, and pushes its messages.
fn arrive(tx: &mut Tx<'_>, instances: &[InstanceId], to: &PeerId) -> Result<(), Fault> {
    registry::ensure_name(tx, to)?;
    let peer = registry::peer(tx, to)?;
    for instance in instances {
        let (instance, peer) = (instance.clone(), Box::new(peer.clone()));
        tx.state.effects.push(Effect::Ready { instance, peer });
    }
    tx.state.effects.notify(to);
    push::push_waiting(tx, to)
}
