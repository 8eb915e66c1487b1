//! Pushing: which stream gets which message, in order, and never more than its window.
//!
//! An offer is recorded in the transaction that decides it, before anything leaves the broker.
//! So a receiver that dies with a message in its hands leaves a trace, and the next one is told
//! that it is a repeat. What a receiver has not reported as written is sent again when the same
//! instance comes back; it knows by itself what it has written, so its client sees each id once.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::params;
use tokio::sync::mpsc;

use crate::broker::core::Tx;
use crate::broker::live::presence::WINDOW;
use crate::broker::mailbox::wait;
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::MessageState;
use crate::protocol::peers::Channel;
use crate::protocol::stream::Event;
use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};

/// How long a push over a proven channel keeps a message from all other ways.
const CHANNEL_LEASE: Duration = Duration::from_secs(60);

/// How the name of a hook as a receiver begins; the session's id follows.
pub const HOOK: &str = "hook:";

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
    opening.window.server = server;
    let id = opening.peer.clone();
    registry::touch(tx, &id)?;
    registry::ensure_name(tx, &id)?;
    tx.companion.connected.presence.open(instance, generation, opening, events);
    tx.companion.connected.windows.served(&id);
    let peer = Box::new(registry::peer(tx, &id)?);
    if let Some(stream) = tx.companion.connected.presence.lock().stream(instance) {
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
    if !tx.companion.connected.windows.shows(peer) {
        tx.companion.turns.forget(peer);
    }
    tx.companion.waking.remove(peer);
    // What the closed one had may be another's now.
    look_again(tx, peer)
}

/// Offers what waits for a peer from its oldest message on: some of it may be its channel's now
/// that was not before.
pub fn look_again(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    {
        let mut inner = tx.companion.connected.presence.lock();
        let instance = inner.receiver(peer).cloned();
        if let Some(stream) = instance.as_ref().and_then(|i| inner.stream_mut(i)) {
            stream.behind = true;
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
        WINDOW.saturating_sub(self.under_way.len())
    }
}

fn target(tx: &Tx<'_>, peer: &PeerId) -> Option<Target> {
    let inner = tx.companion.connected.presence.lock();
    let instance = inner.receiver(peer)?.clone();
    let stream = inner.stream(&instance)?;
    let mut under_way = stream.in_flight.clone();
    let mut cursor = stream.cursor;
    for seq in tx.companion.outbox.pending(&instance, stream.generation) {
        under_way.insert(seq);
        cursor = cursor.max(seq);
    }
    Some(Target {
        generation: stream.generation,
        channel: stream.channel,
        cursor,
        under_way,
        behind: stream.behind,
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
        if let Some(stream) = tx.companion.connected.presence.lock().stream_mut(&target.instance) {
            stream.behind = true;
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
    if let Some(stream) = tx.companion.connected.presence.lock().stream_mut(&target.instance) {
        stream.behind = behind;
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
    if let Some(stream) = tx.companion.connected.presence.lock().stream_mut(instance) {
        stream.channel = Channel::Proven;
        // It may have become the one that is pushed to: what waits is its business now.
        stream.behind = true;
        stream.cursor = 0;
    }
    Ok(())
}

/// Whether a lease still binds: it does as long as its holder lives. A hook's ends by its time, or
/// by the session's next event; that of a command line that waited, by its time.
fn binds(tx: &Tx<'_>, holder: &str) -> bool {
    holder.starts_with(HOOK)
        || holder.starts_with(wait::WAIT)
        || tx.companion.connected.presence.lock().stream(&InstanceId::from_text(holder)).is_some()
}

/// The unread messages of a peer that nobody holds, oldest first: neither by a lease, nor because a
/// waiter is about to take them.
///
/// # Errors
///
/// If the database fails.
pub fn unheld(tx: &Tx<'_>, peer: &PeerId) -> Result<Vec<i64>, Fault> {
    let mut free = Vec::new();
    for seq in unleased(tx, peer)? {
        if !wait::is_held(tx, peer, seq)? {
            free.push(seq);
        }
    }
    Ok(free)
}

/// The unread messages of a peer that no lease binds, oldest first.
///
/// # Errors
///
/// If the database fails.
pub fn unleased(tx: &Tx<'_>, peer: &PeerId) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT seq, CASE WHEN lease_until > ?2 THEN lease_by END FROM messages
         WHERE recipient = ?1 AND state IN ('queued', 'offered') ORDER BY seq",
    )?;
    let rows: Vec<(i64, Option<String>)> = statement
        .query_map(params![peer.as_str(), tx.now.millis()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let free = |holder: &Option<String>| holder.as_deref().is_none_or(|holder| !binds(tx, holder));
    Ok(rows.into_iter().filter(|(_, holder)| free(holder)).map(|(seq, _)| seq).collect())
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
        if !held && !pushed && !wait::is_held(tx, peer, seq)? {
            found.push(seq);
        }
    }
    Ok(found)
}

/// Whether `instance` still serves the session, and its channel is no less certain: two servers of
/// one session are one window, and what one of them pushed is not pushed again by the other.
fn is_as_good(tx: &Tx<'_>, instance: &str, target: &Target) -> bool {
    let inner = tx.companion.connected.presence.lock();
    inner.stream(&InstanceId::from_text(instance)).is_some_and(|stream| {
        stream.channel == Channel::Proven
            || stream.channel == Channel::Presumed && target.channel != Channel::Proven
    })
}

fn push(tx: &mut Tx<'_>, target: &Target, seq: i64, mut delivery: Delivery) -> Result<(), Fault> {
    delivery.repeat = was_offered_elsewhere(tx, seq, &target.instance)?;
    let lease = (target.channel == Channel::Proven).then(|| tx.now.plus(CHANNEL_LEASE));
    record(tx, seq, target.instance.as_str(), "channel", lease)?;
    tx.companion.outbox.push(target.instance.clone(), target.generation, seq, delivery);
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

/// Records an offer, and the lease that goes with it.
pub fn record(
    tx: &Tx<'_>,
    seq: i64,
    receiver: &str,
    via: &str,
    lease: Option<Timestamp>,
) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "INSERT INTO offers (message, receiver, via, offered_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET offered_at = excluded.offered_at",
        )?
        .execute(params![seq, receiver, via, tx.now.millis()])?;
    tx.db
        .prepare_cached(
            "UPDATE messages SET state = 'offered', offered_at = ?2, offered_via = ?3,
                                 lease_until = ?4, lease_by = CASE WHEN ?4 IS NULL THEN NULL ELSE ?5 END
             WHERE seq = ?1 AND state IN ('queued', 'offered')",
        )?
        .execute(params![seq, tx.now.millis(), via, lease.map(Timestamp::millis), receiver])?;
    Ok(())
}

/// What a receiver needs of a message.
pub fn delivery(tx: &Tx<'_>, seq: i64) -> Result<Delivery, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT id, sender, sender_name, sender_summary, sender_cwd, sent_at, text, reply_to
         FROM messages WHERE seq = ?1",
    )?;
    let delivery = statement.query_row([seq], |row| {
        Ok(Delivery {
            id: MessageId::from_text(row.get::<_, String>(0)?),
            from_id: PeerId::from_text(row.get::<_, String>(1)?),
            from_name: row.get(2)?,
            from_summary: row.get(3)?,
            from_cwd: row.get(4)?,
            sent_at: Timestamp::from_millis(row.get(5)?),
            text: row.get(6)?,
            reply_to: row.get::<_, Option<String>>(7)?.map(MessageId::from_text),
            repeat: false,
            already_pushed: false,
        })
    })?;
    Ok(delivery)
}
