//! Pushing: which stream gets which message, in order, and never more than its window.
//!
//! An offer is recorded in the transaction that decides it, before anything leaves the broker.
//! So a receiver that dies with a message in its hands leaves a trace, and the next one is told
//! that it is a repeat. What a receiver has not reported as written is sent again when the same
//! instance comes back; it knows by itself what it has written, so its client sees each id once.

use rusqlite::params;
use std::collections::BTreeSet;
use tokio::sync::mpsc;

use crate::broker::core::Tx;
use crate::broker::live::presence::PUSH_WINDOW;
use crate::broker::mailbox::lease;
use crate::broker::mailbox::lease::{CHANNEL_LEASE, binds, delivery, record};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::MessageState;
use crate::protocol::peers::Channel;
use crate::protocol::stream::Event;
use crate::protocol::{InstanceId, PeerId};

/// The stream of `instance` opens: it is live, and what waits is pushed. Says whether the
/// instance can wake its session.
///
/// # Errors
///
/// If the database fails; the stream is then not open.
pub fn open_stream(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
    generation: u64,
    server: Option<u32>,
    events: mpsc::UnboundedSender<Event>,
) -> Result<bool, Fault> {
    let wakes: bool = tx
        .db
        .prepare_cached("SELECT wakes FROM receivers WHERE instance = ?1")?
        .query_row([instance.as_str()], |row| row.get(0))?;
    // Looked up here: a hook may have made it another peer's since it was asked for.
    let mut opening = registry::opening(tx, instance)?;
    opening.origin.server_pid = server;
    let id = opening.peer.clone();
    registry::touch(tx, &id)?;
    registry::ensure_name(tx, &id)?;
    tx.state.live.presence.open(instance, generation, opening, events);
    tx.state.live.client_processes.server_connected(&id);
    let peer = Box::new(registry::peer(tx, &id)?);
    if let Some(stream) = tx.state.live.presence.lock().stream(instance) {
        stream.send(Event::Ready { peer });
    }
    push_waiting(tx, &id)?;
    Ok(wakes)
}

/// A stream ended: its peer may be away now, or another of its receivers takes over.
///
/// # Errors
///
/// If the database fails.
pub fn close_stream(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    registry::touch(tx, peer)?;
    if !tx.state.live.client_processes.has_open_client(peer) {
        tx.state.turns.forget(peer);
    }
    tx.state.waking.remove(peer);
    // What the closed one had may be another's now.
    look_again(tx, peer)
}

/// Offers what waits for a peer from its oldest message on: some of it may be its channel's now
/// that was not before.
pub fn look_again(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    {
        let mut inner = tx.state.live.presence.lock();
        let instance = inner.push_target(peer).cloned();
        if let Some(stream) = instance.as_ref().and_then(|i| inner.stream_mut(i)) {
            stream.has_more = true;
            stream.cursor = 0;
        }
    }
    push_waiting(tx, peer)
}

/// The stream that a peer is pushed to, and how it stands.
struct Target {
    instance: InstanceId,
    generation: u64,
    channel: Channel,
    cursor: i64,
    /// On their way: decided or pushed, and not yet written.
    under_way: BTreeSet<i64>,
    behind: bool,
}

impl Target {
    fn room(&self) -> usize {
        PUSH_WINDOW.saturating_sub(self.under_way.len())
    }
}

fn target(tx: &Tx<'_>, peer: &PeerId) -> Option<Target> {
    let inner = tx.state.live.presence.lock();
    let instance = inner.push_target(peer)?.clone();
    let stream = inner.stream(&instance)?;
    let mut under_way = stream.in_flight.clone();
    let mut cursor = stream.cursor;
    for seq in tx.state.effects.pending(&instance, stream.generation) {
        under_way.insert(seq);
        cursor = cursor.max(seq);
    }
    Some(Target {
        generation: stream.generation,
        channel: stream.channel,
        cursor,
        under_way,
        behind: stream.has_more,
        instance,
    })
}

/// A message was just stored that no waiter takes: pushes it if its recipient's stream has room, behind all that is
/// older.
pub fn push_new(tx: &mut Tx<'_>, peer: &PeerId, seq: i64) -> Result<MessageState, Fault> {
    let Some(target) = target(tx, peer) else { return Ok(MessageState::Queued) };
    if target.behind {
        push_waiting(tx, peer)?;
        let state: String = tx
            .db
            .prepare_cached("SELECT state FROM messages WHERE seq = ?1")?
            .query_row([seq], |row| row.get(0))?;
        return Ok(MessageState::from_word(&state));
    }
    if target.room() == 0 {
        if let Some(stream) = tx.state.live.presence.lock().stream_mut(&target.instance) {
            stream.has_more = true;
        }
        return Ok(MessageState::Queued);
    }
    let delivery = delivery(tx, seq)?;
    push(tx, &target, seq, delivery)?;
    Ok(MessageState::Offered)
}

