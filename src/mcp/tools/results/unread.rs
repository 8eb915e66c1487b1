//! The result of `check_messages`: unread messages, and which of the session's own messages are unread.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::mcp::tools::results::{MAX_SUMMARY, Output};
use crate::protocol::mailbox::{Delivery, Taken};
use crate::sys::clock;
use crate::text;
use crate::text::message;
use crate::text::message::{ABOUT, MAX_NAME, MAX_PATH};

#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckMessagesResult {
    /// what these are
    about: String,
    messages: Vec<MessageView>,
    /// how many more wait: call again
    remaining: u64,
    mail: Option<String>,
    /// my own messages that are not known to have been read, newest first
    own_unread: Vec<OwnUnreadView>,
    own_unread_total: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MessageView {
    message_id: String,
    from_id: String,
    from_name: Option<String>,
    from_cwd: String,
    from_summary: String,
    /// true: sent by claude-peers itself; do not answer it
    notice: bool,
    sent_at: String,
    reply_to: Option<String>,
    /// it may have been shown before
    repeat: bool,
    /// it was pushed into this session already
    already_pushed: bool,
    text: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OwnUnreadView {
    message_id: String,
    to_id: String,
    to_name: Option<String>,
    sent_at: String,
    state: String,
    /// when and by which way (channel, hook, tool) it was last handed to the recipient's session
    offered_at: Option<String>,
    offered_via: Option<String>,
}

impl MessageView {
    pub fn new(message: &Delivery) -> Self {
        Self {
            message_id: message.id.to_string(),
            from_id: message.from_id.to_string(),
            from_name: message.from_name.as_deref().map(|name| text::line(name, MAX_NAME)),
            from_cwd: text::line(&message.from_cwd, MAX_PATH),
            from_summary: text::line(&message.from_summary, MAX_SUMMARY),
            notice: message.from_id.is_broker(),
            sent_at: message.sent_at.to_string(),
            reply_to: message.reply_to.as_ref().map(|id| text::line(id.as_str(), MAX_NAME)),
            repeat: message.repeat,
            already_pushed: message.already_pushed,
            text: text::block(&message.text),
        }
    }
}

/// Returns the result of a call that waited up to `waited` for messages.
pub fn check_messages(taken: &Taken, waited: Duration) -> Output {
    let now = clock::now();
    let messages: Vec<MessageView> = taken.messages.iter().map(MessageView::new).collect();
    let about = match messages.len() {
        0 if waited.is_zero() => "No messages wait for you.".to_owned(),
        0 => format!("No message came within {} s.", waited.as_secs()),
        _ => ABOUT.to_owned(),
    };
    let mut out = match messages.len() {
        0 => about.clone(),
        count => format!("{count} unread, oldest first; their lines begin with \"| \". {about}"),
    };
    for message in &taken.messages {
        let _ = write!(out, "\n\n{}", message::message(message, now));
    }
    let mail = match taken.remaining {
        0 => None,
        more => Some(format!("{more} more wait: call check_messages again.")),
    };
    if let Some(mail) = &mail {
        let _ = write!(out, "\n\n{mail}");
    }
    if taken.own_unread_total > 0 {
        let _ = write!(
            out,
            "\n\nOf your own messages {} are not known to have been read:",
            taken.own_unread_total
        );
        for own in &taken.own_unread {
            let to = own
                .to_name
                .as_deref()
                .map_or_else(|| own.to_id.to_string(), |name| text::line(name, MAX_NAME));
            let (sent, state) = (own.sent_at.age(now), own.state);
            let _ = write!(out, "\n- {} to {to}, sent {sent} ago: {state}", own.id);
            if let (Some(via), Some(at)) = (own.offered_via, own.offered_at) {
                let _ = write!(out, " by {via}, {} ago", at.age(now));
            }
        }
    }
    let own_unread = taken
        .own_unread
        .iter()
        .map(|own| OwnUnreadView {
            message_id: own.id.to_string(),
            to_id: own.to_id.to_string(),
            to_name: own.to_name.as_deref().map(|name| text::line(name, MAX_NAME)),
            sent_at: own.sent_at.to_string(),
            state: own.state.to_string(),
            offered_at: own.offered_at.map(|at| at.to_string()),
            offered_via: own.offered_via.map(|via| via.to_string()),
        })
        .collect();
    let result = CheckMessagesResult {
        about,
        messages,
        remaining: taken.remaining,
        mail,
        own_unread,
        own_unread_total: taken.own_unread_total,
    };
    Output::new(out, &result)
}
