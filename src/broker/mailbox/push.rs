//! Pushing: which stream is sent which message, in order, and never more than its push window.
//!
//! An offer is recorded in the transaction that decides it, before anything leaves the broker. So a
//! server that dies before it has written a push leaves a trace, and the next receiver is told that
//! the message is a repeat. A push without a receipt is sent again when the same instance reconnects.
//! The instance knows what it has written, so its client sees each id once.

use rusqlite::params;
use tokio::sync::mpsc;

use crate::broker::core::{Effect, Receiver, TurnChange, Tx};
use crate::broker::live::presence::Stream;
use crate::broker::live::push_state::PushChange;
use crate::broker::mailbox::lease::{
    PUSH_LEASE, binds, is_reserved, load_delivery, record_first_push, record_offer,
};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::Via;
use crate::protocol::peers::Channel;
use crate::protocol::stream::Event;
use crate::protocol::{InstanceId, PeerId, Timestamp};

/// Opens the stream of `instance`, and pushes the messages that wait for its peer.
///
/// Returns whether the instance can wake its session.
pub fn open_stream(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
    generation: u64,
    server_pid: Option<u32>,
    events: mpsc::UnboundedSender<Event>,
) -> Result<bool, Fault> {
    let wakes: bool = tx
        .db
        .prepare_cached("SELECT wakes FROM receivers WHERE instance = ?1")?
        .query_row([instance.as_str()], |row| row.get(0))?;
    // Read here and not before: a hook may have attached it to another peer since.
    let mut options = registry::stream_options(tx, instance)?;
    options.origin.server_pid = server_pid;
    let id = options.peer.clone();
    registry::set_seen_now(tx, &id)?;
    registry::ensure_name(tx, &id)?;
    tx.state.live.presence.open(instance, generation, options, events);
    let opened = Effect::Opened { instance: instance.clone(), generation, peer: id.clone() };
    tx.state.effects.push(opened);
    let peer = Box::new(registry::peer(tx, &id)?);
    tx.state.effects.push(Effect::Ready { instance: instance.clone(), peer });
    push_waiting(tx, &id)?;
    Ok(wakes)
}

/// Records that a stream has ended: its peer may be away now, or another of its servers is pushed to.
pub fn close_stream(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    registry::set_seen_now(tx, peer)?;
    if !tx.state.live.client_processes.has_open_client(peer) {
        tx.state.effects.turn(peer, TurnChange::Forgotten);
    }
    tx.state.effects.push(Effect::WakeDone(peer.clone()));
    // Messages that were leased to the closed stream may be pushed over another.
    rescan(tx, peer)
}

/// Looks through all unread messages of a peer, because some of them may be pushed now that could
/// not be before.
pub fn rescan(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    if let Some(target) = push_target(tx, peer) {
        tx.state.change_push(&target.instance, PushChange::Rescan);
    }
    push_waiting(tx, peer)
}

/// The stream over which a peer is pushed to, and what is still to be pushed over it.
#[derive(Debug)]
pub struct PushTarget {
    pub instance: InstanceId,
    generation: u64,
    channel: Channel,
    /// How many more messages may be pushed before a receipt comes.
    room: usize,
    cursor: i64,
    has_more: bool,
}

impl PushTarget {
    fn new(instance: &InstanceId, stream: &Stream) -> Self {
        Self {
            instance: instance.clone(),
            generation: stream.generation,
            channel: stream.push.channel,
            room: stream.push.free_window(),
            cursor: stream.push.cursor,
            has_more: stream.push.has_more,
        }
    }

    fn receiver(&self) -> Receiver {
        Receiver::Instance(self.instance.clone())
    }

    /// Returns until when a push over this stream is leased: not at all if its channel is not proven.
    #[must_use]
    pub fn lease(&self, now: Timestamp) -> Option<Timestamp> {
        (self.channel == Channel::Proven).then(|| now.plus(PUSH_LEASE))
    }

    /// Sends a message whose offer is recorded, once the transaction is durable.
    pub fn send(&self, tx: &mut Tx<'_>, seq: i64, delivery: Delivery) {
        tx.state.change_push(&self.instance, PushChange::Pushed(seq));
        tx.state.effects.push(Effect::Push {
            instance: self.instance.clone(),
            generation: self.generation,
            delivery: Box::new(delivery),
        });
    }

    fn is_in_flight(&self, tx: &Tx<'_>, seq: i64) -> bool {
        let streams = tx.state.live.presence.lock();
        streams.stream(&self.instance).is_some_and(|stream| stream.push.in_flight.contains(&seq))
    }
}

/// Finds the one stream of a peer that is pushed to: the proven one, else the newest that has a
/// channel.
fn push_target(tx: &Tx<'_>, peer: &PeerId) -> Option<PushTarget> {
    let streams = tx.state.live.presence.lock();
    let (instance, stream) = streams
        .of_peer(peer)
        .filter(|(_, stream)| stream.push.channel != Channel::Absent)
        .max_by_key(|(_, stream)| (stream.push.channel == Channel::Proven, stream.generation))?;
    Some(PushTarget::new(instance, stream))
}

/// How a new message is pushed.
#[derive(Debug)]
pub enum NewPush {
    /// At once, over this stream.
    Now(PushTarget),
    /// After older messages, as far as the push window allows.
    InOrder,
    /// Not now.
    No,
}

