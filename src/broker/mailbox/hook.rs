//! Hooks: they tell which session a client shows, they show mail, and they are evidence.
//!
//! A hook's output can be thrown away (a time limit, an interruption, another hook's block), and a
//! hook can be killed before it is out. So it is an offer with a lease; the hook reports what it
//! has written, and the same turn's next event is the evidence that the model had it. An event of
//! another turn ends the lease at once.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::mailbox::{client_process, lease, push, wake};
use crate::broker::registry;
use crate::broker::registry::Said;
use crate::broker::store::Fault;
use crate::protocol::hook::{COMPACT, Event, HookEvent, HookMail, HookWritten};
use crate::protocol::mailbox::Noted;
use crate::protocol::{InstanceId, MessageId, PeerId, ProcessId};
use crate::text::message;

/// A hook speaks. Nobody's hook, or one of a session that has no peer yet, shows nothing.
///
/// # Errors
///
/// If the database fails.
pub fn hook(tx: &mut Tx<'_>, request: &HookEvent) -> Result<HookMail, Fault> {
    registry::note_hook(tx)?;
    if request.event == Event::SessionStart {
        registry::forget_ended_clients(tx)?;
    }
    let Some(peer) = peer(tx, request)? else { return Ok(HookMail::default()) };
    if let Some(client) = &request.client {
        tx.state.live.hook_waiters.retain_peer(&client.to_string(), &peer);
        note_window(tx, &peer, client, request.event)?;
    }
    let receiver = receiver(&request.session);
    for id in &request.seen {
        note_push_seen(tx, &peer, id)?;
    }
    if request.event.proves_the_turn() {
        confirm(tx, &peer, &receiver, request)?;
    }
    if request.turn.is_empty() && request.event == Event::UserPromptSubmit {
        begin_turn(tx, &peer, &receiver)?;
    }
    // What a turn that failed was shown has not been answered to: it is as another turn's.
    let turn = Some(request.turn.as_str()).filter(|_| request.event != Event::StopFailure);
    release(tx, &peer, &receiver, turn)?;
    let mut mail = if request.room == 0 || request.event == Event::SessionEnd {
        HookMail::default()
    } else {
        show(tx, &peer, &receiver, request)?
    };
    note_turn(tx, &peer, request, &mail)?;
    mail.server_gone = is_of_a_turn(request.event) && has_lost_its_server(tx, &peer);
    mail.moved =
        request.event != Event::SessionEnd && registry::is_elsewhere(tx, &peer, &request.cwd)?;
    Ok(mail)
}

/// The peer that the hook speaks for. At its end a session says nothing of what the window shows:
/// it may be another one already.
fn peer(tx: &mut Tx<'_>, request: &HookEvent) -> Result<Option<PeerId>, Fault> {
    let HookEvent { session, client, source, .. } = request;
    match client {
        Some(client) if request.event != Event::SessionEnd => {
            client_process::follow_window(tx, &Said { session, client, source, at: tx.now })
        }
        client => registry::peer_of_session(tx, session, client.as_ref()),
    }
}

/// A hook's output is out.
///
/// # Errors
///
/// If the database fails.
pub fn hook_written(tx: &mut Tx<'_>, request: &HookWritten) -> Result<Noted, Fault> {
    let mut noted = 0;
    for id in &request.ids {
        noted += tx
            .db
            .prepare_cached(
                "UPDATE offers SET written_at = ?4
                 WHERE message = (SELECT seq FROM messages WHERE id = ?1)
                   AND receiver = ?2 AND via = 'hook' AND turn = ?3",
            )?
            .execute(params![
                id.as_str(),
                receiver(&request.session),
                request.turn,
                tx.now.millis()
            ])?;
    }
    Ok(Noted { noted: noted as u64 })
}

/// As long as its client runs, a session whose hooks speak is here.
pub fn note_window(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    client: &ProcessId,
    event: Event,
) -> Result<(), Fault> {
    let live = tx.state.live.clone();
    if event != Event::SessionEnd {
        let is_served = live.presence.lock().is_live(peer);
        live.client_processes.record_hook(peer, client, is_served);
        return Ok(());
    }
    for peer in live.client_processes.end(client) {
        close_window(tx, &peer)?;
    }
    Ok(())
}

