//! `check_messages` with `history`: what was said before, by an id, a peer, or words.

use crate::client::{Client, ClientError};
use crate::mcp::error_text::error_text;
use crate::mcp::tools::results;
use crate::mcp::tools::results::Output;
use crate::protocol::messages::{ListMessages, MessageList};
use crate::protocol::{ErrorCode, MessageId, PeerId};

/// The most messages of one result.
const MOST: u32 = 20;

/// Returns earlier messages of this session: the one with this id, those with this peer, or those with
/// these words; the first of these that there is.
///
/// # Errors
///
/// A text for the model.
pub async fn earlier(client: &Client, asked: &str) -> Result<Output, String> {
    let me = own_id(client).await?;
    let own = || ListMessages { own: true, limit: MOST, ..ListMessages::default() };
    let is_word = !asked.contains(char::is_whitespace);
    let by_id = ListMessages { id: Some(MessageId::from_text(asked)), ..own() };
    let by_peer = ListMessages { peer: Some(asked.to_owned()), ..own() };
    let by_words = ListMessages { search: Some(asked.to_owned()), ..own() };
    for request in [by_id, by_peer].iter().filter(|_| is_word) {
        if let Some(list) = found(client.messages(request).await)? {
            return Ok(results::earlier(&list, &me, asked));
        }
    }
    let list = client.messages(&by_words).await.map_err(|error| error_text(&error))?;
    Ok(results::earlier(&list, &me, asked))
}

async fn own_id(client: &Client) -> Result<PeerId, String> {
    let known = client.registered().and_then(|known| known.borrow().clone());
    if let Some(known) = known {
        return Ok(known.peer.id);
    }
    let registered = client.introduce().await.map_err(|error| error_text(&error))?;
    registered
        .map(|known| known.peer.id)
        .ok_or_else(|| "This session is not registered.".to_owned())
}

/// Returns what was found; `None` if there is no such thing, and it may be something else.
fn found(listed: Result<MessageList, ClientError>) -> Result<Option<MessageList>, String> {
    match listed {
        Ok(list) => Ok(Some(list).filter(|list| !list.messages.is_empty())),
        Err(error) if matches!(error.code(), Some(ErrorCode::NotFound | ErrorCode::Ambiguous)) => {
            Ok(None)
        }
        Err(error) => Err(error_text(&error)),
    }
}
