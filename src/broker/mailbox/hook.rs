//! Hooks: they report which session a client shows, they show messages, and they are evidence.
//!
//! A hook's output can be discarded (a timeout, an interruption, another hook's block), and a hook can
//! be killed before it has written it. So what a hook shows is an offer with a lease. The hook
//! reports what it has written, and the next event of the same turn is the evidence that the model had
//! it. An event of another turn ends the lease at once.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::loop_guard::LoopEvent;
use crate::broker::core::{Effect, Receiver, TurnChange, Tx};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::mailbox::{lease, push, session_change, wake};
use crate::broker::registry;
use crate::broker::registry::HookReport;
use crate::broker::store::Fault;
use crate::protocol::hook::{COMPACT, HookEvent, HookEventName, HookMail, HookWritten};
use crate::protocol::mailbox::Noted;
use crate::protocol::messages::Via;
use crate::protocol::{InstanceId, MessageId, PeerId, ProcessId};
use crate::text::message;

/// Handles a hook event: takes it as evidence, and returns the messages that the hook shows.
///
/// The hook of a session that has no peer shows nothing.
pub fn hook(tx: &mut Tx<'_>, request: &HookEvent) -> Result<HookMail, Fault> {
    registry::record_hook(tx)?;
    if request.event == HookEventName::SessionStart {
        registry::forget_ended_clients(tx)?;
    }
    let Some(peer) = peer(tx, request)? else { return Ok(HookMail::default()) };
    let receiver = Receiver::Hook(request.session.clone());
    for id in &request.seen {
        record_push_in_prompt(tx, &peer, id)?;
    }
    if request.event.continues_turn() {
        confirm_turn(tx, &peer, &receiver, request)?;
    }
    if request.turn.is_empty() && request.event == HookEventName::UserPromptSubmit {
        begin_turn(tx, &peer, &receiver)?;
    }
    // The model did not see what a failed turn was shown: that is treated like another turn's.
    let turn = Some(request.turn.as_str()).filter(|_| request.event != HookEventName::StopFailure);
    release_other_turns(tx, &peer, &receiver, turn)?;
    let mail = if request.room == 0 || request.event == HookEventName::SessionEnd {
        HookMail::default()
    } else {
        show(tx, &peer, &receiver, request)?
    };
    if shows_activity(request) {
        wake::record_activity(tx, &peer)?;
    }
    answer(tx, &peer, request, mail)
}

/// Records what the event says of the session's client and turn, and completes the answer.
pub(super) fn answer(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    request: &HookEvent,
    mut mail: HookMail,
) -> Result<HookMail, Fault> {
    if let Some(client) = &request.client {
        tx.state.live.hook_waiters.retain_peer(&client.to_string(), peer);
        record_client_process(tx, peer, client, request.event)?;
    }
    record_turn(tx, peer, request, &mail);
    note_for_loops(tx, peer, request);
    mail.server_gone = is_in_turn(request.event) && needs_server_gone_notice(tx, peer);
    mail.moved =
        request.event != HookEventName::SessionEnd && registry::has_moved(tx, peer, &request.cwd)?;
    Ok(mail)
}

/// Tells the loop guard of work and of persons. A push that stands in the prompt is no person.
fn note_for_loops(tx: &mut Tx<'_>, peer: &PeerId, request: &HookEvent) {
    let tool = request.event == HookEventName::PostToolUse;
    tx.state.effects.push(Effect::Loop(LoopEvent::HookReported { peer: peer.clone(), tool }));
    if request.event == HookEventName::UserPromptSubmit && request.seen.is_empty() {
        tx.state.effects.push(Effect::Loop(LoopEvent::Prompted(peer.clone())));
    }
}

/// Whether the event says that the session is active. A notification says that it is idle, and
/// compaction may come at any time.
fn shows_activity(request: &HookEvent) -> bool {
    let is_compaction = request.event == HookEventName::SessionStart && request.source == COMPACT;
    !is_compaction && request.event != HookEventName::Notification
}

/// Finds the peer that the hook speaks for. The end of a session does not tell which session its client
/// process shows: it may be another one already.
fn peer(tx: &mut Tx<'_>, request: &HookEvent) -> Result<Option<PeerId>, Fault> {
    let HookEvent { session, client, source, .. } = request;
    match client {
        Some(client) if request.event != HookEventName::SessionEnd => {
            session_change::follow_session_change(
                tx,
                &HookReport { session, client, source, at: tx.now },
            )
        }
        client => registry::peer_of_session(tx, session, client.as_ref()),
    }
}

