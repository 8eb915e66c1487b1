//! The result of `check_messages` with `history`: messages of before, which the conversation may have lost.

use std::fmt::Write as _;

use crate::mcp::tools::results::unread::{ABOUT_MESSAGES, CheckMessagesResult, MessageView};
use crate::mcp::tools::results::{Output, ROOM, fitting};
use crate::protocol::PeerId;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::{Message, MessageList, MessageState};
use crate::sys::clock;
use crate::text;
use crate::text::message;
use crate::text::message::{ABOUT, MAX_NAME};

/// How many bytes of a text are shown where there are several messages, and of the only one. The command
/// line has all of it.
const MAX_TEXT: usize = 2_000;
const MAX_ONLY_TEXT: usize = 6_000;

/// Returns messages that this session sent or has read, oldest first, as many of the newest as fit.
///
/// Nothing is marked as read by it, so what this session has not read yet is not among them.
pub fn earlier(list: &MessageList, me: &PeerId, asked: &str) -> Output {
    let now = clock::now();
    let is_unread = |message: &&Message| {
        message.to.id == *me
            && matches!(message.state, MessageState::Queued | MessageState::Offered)
    };
    let unread = list.messages.iter().filter(is_unread).count() as u64;
    let known: Vec<&Message> = list.messages.iter().filter(|m| !is_unread(m)).collect();
    let most = if known.len() == 1 { MAX_ONLY_TEXT } else { MAX_TEXT };
    let all: Vec<Delivery> = known.iter().map(|message| delivery(message, me, most)).collect();
    let (_, output) = fitting(ROOM, all.len(), |count| {
        let shown = &all[all.len() - count..];
        let asked = text::line(asked, MAX_NAME);
        let is_more = list.next.is_some() || count < all.len();
        let found = match count {
            0 => format!("No message that this session sent or has read fits \"{asked}\"."),
            count => format!(
                "{count} earlier messages, oldest first; their lines begin with \"| \". {ABOUT}"
            ),
        };
        let mut out = found.clone();
        for message in shown {
            let _ = write!(out, "\n\n{}", message::message(message, now));
        }
        let older = is_more.then(|| "There are older ones: ask for other words.".to_owned());
        let waiting = (unread > 0)
            .then(|| format!("{unread} of these are unread: call check_messages without history."));
        let mail = [older, waiting].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mail = Some(mail).filter(|mail| !mail.is_empty());
        if let Some(mail) = &mail {
            let _ = write!(out, "\n\n{mail}");
        }
        let about = if count == 0 { found } else { ABOUT_MESSAGES.to_owned() };
        let views = shown.iter().map(|message| MessageView::new(message, now)).collect();
        Output::new(out, &CheckMessagesResult::of_history(about, views, mail))
    });
    output
}

/// Returns a message as one on its way, of which each knows how it is shown.
fn delivery(message: &Message, me: &PeerId, most: usize) -> Delivery {
    let party = |party: &crate::protocol::messages::Party| {
        party.name.clone().unwrap_or_else(|| party.id.to_string())
    };
    let from_name = if message.from.id == *me {
        Some(format!("you, to {}", party(&message.to)))
    } else {
        message.from.name.clone()
    };
    let mut text = message.text.clone();
    if text.len() > most {
        let end = text::part_end(&text, most);
        let whole = text.chars().count();
        text.truncate(end);
        let _ = write!(text, "… ({whole} characters in all)");
    }
    Delivery {
        id: message.id.clone(),
        from_id: message.from.id.clone(),
        from_name,
        from_summary: String::new(),
        from_cwd: String::new(),
        sent_at: message.sent_at,
        text,
        reply_to: message.reply_to.clone(),
        repeat: false,
        already_pushed: false,
    }
}