/// A window is closed: without a server its peer is away now.
///
/// # Errors
///
/// If the database fails.
pub fn close_window(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    if tx.state.live.presence.lock().is_live(peer) {
        return Ok(());
    }
    tx.state.turns.forget(peer);
    registry::touch(tx, peer)
}

/// Whether what a hook prints at this event stands before its person in a turn.
const fn is_of_a_turn(event: Event) -> bool {
    matches!(event, Event::UserPromptSubmit | Event::PostToolUse | Event::Stop)
}

/// Whether its person is to be told, now and not again, that the session's server has ended.
fn has_lost_its_server(tx: &Tx<'_>, peer: &PeerId) -> bool {
    let live = &tx.state.live;
    !live.presence.lock().is_live_or_arriving(peer)
        && live.client_processes.take_server_gone_notice(peer)
}

/// A session at work is not woken; one whose turn has ended may be.
fn note_turn(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    request: &HookEvent,
    mail: &HookMail,
) -> Result<(), Fault> {
    let turns = &mut tx.state.turns;
    match request.event {
        Event::PostToolUse | Event::Stop => turns.model_answered(peer),
        Event::StopFailure => turns.model_failed(peer),
        _ => {}
    }
    let goes_on = match request.event {
        Event::UserPromptSubmit | Event::PostToolUse => true,
        // A turn goes on from what was shown at its end.
        Event::Stop => !mail.messages.is_empty(),
        // Compaction comes in the middle of a turn, and between two: it changes nothing.
        Event::SessionStart if request.source == COMPACT => return Ok(()),
        Event::SessionStart | Event::StopFailure | Event::Notification | Event::SessionEnd => false,
    };
    if goes_on {
        turns.begin_or_continue(peer);
    } else {
        turns.end(peer);
        tx.state.effects.notify(peer.clone());
    }
    // That nothing stirs is what a notification is about.
    if request.event == Event::Notification { Ok(()) } else { wake::note_stir(tx, peer) }
}

/// The name of this way in, for leases and offers.
fn receiver(session: &str) -> String {
    format!("{}{session}", lease::HOOK)
}

/// The prompt held a push of ours: it was read, and the channel that brought it works.
fn note_push_seen(tx: &mut Tx<'_>, peer: &PeerId, id: &MessageId) -> Result<(), Fault> {
    let instance: Option<String> = tx
        .db
        .prepare_cached(
            "SELECT o.receiver FROM offers o
             JOIN messages m ON m.seq = o.message JOIN receivers r ON r.instance = o.receiver
             WHERE m.id = ?1 AND m.recipient = ?2 AND o.via = 'channel' AND r.peer = ?2
             ORDER BY o.offered_at DESC LIMIT 1",
        )?
        .query_row(params![id.as_str(), peer.as_str()], |row| row.get(0))
        .optional()?;
    let Some(instance) = instance else { return Ok(()) };
    lease::mark_read(tx, peer, id, "channel")?;
    push::prove_channel(tx, &InstanceId::from_text(instance))
}