/// Records that a hook has written its output.
pub fn hook_written(tx: &mut Tx<'_>, request: &HookWritten) -> Result<Noted, Fault> {
    let mut noted = 0;
    for id in &request.ids {
        let Some(seq) = seq_of(tx, id)? else { continue };
        noted += tx
            .db
            .prepare_cached(
                "UPDATE offers SET written_at = ?4
                 WHERE message = ?1 AND receiver = ?2 AND via = 'hook' AND turn = ?3",
            )?
            .execute(params![
                seq,
                Receiver::Hook(request.session.clone()),
                request.turn,
                tx.now.millis()
            ])?;
    }
    Ok(Noted { noted: noted as u64 })
}

/// Records the client process of a hook: the session is live by hooks as long as it runs.
pub fn record_client_process(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    client: &ProcessId,
    event: HookEventName,
) -> Result<(), Fault> {
    let live = tx.state.live.clone();
    if event != HookEventName::SessionEnd {
        let is_served = live.presence.lock().is_live(peer);
        live.client_processes.record_hook(peer, client, is_served);
        return Ok(());
    }
    for peer in live.client_processes.end(client) {
        client_process_ended(tx, &peer)?;
    }
    Ok(())
}

/// Records that a client process has ended: without an open stream its peer is away now.
pub fn client_process_ended(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    if tx.state.live.presence.lock().is_live(peer) {
        return Ok(());
    }
    tx.state.effects.turn(peer, TurnChange::Forgotten);
    registry::set_seen_now(tx, peer)
}

/// Whether the person sees what a hook prints at this event in a turn.
const fn is_in_turn(event: HookEventName) -> bool {
    matches!(
        event,
        HookEventName::UserPromptSubmit | HookEventName::PostToolUse | HookEventName::Stop
    )
}

/// Whether the person is to be told that the session's server has ended. True once for each server.
fn needs_server_gone_notice(tx: &Tx<'_>, peer: &PeerId) -> bool {
    let live = &tx.state.live;
    !live.presence.lock().is_live_or_arriving(peer)
        && live.client_processes.take_server_gone_notice(peer)
}

/// Records whether the session is at work, so that it is not woken, or its turn has ended.
fn record_turn(tx: &mut Tx<'_>, peer: &PeerId, request: &HookEvent, mail: &HookMail) {
    let effects = &mut tx.state.effects;
    match request.event {
        HookEventName::PostToolUse | HookEventName::Stop => {
            effects.turn(peer, TurnChange::ModelAnswered);
        }
        HookEventName::StopFailure => effects.turn(peer, TurnChange::ModelFailed),
        _ => {}
    }
    let goes_on = match request.event {
        HookEventName::UserPromptSubmit | HookEventName::PostToolUse => true,
        // The turn goes on with what was shown at its end.
        HookEventName::Stop => !mail.messages.is_empty(),
        // Compaction may come within a turn or between two: it changes nothing.
        HookEventName::SessionStart if request.source == COMPACT => return,
        HookEventName::SessionStart
        | HookEventName::StopFailure
        | HookEventName::Notification
        | HookEventName::SessionEnd => false,
    };
    if goes_on {
        effects.turn(peer, TurnChange::Began);
    } else {
        effects.turn(peer, TurnChange::Ended);
        effects.notify(peer);
    }
}

/// Records that a prompt held a push: the message was read, and the channel that pushed it works.
fn record_push_in_prompt(tx: &mut Tx<'_>, peer: &PeerId, id: &MessageId) -> Result<(), Fault> {
    let Some(seq) = seq_of(tx, id)? else { return Ok(()) };
    let instance: Option<String> = tx
        .db
        .prepare_cached(
            "SELECT receiver
             FROM all_offers JOIN messages m ON m.seq = ?1 JOIN receivers r ON r.instance = receiver
             WHERE message = ?1 AND via = 'channel' AND m.recipient = ?2 AND r.peer = ?2
             ORDER BY all_offers.offered_at DESC LIMIT 1",
        )?
        .query_row(params![seq, peer.as_str()], |row| row.get(0))
        .optional()?;
    let Some(instance) = instance else { return Ok(()) };
    lease::mark_read(tx, peer, id, Via::Channel)?;
    push::prove_channel(tx, &InstanceId::from_text(instance))
}

