//! The result of `send_message`: how far the message got, and the answer if the call waited for it.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::mcp::tools::results::unread::MessageView;
use crate::mcp::tools::results::{
    Output, PeerView, ReachabilityView, describe_backlog, waiting_notice, waiting_paragraph,
};
use crate::protocol::Timestamp;
use crate::protocol::mailbox::Answered;
use crate::protocol::messages::{MessageState, Outcome, Sent, SentToScope, Via};
use crate::protocol::scope::Scope;
use crate::sys::clock;
use crate::text;
use crate::text::message;
use crate::text::message::ABOUT;

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct SendMessageResult {
    /// the message id; for a scope each recipient has its own
    id: Option<String>,
    /// queued: stored. offered: handed to the recipient's session. Neither means that it was read.
    state: Option<String>,
    /// what that means for this recipient
    standing: String,
    to: Option<PeerView>,
    answer: Option<AnswerView>,
    /// for a scope: how far the message got for each recipient
    recipients: Option<Vec<RecipientView>>,
    /// messages that wait for me
    waiting: u64,
    mail: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct RecipientView {
    id: String,
    name: Option<String>,
    reachability: ReachabilityView,
    /// missing if the message was refused for this recipient; standing says why
    message_id: Option<String>,
    state: Option<String>,
    standing: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AnswerView {
    /// what this is
    about: &'static str,
    message: MessageView,
}

/// How far a message got.
struct MessageStateView {
    sent: Sent,
    /// When it reached that state, and by which way.
    since: Timestamp,
    via: Option<Via>,
}

impl MessageStateView {
    fn of(sent: &Sent) -> Self {
        Self { sent: sent.clone(), since: sent.sent_at, via: None }
    }

    /// Returns sentences for the model.
    fn describe(&self, to: &PeerView) -> String {
        let called = to.display_name();
        let now = clock::now();
        let via = self.via.map(|via| format!(" by {via}")).unwrap_or_default();
        let ago = self.since.age(now);
        let standing = match (self.sent.state, &to.reachability) {
            _ if self.sent.awaited => {
                format!("{called} is waiting for a message and receives it immediately.")
            }
            (MessageState::Read, _) => format!("{called} has read it{via}, {ago} ago."),
            (MessageState::Expired, _) => format!("It expired before {called} had it."),
            (MessageState::Unconfirmed, _) => {
                format!("It expired; whether {called} has read it is not known.")
            }
            (MessageState::Offered, _) if self.via.is_some_and(|via| via != Via::Channel) => {
                format!(
                    "{called} was shown it{via}, {ago} ago; whether it was read is not known yet."
                )
            }
            (MessageState::Offered, ReachabilityView::ChannelProven) => {
                format!("Pushed to {called}, where pushes have arrived before.")
            }
            (_, ReachabilityView::Hooks) => {
                format!("{called} is live; its hooks show the message at its next step.")
            }
            (MessageState::Offered, _) => {
                format!("Pushed to {called}; whether its client shows pushes is not known.")
            }
            (_, ReachabilityView::Away) => {
                format!("{called} has been away since {}; the message waits for it.", to.since)
            }
            (_, ReachabilityView::Ended) => {
                format!(
                    "{called} has ended. The message will be delivered when its client is next started in that directory."
                )
            }
            (_, ReachabilityView::Tools) => {
                format!("{called} is live and gets it when it next calls a claude-peers tool.")
            }
            (_, ReachabilityView::Inbox) => {
                "The user will see it with `claude-peers inbox`.".to_owned()
            }
            (_, _) => format!("It waits behind earlier messages to {called}."),
        };
        let backlog = describe_backlog(&self.sent.to, now);
        match backlog.trim_start_matches(", ") {
            "" => standing,
            backlog => format!("{standing} It has {backlog}."),
        }
    }

    /// Returns the result, with `more` sentences about the state, and the `answer` that came with its
    /// text as `shown`.
    fn output(&self, more: &str, answer: Option<AnswerView>, shown: &str) -> Output {
        let to = PeerView::new(&self.sent.to);
        let standing = format!("{}{more}", self.describe(&to));
        let mut out = format!("Message {} is {}. {standing}", self.sent.id, self.sent.state);
        out.push_str(shown);
        out.push_str(&waiting_paragraph(self.sent.waiting));
        let result = SendMessageResult {
            id: Some(self.sent.id.to_string()),
            state: Some(self.sent.state.to_string()),
            standing,
            to: Some(to),
            answer,
            recipients: None,
            waiting: self.sent.waiting,
            mail: waiting_notice(self.sent.waiting),
        };
        Output::new(out, &result)
    }
}

pub fn send_message(sent: &Sent) -> Output {
    MessageStateView::of(sent).output("", None, "")
}

/// Returns the result of a call that waited for the answer.
pub fn answered(sent: &Sent, answered: &Answered, limit: Duration) -> Output {
    let sent = Sent {
        state: answered.state,
        to: answered.to.clone(),
        awaited: false,
        waiting: answered.waiting,
        ..sent.clone()
    };
    let standing = MessageStateView { sent, since: answered.since, via: answered.via };
    let Some(answer) = &answered.answer else {
        let more = format!(
            " No answer came within {} s. One that comes later arrives like any message; check_messages shows it.",
            limit.as_secs()
        );
        return standing.output(&more, None, "");
    };
    let mut shown = format!("\n\nThe answer; its lines begin with \"| \". {ABOUT}");
    let _ = write!(shown, "\n\n{}", message::message(answer, clock::now()));
    let view = AnswerView { about: ABOUT, message: MessageView::new(answer) };
    standing.output("", Some(view), &shown)
}

/// Returns the result of a call that sent the message, and failed while it waited for the answer.
pub fn wait_failed(sent: &Sent, why: &str) -> Output {
    let more = format!(
        " It was sent, but waiting for the answer failed: {} Do not send it again; check_messages shows an answer that comes.",
        text::line(why, 1_000)
    );
    MessageStateView::of(sent).output(&more, None, "")
}

pub fn sent_to_scope(sent: &SentToScope, scope: Scope) -> Output {
    let recipients: Vec<RecipientView> = sent.outcomes.iter().map(recipient).collect();
    let stored = recipients.iter().filter(|one| one.message_id.is_some()).count();
    let standing =
        format!("Stored for {stored} of {} live peers {}.", recipients.len(), scope.place());
    let mut out = standing.clone();
    for one in &recipients {
        let _ = match (&one.message_id, &one.state) {
            (Some(id), Some(state)) => write!(out, "\n- {id} is {state}. {}", one.standing),
            _ => write!(out, "\n- {}", one.standing),
        };
    }
    out.push_str(&waiting_paragraph(sent.waiting));
    let result = SendMessageResult {
        standing,
        recipients: Some(recipients),
        waiting: sent.waiting,
        mail: waiting_notice(sent.waiting),
        ..SendMessageResult::default()
    };
    Output::new(out, &result)
}

fn recipient(outcome: &Outcome) -> RecipientView {
    let to = PeerView::new(&outcome.to);
    let standing = match (&outcome.id, outcome.state, &outcome.refusal) {
        (Some(id), Some(state), _) => {
            let sent = Sent {
                id: id.clone(),
                state,
                sent_at: clock::now(),
                to: outcome.to.clone(),
                awaited: outcome.awaited,
                waiting: 0,
                from: None,
            };
            MessageStateView::of(&sent).describe(&to)
        }
        (_, _, refusal) => {
            let why = refusal.as_ref().map_or("refused", |refusal| refusal.message.as_str());
            format!("Not sent to {}: {}.", to.display_name(), text::line(why, 500))
        }
    };
    RecipientView {
        message_id: outcome.id.as_ref().map(ToString::to_string),
        state: outcome.state.map(|state| state.to_string()),
        standing,
        id: to.id,
        name: to.name,
        reachability: to.reachability,
    }
}
