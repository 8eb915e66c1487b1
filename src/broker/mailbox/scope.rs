//! Reaching many: one message each for all live sessions of a scope but the sender.
//!
//! All of it is one transaction, and too many recipients are refused before anything is stored.
//! One whose mailbox is full, or who was written to too fast, keeps nobody else from it.

use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::insert::{Letter, post};
use crate::broker::mailbox::send::{check_limits, check_text};
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
        let error = ApiError::new(ErrorCode::Forbidden, "a probe writes to itself only");
        return Err(error.into());
    }
    let place = ListPeers {
        scope: request.scope,
        all: false,
        directory: request.directory.clone(),
        repo: request.repo.clone(),
    };
    let recipients = registry::list(tx, caller, &place)?.peers;
    check_number(tx, &recipients, request)?;
    let sender = registry::sender(tx, caller, request.from_session.as_deref())?;
    let letter = Letter {
        from: &caller.peer,
        sender: &sender,
        addressed_name: None,
        text: &request.text,
        reply_to: None,
        number: None,
    };
    let outcomes = recipients.iter().map(|to| send_to(tx, &letter, &to.id));
    let outcomes = outcomes.collect::<Result<_, Fault>>()?;
    let waiting = registry::waiting(tx, &caller.peer)?;
    Ok(SentToScope { outcomes, waiting, from: Some(registry::party(tx, &caller.peer)?) })
}

fn send_to(tx: &mut Tx<'_>, letter: &Letter<'_>, to: &PeerId) -> Result<Outcome, Fault> {
    let unread = registry::unread(tx, to)?;
    let posted = check_limits(tx, letter.from, to, unread).and_then(|()| post(tx, letter, to));
    let (sent, refusal) = match posted {
        Ok(posted) => (Some(posted), None),
        Err(Fault::Refused(refusal)) => (None, Some(refusal)),
        Err(fault) => return Err(fault),
    };
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
            format!("nobody else is live {place}; nothing was sent"),
        )
        .hint("Mail for a peer that is away waits if you write to it by its id or name."));
    }
    if limit > 0 && count > limit as usize {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("{count} peers are live {place}, and one message may go to {limit}; nothing was sent"),
        )
        .hint("Choose a narrower scope, write to some of them by id, or raise the limit max_recipients (CLAUDE_PEERS_MAX_RECIPIENTS)."));
    }
    Ok(())
}