/// Pushes what waits for a peer, as much as its stream's window takes.
pub fn push_waiting(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    let Some(target) = target(tx, peer).filter(|t| t.behind && t.room() > 0) else { return Ok(()) };
    let rows = waiting_rows(tx, peer, &target)?;
    let behind = rows.len() > target.room();
    for seq in rows.into_iter().take(target.room()) {
        let delivery = delivery(tx, seq)?;
        push(tx, &target, seq, delivery)?;
    }
    if let Some(stream) = tx.state.live.presence.lock().stream_mut(&target.instance) {
        stream.has_more = behind;
    }
    Ok(())
}

/// There was evidence of a push of `instance`: its channel works.
///
/// # Errors
///
/// If the database fails.
pub fn prove_channel(tx: &Tx<'_>, instance: &InstanceId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE receivers SET channel = 'proven' WHERE instance = ?1")?
        .execute([instance.as_str()])?;
    if let Some(stream) = tx.state.live.presence.lock().stream_mut(instance) {
        stream.channel = Channel::Proven;
        // It may have become the one that is pushed to: what waits is its business now.
        stream.has_more = true;
        stream.cursor = 0;
    }
    Ok(())
}

/// One more than there is room for, so that the caller knows whether more wait.
fn waiting_rows(tx: &Tx<'_>, peer: &PeerId, target: &Target) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT m.seq, CASE WHEN m.lease_until > ?4 THEN m.lease_by END, m.offered_via,
                (SELECT group_concat(o.receiver) FROM offers o
                 WHERE o.message = m.seq AND o.receiver <> ?3 AND o.via = 'channel')
         FROM messages m
         WHERE m.recipient = ?1 AND m.state IN ('queued', 'offered') AND m.seq > ?2
           AND NOT EXISTS (SELECT 1 FROM offers o WHERE o.message = m.seq AND o.receiver = ?3
                                                    AND o.via = 'channel' AND o.written_at IS NOT NULL)
         ORDER BY m.seq",
    )?;
    let mut rows = statement.query(params![
        peer.as_str(),
        target.cursor,
        target.instance.as_str(),
        tx.now.millis()
    ])?;
    let mut found = Vec::new();
    while found.len() <= target.room()
        && let Some(row) = rows.next()?
    {
        let seq: i64 = row.get(0)?;
        if target.under_way.contains(&seq) {
            continue;
        }
        let (lease_by, via): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
        // Its own lease is an earlier push that did not get out, or a tool's result that will.
        let held = lease_by.is_some_and(|holder| {
            let own = holder == target.instance.as_str();
            if own { via.as_deref() == Some("tool") } else { binds(tx, &holder) }
        });
        let pushed_by: Option<String> = row.get(3)?;
        let pushed =
            pushed_by.iter().flat_map(|all| all.split(',')).any(|i| is_as_good(tx, i, target));
        if !held && !pushed && !lease::is_held(tx, peer, seq)? {
            found.push(seq);
        }
    }
    Ok(found)
}

/// Whether `instance` still serves the session, and its channel is no less certain: two servers of
/// one session are one window, and what one of them pushed is not pushed again by the other.
fn is_as_good(tx: &Tx<'_>, instance: &str, target: &Target) -> bool {
    let inner = tx.state.live.presence.lock();
    inner.stream(&InstanceId::from_text(instance)).is_some_and(|stream| {
        stream.channel == Channel::Proven
            || stream.channel == Channel::Presumed && target.channel != Channel::Proven
    })
}

fn push(tx: &mut Tx<'_>, target: &Target, seq: i64, mut delivery: Delivery) -> Result<(), Fault> {
    delivery.repeat = was_offered_elsewhere(tx, seq, &target.instance)?;
    let lease = (target.channel == Channel::Proven).then(|| tx.now.plus(CHANNEL_LEASE));
    record(tx, seq, target.instance.as_str(), "channel", lease)?;
    tx.state.effects.push(target.instance.clone(), target.generation, seq, delivery);
    Ok(())
}

/// Whether another receiver, or another way, had it before.
fn was_offered_elsewhere(tx: &Tx<'_>, seq: i64, instance: &InstanceId) -> Result<bool, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM offers WHERE message = ?1 AND (receiver <> ?2 OR via <> 'channel'))",
        )?
        .query_row(params![seq, instance.as_str()], |row| row.get(0))?)
}
