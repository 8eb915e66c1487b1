//! Notices: what the broker itself tells a sender, in its mailbox: that messages of its ended
//! without evidence of having been read.
//!
//! A notice is a message from the broker, so it is offered like any other and takes part in all
//! that is promised. But nobody can answer it, it counts against no limit, keeps no name for a
//! session that has ended, and ends itself without a word.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rusqlite::OptionalExtension as _;

use crate::broker::core::{EndedMessage, Tx};
use crate::broker::mailbox::insert::{Letter, post};
use crate::broker::registry;
use crate::broker::registry::Sender;
use crate::broker::store::Fault;
use crate::protocol::messages::MessageState;
use crate::protocol::{MessageId, PeerId};

/// How the broker is called as a sender. No session can have this name, because of the space.
const NAME: &str = "claude-peers broker";

/// How many messages one notice names at most, of each kind.
const NAMED: usize = 20;

/// Tells the senders of messages that just ended: one notice for each sender and recipient.
///
/// # Errors
///
/// If the database fails.
pub fn insert_notices(tx: &mut Tx<'_>, ended: &[EndedMessage]) -> Result<(), Fault> {
    let mut pairs: BTreeMap<(&PeerId, &PeerId), Vec<&EndedMessage>> = BTreeMap::new();
    for one in ended {
        pairs.entry((&one.sender, &one.recipient)).or_default().push(one);
    }
    let broker = PeerId::broker();
    let me = Sender { name: Some(NAME.to_owned()), summary: String::new(), cwd: String::new() };
    for ((sender, recipient), messages) in pairs {
        if !registry::may_return(tx, sender)? {
            continue;
        }
        let text = words(&called(tx, recipient)?, &messages);
        let letter = Letter {
            from: &broker,
            sender: &me,
            addressed_name: None,
            text: &text,
            reply_to: None,
            number: None,
        };
        let posted = post(tx, &letter, sender)?;
        tracing::info!(event = "notice", mail = %posted.id, peer = %sender, "messages ended unread");
    }
    Ok(())
}

fn called(tx: &Tx<'_>, peer: &PeerId) -> Result<String, Fault> {
    let name: Option<Option<String>> = tx
        .db
        .prepare_cached("SELECT name FROM peers WHERE id = ?1")?
        .query_row([peer.as_str()], |row| row.get(0))
        .optional()?;
    Ok(match name.flatten() {
        Some(name) => format!("{name} ({peer})"),
        None => peer.to_string(),
    })
}

fn words(to: &str, messages: &[&EndedMessage]) -> String {
    let of = |state: MessageState| -> Vec<&MessageId> {
        messages.iter().filter(|one| one.state == state).map(|one| &one.id).collect()
    };
    let mut text = match messages.len() {
        1 => format!("The time of a message that you sent to {to} ran out."),
        count => format!("The time of {count} messages that you sent to {to} ran out."),
    };
    for (ids, what) in [
        (of(MessageState::Expired), "Never offered (expired)"),
        (of(MessageState::Unconfirmed), "Offered, but not known to have been read (unconfirmed)"),
    ] {
        if ids.is_empty() {
            continue;
        }
        let named: Vec<&str> = ids.iter().take(NAMED).map(|id| id.as_str()).collect();
        let _ = write!(text, "\n{what}: {}", named.join(", "));
        if ids.len() > NAMED {
            let _ = write!(text, " and {} more", ids.len() - NAMED);
        }
        text.push('.');
    }
    text.push_str("\nSend again what still matters.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random;

    #[test]
    fn a_notice_names_some_and_counts_all() {
        let peer = random::peer_id();
        let ended = |state, number: usize| EndedMessage {
            id: MessageId::from_text(format!("m{number}")),
            sender: peer.clone(),
            recipient: peer.clone(),
            state,
        };
        let mut all: Vec<EndedMessage> = (0..25).map(|n| ended(MessageState::Expired, n)).collect();
        all.push(ended(MessageState::Unconfirmed, 99));
        let text = words("frontend", &all.iter().collect::<Vec<_>>());
        assert!(text.starts_with("The time of 26 messages that you sent to frontend ran out."));
        assert!(text.contains("(expired): m0, m1,") && text.contains("m19 and 5 more."), "{text}");
        assert!(text.contains("(unconfirmed): m99.") && !text.contains("m20"), "{text}");
        let text = words("frontend", &[&all[0]]);
        assert!(text.starts_with("The time of a message") && !text.contains("unconfirmed"));
    }
}
