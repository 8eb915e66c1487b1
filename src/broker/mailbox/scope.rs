//! Sending to a scope: one message for each live session of the scope except the sender.
//!
//! All of them are sent in one transaction, and too many recipients are refused before anything is
//! stored. A recipient that exceeds a limit does not keep the others from the message.

use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::checks::{check_limits, check_text};
use crate::broker::mailbox::send::{NewMessage, insert};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::messages::{Outcome, SendToScope, SentToScope};
use crate::protocol::peers::{ListPeers, Peer};
use crate::protocol::{ApiError, ErrorCode, PeerId};

/// Accepts a message for a whole scope.
///
/// # Errors
///
/// A refusal that says what is wrong and what to do; nothing is then stored.
pub fn send_to_scope(
    tx: &mut Tx<'_>,
    caller: &Caller,
    request: &SendToScope,
) -> Result<SentToScope, Fault> {
    check_text(tx, &request.text)?;
    if caller.probe {
        let error = ApiError::new(ErrorCode::Forbidden, "a probe may send to itself only");
        return Err(error.into());
    }
    let place = ListPeers {
        scope: request.scope,
        all: false,
        directory: request.directory.clone(),
        repo: request.repo.clone(),
        ..ListPeers::default()
    };
    let recipients = registry::list(tx, caller, &place)?.peers;
    check_number(tx, &recipients, request)?;
    let own = registry::sender(tx, caller, request.from_session.as_deref())?;
    let message = NewMessage {
        from: &caller.peer,
        sender: &own.shown,
        addressed_name: None,
        text: &request.text,
        reply_to: None,
        is_probe: false,
        key: None,
    };
    let outcomes = recipients.iter().map(|to| send_to(tx, &message, &to.id));
    let outcomes = outcomes.collect::<Result<_, Fault>>()?;
    Ok(SentToScope { outcomes, waiting: own.waiting, from: Some(own.party) })
}

fn send_to(tx: &mut Tx<'_>, message: &NewMessage<'_>, to: &PeerId) -> Result<Outcome, Fault> {
    let unread = registry::unread(tx, to)?;
    let inserted =
        check_limits(tx, message.from, to, unread.total).and_then(|()| insert(tx, message, to));
    let (sent, refusal) = match inserted {
        Ok(inserted) => (Some(inserted), None),
        Err(Fault::Refused(refusal)) => (None, Some(refusal)),
        Err(fault) => return Err(fault),
    };
    if let Some(sent) = &sent {
        unread.with_message(tx, to, sent.seq)?;
    }
    let awaited = sent.as_ref().is_some_and(|sent| sent.awaited);
    let (id, state) = sent.map(|sent| (sent.id, sent.state)).unzip();
    Ok(Outcome { to: registry::peer(tx, to)?, id, state, awaited, refusal })
}

fn check_number(tx: &Tx<'_>, recipients: &[Peer], request: &SendToScope) -> Result<(), ApiError> {
    let (count, place) = (recipients.len(), request.scope.place());
    let limit = tx.state.limits.max_recipients;
    if count == 0 {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            format!("no other peer is live {place}; nothing was sent"),
        )
        .hint("To write to a peer that is away, use its id or name; the message is kept until it returns."));
    }
    if limit > 0 && count > limit as usize {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("{count} peers are live {place}; a message may be sent to at most {limit} peers, so nothing was sent"),
        )
        .hint("Choose a narrower scope, write to some of them by id, or raise the limit max_recipients (CLAUDE_PEERS_MAX_RECIPIENTS)."));
    }
    Ok(())
}