/// Decides how a message to `peer` that is about to be stored is pushed.
pub fn plan_push(tx: &mut Tx<'_>, peer: &PeerId) -> NewPush {
    let Some(target) = push_target(tx, peer) else { return NewPush::No };
    if target.room == 0 {
        tx.state.change_push(&target.instance, PushChange::HasMore(true));
        return NewPush::No;
    }
    if target.has_more { NewPush::InOrder } else { NewPush::Now(target) }
}

/// Pushes the messages that wait for a peer, as many as its push window allows.
pub fn push_waiting(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    let Some(target) = push_target(tx, peer) else { return Ok(()) };
    let room = target.room;
    if !target.has_more || room == 0 {
        return Ok(());
    }
    let mut waiting = waiting_messages(tx, peer, &target)?;
    let has_more = waiting.len() > room;
    waiting.truncate(room);
    for Waiting { seq, is_new } in waiting {
        let mut delivery = load_delivery(tx, seq)?;
        if is_new {
            record_first_push(tx, seq, &target.instance, target.lease(tx.now))?;
        } else {
            delivery.repeat = was_offered_elsewhere(tx, seq, &target.instance)?;
            record_offer(tx, seq, &target.receiver(), Via::Channel, target.lease(tx.now))?;
        }
        target.send(tx, seq, delivery);
    }
    tx.state.change_push(&target.instance, PushChange::HasMore(has_more));
    Ok(())
}

/// Records that there was evidence of a push of `instance`: its channel works.
pub fn prove_channel(tx: &mut Tx<'_>, instance: &InstanceId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE receivers SET channel = 'proven' WHERE instance = ?1")?
        .execute([instance.as_str()])?;
    tx.state.change_push(instance, PushChange::Proven);
    Ok(())
}

/// Records the receipt of a push: there is room for another one.
pub fn record_written(tx: &mut Tx<'_>, instance: &InstanceId, seq: i64) {
    tx.state.change_push(instance, PushChange::Written(seq));
}

/// A message that may be pushed.
struct Waiting {
    seq: i64,
    /// No receiver was ever offered it.
    is_new: bool,
}

/// Returns the messages that may be pushed to `target`, oldest first: one more than the push window
/// has room for, so that the caller knows whether more wait.
fn waiting_messages(
    tx: &Tx<'_>,
    peer: &PeerId,
    target: &PushTarget,
) -> Result<Vec<Waiting>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT m.seq, m.state = 'queued', CASE WHEN m.lease_until > ?4 THEN m.lease_by END, m.offered_via
         FROM messages m
         WHERE m.recipient = ?1 AND m.state IN ('queued', 'offered') AND m.seq > ?2
           AND (m.state = 'queued' OR NOT (m.pushed_to IS ?3 AND m.push_written) AND NOT EXISTS (
               SELECT 1 FROM offers o WHERE o.message = m.seq AND o.receiver = ?3
                                        AND o.via = 'channel' AND o.written_at IS NOT NULL))
         ORDER BY m.seq",
    )?;
    let mut rows = statement.query(params![
        peer.as_str(),
        target.cursor,
        target.instance.as_str(),
        tx.now.millis(),
    ])?;
    let mut found = Vec::new();
    while found.len() <= target.room
        && let Some(row) = rows.next()?
    {
        let (seq, is_new): (i64, bool) = (row.get(0)?, row.get(1)?);
        if target.is_in_flight(tx, seq) {
            continue;
        }
        let (leased_by, via): (Option<Receiver>, Option<String>) = (row.get(2)?, row.get(3)?);
        let is_leased = leased_by.is_some_and(|by| match &by {
            // Its own lease is that of a push that did not get out, or of a tool's result that will.
            Receiver::Instance(id) if *id == target.instance => {
                via.as_deref() == Some(Via::Tool.as_str())
            }
            _ => binds(tx, &by),
        });
        if !is_leased
            && (is_new || !was_pushed_in_same_conversation(tx, seq, target)?)
            && !is_reserved(tx, peer, seq)?
        {
            found.push(Waiting { seq, is_new });
        }
    }
    Ok(found)
}

/// Whether another server of the session has pushed the message over a channel that is no less
/// certain, and is still connected: two servers of one session share its conversation.
fn was_pushed_in_same_conversation(
    tx: &Tx<'_>,
    seq: i64,
    target: &PushTarget,
) -> Result<bool, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT receiver FROM all_offers WHERE message = ?1 AND receiver <> ?2 AND via = 'channel'",
    )?;
    let mut rows = statement.query(params![seq, target.instance.as_str()])?;
    while let Some(row) = rows.next()? {
        let instance = InstanceId::from_text(row.get::<_, String>(0)?);
        let streams = tx.state.live.presence.lock();
        let shares = streams.stream(&instance).is_some_and(|stream| match stream.push.channel {
            Channel::Proven => true,
            Channel::Presumed => target.channel != Channel::Proven,
            Channel::Absent => false,
        });
        if shares {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether another receiver, or another way, was offered the message before.
fn was_offered_elsewhere(tx: &Tx<'_>, seq: i64, instance: &InstanceId) -> Result<bool, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM all_offers WHERE message = ?1 AND (receiver <> ?2 OR via <> 'channel'))",
        )?
        .query_row(params![seq, instance.as_str()], |row| row.get(0))?)
}
