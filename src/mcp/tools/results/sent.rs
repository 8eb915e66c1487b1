//! `send_message`: what became of it, and the answer if it was waited for.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::mcp::tools::results::unread::MessageView;
use crate::mcp::tools::results::{Output, PeerView, Reach, backlog_words, mail_line, mail_words};
use crate::protocol::Timestamp;
use crate::protocol::mailbox::Answered;
use crate::protocol::messages::{MessageState, Sent, Via};
use crate::protocol::peers::Scope;
use crate::protocol::scope::{Outcome, SentToScope};
use crate::text;
use crate::text::message;
use crate::text::message::ABOUT;

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct SendMessageResult {
    /// the message; to a scope each recipient has its own
    id: Option<String>,
    /// queued: stored. offered: handed to the recipient's session. Neither means that it was read.
    state: Option<String>,
    /// what that means for this recipient
    standing: String,
    to: Option<PeerView>,
    answer: Option<AnswerView>,
    /// to a scope: what became of it for each
    recipients: Option<Vec<RecipientView>>,
    /// messages that wait for me
    waiting: u64,
    mail: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct RecipientView {
    id: String,
    name: Option<String>,
    reachability: Reach,
    /// left out: it was refused for this one, and standing says why
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

/// Where a message stands.
struct Standing {
    sent: Sent,
    /// When and by which way it got there.
    since: Timestamp,
    via: Option<Via>,
}

impl Standing {
    fn of(sent: &Sent) -> Self {
        Self { sent: sent.clone(), since: sent.sent_at, via: None }
    }

    fn words(&self, to: &PeerView) -> String {
        let called = to.called();
        let now = Timestamp::now();
        let via = self.via.map(|via| format!(" by {via}")).unwrap_or_default();
        let ago = self.since.age(now);
        let standing = match (self.sent.state, &to.reachability) {
            _ if self.sent.awaited => {
                format!("{called} waits for it in a call and gets it at once.")
            }
            (MessageState::Read, _) => format!("{called} has read it{via}, {ago} ago."),
            (MessageState::Expired, _) => format!("Its time ran out before {called} had it."),
            (MessageState::Unconfirmed, _) => {
                format!("Its time ran out; whether {called} has read it is not known.")
            }
            (MessageState::Offered, _) if self.via.is_some_and(|via| via != Via::Channel) => {
                format!("{called} was shown it{via}, {ago} ago; that it was read is not known yet.")
            }
            (MessageState::Offered, Reach::ChannelProven) => {
                format!("Pushed to {called}, where pushes have arrived before.")
            }
            (_, Reach::Hooks) => {
                format!("{called} is live; its hooks show the message with its next step.")
            }
            (MessageState::Offered, _) => {
                format!("Pushed to {called}; whether its client shows pushes is not known.")
            }
            (_, Reach::Away) => {
                format!("{called} is away since {}; the message waits for it.", to.since)
            }
            (_, Reach::Ended) => {
                format!(
                    "{called} has ended: its program is gone. The message waits for whoever starts it there next."
                )
            }
            (_, Reach::Tools) => {
                format!("{called} is live and gets it when it next calls a tool of claude-peers.")
            }
            (_, Reach::Inbox) => {
                "It waits for the person, who reads by `claude-peers inbox`.".to_owned()
            }
            (_, _) => format!("It waits behind earlier messages to {called}."),
        };
        let backlog = backlog_words(&self.sent.to, now);
        match backlog.trim_start_matches(", ") {
            "" => standing,
            backlog => format!("{standing} It has {backlog}."),
        }
    }

    /// The result; `more` is what else there is to say, `answer` what came.
    fn output(&self, more: &str, answer: Option<AnswerView>, shown: &str) -> Output {
        let to = PeerView::new(&self.sent.to);
        let standing = format!("{}{more}", self.words(&to));
        let mut out = format!("Message {} is {}. {standing}", self.sent.id, self.sent.state);
        out.push_str(shown);
        out.push_str(&mail_line(self.sent.waiting));
        let result = SendMessageResult {
            id: Some(self.sent.id.to_string()),
            state: Some(self.sent.state.to_string()),
            standing,
            to: Some(to),
            answer,
            recipients: None,
            waiting: self.sent.waiting,
            mail: mail_words(self.sent.waiting),
        };
        Output::new(out, &result)
    }
}

pub fn send_message(sent: &Sent) -> Output {
    Standing::of(sent).output("", None, "")
}

/// It was waited for the answer.
pub fn answered(sent: &Sent, answered: &Answered, limit: Duration) -> Output {
    let sent = Sent {
        state: answered.state,
        to: answered.to.clone(),
        awaited: false,
        waiting: answered.waiting,
        ..sent.clone()
    };
    let standing = Standing { sent, since: answered.since, via: answered.via };
    let Some(answer) = &answered.answer else {
        let more = format!(
            " No answer came within {} s. One that comes later arrives like any message; check_messages shows it.",
            limit.as_secs()
        );
        return standing.output(&more, None, "");
    };
    let mut shown = format!("\n\nThe answer; its lines begin with \"| \". {ABOUT}");
    let _ = write!(shown, "\n\n{}", message::message(answer, Timestamp::now()));
    let view = AnswerView { about: ABOUT, message: MessageView::new(answer) };
    standing.output("", Some(view), &shown)
}

/// It was sent, and then it could not be waited for the answer.
pub fn wait_failed(sent: &Sent, why: &str) -> Output {
    let more = format!(
        " It is sent, but the wait for the answer failed: {} Do not send it again; check_messages shows an answer that comes.",
        text::line(why, 1_000)
    );
    Standing::of(sent).output(&more, None, "")
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
    out.push_str(&mail_line(sent.waiting));
    let result = SendMessageResult {
        standing,
        recipients: Some(recipients),
        waiting: sent.waiting,
        mail: mail_words(sent.waiting),
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
                sent_at: Timestamp::now(),
                to: outcome.to.clone(),
                awaited: outcome.awaited,
                waiting: 0,
                from: None,
            };
            Standing::of(&sent).words(&to)
        }
        (_, _, refusal) => {
            let why = refusal.as_ref().map_or("refused", |refusal| refusal.message.as_str());
            format!("Not sent to {}: {}.", to.called(), text::line(why, 500))
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