/// What this very turn was shown, and is not yet known to have had.
fn shown(tx: &Tx<'_>, peer: &PeerId, receiver: &str, turn: &str) -> Result<Vec<Shown>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT m.seq, m.id, o.written_at, o.occasion FROM messages m JOIN offers o ON o.message = m.seq
         WHERE m.recipient = ?1 AND m.state IN ('queued', 'offered')
           AND o.receiver = ?2 AND o.via = 'hook' AND o.turn = ?3",
    )?;
    let rows = statement.query_map(params![peer.as_str(), receiver, turn], |row| {
        Ok(Shown {
            seq: row.get(0)?,
            id: MessageId::from_text(row.get::<_, String>(1)?),
            written_at: row.get(2)?,
            occasion: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

struct Shown {
    seq: i64,
    id: MessageId,
    /// When it was out, in Unix milliseconds.
    written_at: Option<i64>,
    occasion: String,
}

/// The turn went on from what its earlier events showed.
fn confirm(tx: &Tx<'_>, peer: &PeerId, receiver: &str, request: &HookEvent) -> Result<(), Fault> {
    let before = tx.now.millis().saturating_sub_unsigned(request.lasted);
    for message in shown(tx, peer, receiver, &request.turn)? {
        let same = !message.occasion.is_empty() && message.occasion == request.occasion;
        if !same && message.written_at.is_some_and(|at| at <= before) {
            lease::mark_read(tx, peer, &message.id, "hook")?;
        }
    }
    Ok(())
}

/// Where the client does not name its turns, a prompt ends the one before it.
fn begin_turn(tx: &Tx<'_>, peer: &PeerId, receiver: &str) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE offers SET turn = NULL
             WHERE receiver = ?2 AND via = 'hook' AND turn = ''
               AND message IN (SELECT seq FROM messages
                               WHERE recipient = ?1 AND state IN ('queued', 'offered'))",
        )?
        .execute(params![peer.as_str(), receiver])?;
    Ok(())
}

/// What other turns were shown and nothing came of may be offered again.
fn release(tx: &Tx<'_>, peer: &PeerId, receiver: &str, turn: Option<&str>) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE messages SET lease_until = NULL, lease_by = NULL
             WHERE recipient = ?1 AND lease_until IS NOT NULL AND lease_by = ?2
               AND NOT EXISTS (SELECT 1 FROM offers o WHERE o.message = seq AND o.receiver = ?2
                                                        AND o.via = 'hook' AND o.turn = ?3)",
        )?
        .execute(params![peer.as_str(), receiver, turn])?;
    Ok(())
}

fn show(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    receiver: &str,
    request: &HookEvent,
) -> Result<HookMail, Fault> {
    let mut waiting = lease::unheld(tx, peer)?;
    let shown = shown(tx, peer, receiver, &request.turn)?;
    let had = |seq: &i64| shown.iter().any(|m| m.seq == *seq && m.written_at.is_some());
    waiting.retain(|seq| !had(seq));
    let mut mail = HookMail::default();
    let mut used = 0usize;
    for seq in &waiting {
        let mut delivery = lease::delivery(tx, *seq)?;
        (delivery.already_pushed, delivery.repeat) = earlier(tx, *seq)?;
        used = used.saturating_add(message::rendered_len(&delivery, tx.now));
        if used > request.room {
            break;
        }
        lease::record(tx, *seq, receiver, "hook", Some(tx.now.plus(lease::HOOK_LEASE)))?;
        tx.db
            .prepare_cached(
                "UPDATE offers SET turn = ?3, occasion = ?4, written_at = NULL
                 WHERE message = ?1 AND receiver = ?2 AND via = 'hook'",
            )?
            .execute(params![seq, receiver, request.turn, request.occasion])?;
        mail.messages.push(delivery);
    }
    let left = waiting.len() - mail.messages.len();
    if left > 0 && is_news(tx, peer, &request.turn)? {
        mail.remaining = left as u64;
    }
    Ok(mail)
}

/// Whether a channel wrote it before, and whether anything else showed it.
fn earlier(tx: &Tx<'_>, seq: i64) -> Result<(bool, bool), Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE via = 'channel' AND written_at IS NOT NULL) > 0,
                    count(*) FILTER (WHERE via <> 'channel') > 0
             FROM offers WHERE message = ?1",
        )?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Whether the turn has not yet been told that more waits than can be shown.
fn is_news(tx: &Tx<'_>, peer: &PeerId, turn: &str) -> Result<bool, Fault> {
    if turn.is_empty() {
        return Ok(true);
    }
    let changed = tx
        .db
        .prepare_cached(
            "UPDATE peers SET noticed_turn = ?2 WHERE id = ?1 AND noticed_turn IS NOT ?2",
        )?
        .execute(params![peer.as_str(), turn])?;
    Ok(changed > 0)
}