/// Returns the unread messages that this turn was shown.
fn shown_in_turn(
    tx: &Tx<'_>,
    peer: &PeerId,
    receiver: &Receiver,
    turn: &str,
) -> Result<Vec<ShownMessage>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT m.seq, m.id, o.written_at, o.occasion FROM messages m JOIN offers o ON o.message = m.seq
         WHERE m.recipient = ?1 AND m.state IN ('queued', 'offered')
           AND o.receiver = ?2 AND o.via = 'hook' AND o.turn = ?3",
    )?;
    let rows = statement.query_map(params![peer.as_str(), receiver, turn], |row| {
        Ok(ShownMessage {
            seq: row.get(0)?,
            id: MessageId::from_text(row.get::<_, String>(1)?),
            written_at: row.get(2)?,
            occasion: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

struct ShownMessage {
    seq: i64,
    id: MessageId,
    /// When the hook had written it, in Unix milliseconds.
    written_at: Option<i64>,
    occasion: String,
}

/// Marks messages as read that earlier events of this turn showed: the turn went on from them.
fn confirm_turn(
    tx: &Tx<'_>,
    peer: &PeerId,
    receiver: &Receiver,
    request: &HookEvent,
) -> Result<(), Fault> {
    let before = tx.now.millis().saturating_sub_unsigned(request.lasted);
    for message in shown_in_turn(tx, peer, receiver, &request.turn)? {
        let same = !message.occasion.is_empty() && message.occasion == request.occasion;
        if !same && message.written_at.is_some_and(|at| at <= before) {
            lease::mark_read(tx, peer, &message.id, Via::Hook)?;
        }
    }
    Ok(())
}

/// Ends the previous turn at a prompt, for a client that does not name its turns.
fn begin_turn(tx: &Tx<'_>, peer: &PeerId, receiver: &Receiver) -> Result<(), Fault> {
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

/// Ends the leases of what other turns were shown without evidence: it may be offered again.
fn release_other_turns(
    tx: &Tx<'_>,
    peer: &PeerId,
    receiver: &Receiver,
    turn: Option<&str>,
) -> Result<(), Fault> {
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

/// Offers the messages that fit into the hook's output.
fn show(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    receiver: &Receiver,
    request: &HookEvent,
) -> Result<HookMail, Fault> {
    let mut waiting = lease::unreserved(tx, peer)?;
    let shown = shown_in_turn(tx, peer, receiver, &request.turn)?;
    let had = |seq: &i64| shown.iter().any(|m| m.seq == *seq && m.written_at.is_some());
    waiting.retain(|seq| !had(seq));
    let mut mail = HookMail::default();
    let mut used = 0usize;
    for seq in &waiting {
        let mut delivery = lease::load_delivery(tx, *seq)?;
        (delivery.already_pushed, delivery.repeat) = earlier_offers(tx, *seq)?;
        used = used.saturating_add(message::rendered_len(&delivery, tx.now));
        if used > request.room {
            break;
        }
        lease::record_offer(tx, *seq, receiver, Via::Hook, Some(tx.now.plus(lease::HOOK_LEASE)))?;
        tx.db
            .prepare_cached(
                "UPDATE offers SET turn = ?3, occasion = ?4, written_at = NULL
                 WHERE message = ?1 AND receiver = ?2 AND via = 'hook'",
            )?
            .execute(params![seq, receiver, request.turn, request.occasion])?;
        failpoint!("broker.offer.shown");
        mail.messages.push(delivery);
    }
    let left = waiting.len() - mail.messages.len();
    if left > 0 && is_first_notice_of_turn(tx, peer, &request.turn)? {
        mail.remaining = left as u64;
    }
    Ok(mail)
}

/// Returns whether a channel has written the message, and whether another way was offered it or an
/// instance may have pushed it: the receipt of a push comes after it, or never. One receipt is enough
/// where the same instance was pushed it again.
fn earlier_offers(tx: &Tx<'_>, seq: i64) -> Result<(bool, bool), Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE via = 'channel' AND is_written) > 0,
                    count(*) FILTER (WHERE via <> 'channel') > 0
                    OR count(DISTINCT receiver) FILTER (WHERE via = 'channel')
                       > count(DISTINCT receiver) FILTER (WHERE via = 'channel' AND is_written)
             FROM all_offers WHERE message = ?1",
        )?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Whether the turn was not told yet that more messages wait than can be shown.
fn is_first_notice_of_turn(tx: &Tx<'_>, peer: &PeerId, turn: &str) -> Result<bool, Fault> {
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
