//! Notices: messages from the broker to a sender, about messages of its that ended without evidence, or
//! to two sessions whose exchange it has stopped.
//!
//! A notice is offered like any other message. But it cannot be answered, counts against no limit, does
//! not keep the name of an ended session, and causes no notice when it ends itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::broker::core::{EndedMessage, Tx};
use crate::broker::mailbox::send::insert_notice;
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::messages::MessageState;
use crate::protocol::{MessageId, PeerId};

/// How many messages of each kind one notice names at most.
const MAX_NAMED: usize = 20;

/// Stores notices about messages that just ended: one for each sender and recipient.
pub fn insert_notices(tx: &mut Tx<'_>, ended: &[EndedMessage]) -> Result<(), Fault> {
    let mut pairs: BTreeMap<(&PeerId, &PeerId), Vec<&EndedMessage>> = BTreeMap::new();
    for one in ended {
        pairs.entry((&one.sender, &one.recipient)).or_default().push(one);
    }
    for ((sender, recipient), messages) in pairs {
        if !registry::may_return(tx, sender)? {
            continue;
        }
        let text = notice_text(&registry::display_name(tx, recipient)?, &messages);
        let id = insert_notice(tx, sender, &text)?;
        failpoint!("broker.expiry.noticed");
        tracing::info!(event = "notice", mail = %id, peer = %sender, "messages ended unread");
    }
    Ok(())
}

fn notice_text(to: &str, messages: &[&EndedMessage]) -> String {
    let of = |state: MessageState| -> Vec<&MessageId> {
        messages.iter().filter(|one| one.state == state).map(|one| &one.id).collect()
    };
    let mut text = match messages.len() {
        1 => format!("The time to live of a message that you sent to {to} has ended."),
        count => format!("The time to live of {count} messages that you sent to {to} has ended."),
    };
    for (ids, what) in [
        (of(MessageState::Expired), "Never offered (expired)"),
        (of(MessageState::Unconfirmed), "Offered, but not known to have been read (unconfirmed)"),
    ] {
        if ids.is_empty() {
            continue;
        }
        let named: Vec<&str> = ids.iter().take(MAX_NAMED).map(|id| id.as_str()).collect();
        let _ = write!(text, "\n{what}: {}", named.join(", "));
        if ids.len() > MAX_NAMED {
            let _ = write!(text, " and {} more", ids.len() - MAX_NAMED);
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
        let text = notice_text("frontend", &all.iter().collect::<Vec<_>>());
        assert!(
            text.starts_with(
                "The time to live of 26 messages that you sent to frontend has ended."
            )
        );
        assert!(text.contains("(expired): m0, m1,") && text.contains("m19 and 5 more."), "{text}");
        assert!(text.contains("(unconfirmed): m99.") && !text.contains("m20"), "{text}");
        let text = notice_text("frontend", &[&all[0]]);
        assert!(text.starts_with("The time to live of a message") && !text.contains("unconfirmed"));
    }
}
