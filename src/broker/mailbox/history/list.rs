//! The messages that fit a request.

use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::history::candidates::Candidates;
use crate::broker::mailbox::history::filter::{Filter, states};
use crate::broker::mailbox::history::rows::{at, unknown_message};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::messages::{DEFAULT_LIMIT, ListMessages, MessageList};

const MAX_LIMIT: u32 = 10_000;

/// Bytes of text in one answer: all other requests wait while it is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How many messages one answer looks at.
const MAX_LOOKED_AT: usize = 4_000;

/// Returns the newest messages that fit the request, oldest first.
///
/// # Errors
///
/// `NotFound` for an unknown message or peer, `Ambiguous` for the beginning of
/// several ids, `BadRequest` for a search without words or an unknown state, and
/// `Storage` if the index of words is damaged.
pub fn list_messages(
    tx: &Tx<'_>,
    caller: &Caller,
    request: &ListMessages,
) -> Result<MessageList, Fault> {
    let limit = match request.limit {
        0 => DEFAULT_LIMIT,
        limit => limit.min(MAX_LIMIT),
    } as usize;
    let peer = match &request.peer {
        Some(word) => Some(registry::resolve(tx, word)?.id().to_string()),
        None => (request.sent || request.own).then(|| caller.peer.to_string()),
    };
    let filter = Filter {
        own: request.own.then(|| caller.peer.to_string()),
        peer,
        sent: request.sent,
        since: request.since,
        until: request.until,
        states: states(request.state.as_deref().unwrap_or_default())?,
    };
    let mut candidates = Candidates::new(tx, request, &filter)?;
    let mut list = MessageList {
        messages: Vec::new(),
        peer: filter.peer.as_deref().map(PeerId::from_text),
        truncated: false,
        next: None,
        unindexed: 0,
    };
    let (mut bytes, mut looked_at) = (0, 0);
    let mut reached = None;
    while let Some(seq) = candidates.next(tx)? {
        let Some(message) = at(tx, seq)? else { continue };
        let id = message.id.clone();
        if filter.fits(&message) {
            bytes += message.text.len();
            list.truncated = bytes > MAX_BYTES && !list.messages.is_empty();
            if list.truncated || list.messages.len() == limit {
                list.next = reached;
                break;
            }
            list.messages.push(message);
        }
        looked_at += 1;
        reached = Some(id);
        if looked_at == MAX_LOOKED_AT {
            list.next = reached;
            break;
        }
    }
    if let (Some(id), true) = (&request.id, list.messages.is_empty()) {
        return Err(unknown_message(id).into());
    }
    list.messages.reverse();
    Ok(list)
}
