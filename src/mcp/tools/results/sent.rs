//! The result of `send_message`: how far the message got, and the answer if the call waited for it.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::mcp::tools::results::parts::{Part, Shown};
use crate::mcp::tools::results::unread::{ABOUT_MESSAGES, GOES_ON, MessageView};
use crate::mcp::tools::results::{
    Output, ROOM, commonest, describe_backlog, display_name, fitting, if_any, name_of,
    waiting_notice, waiting_paragraph,
};
use crate::protocol::Timestamp;
use crate::protocol::mailbox::Answered;
use crate::protocol::messages::{MessageState, Outcome, Sent, SentToScope, Via};
use crate::protocol::peers::{Activity, Peer, Reachability};
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
    to_id: Option<String>,
    reach: Option<&'static str>,
    answer: Option<AnswerView>,
    /// for a scope: what holds for all recipients that say nothing else
    default: Option<ReceptionView>,
    /// for a scope: how far the message got for each recipient
    recipients: Option<Vec<RecipientView>>,
    /// for a scope: how many more recipients it is stored for
    more: Option<u64>,
    mail: Option<String>,
}

/// How far a message got for a recipient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
struct ReceptionView {
    state: Option<String>,
    reach: &'static str,
    standing: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct RecipientView {
    id: String,
    name: Option<String>,
    /// missing if the message was refused for this recipient; standing says why
    message_id: Option<String>,
    state: Option<String>,
    reach: Option<&'static str>,
    standing: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AnswerView {
    /// what this is
    about: &'static str,
    message: MessageView,
}

/// Says what a peer is doing, if that is known.
const fn describe_activity(peer: &Peer) -> &'static str {
    match peer.activity {
        Activity::Busy => " It is at work.",
        Activity::Idle => " It is idle.",
        Activity::Waiting => " It waits for its person: a dialog is open.",
        Activity::Unknown => "",
    }
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

    /// Returns sentences for the model in which the recipient is `called` so.
    fn describe(&self, called: &str) -> String {
        let now = clock::now();
        let via = self.via.map(|via| format!(" by {via}")).unwrap_or_default();
        let ago = self.since.age(now);
        let to = &self.sent.to;
        let standing = match (self.sent.state, to.reach.known()) {
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
            (MessageState::Offered, Reachability::ChannelProven) => {
                format!("Pushed to {called}, where pushes have arrived before.")
            }
            (_, Reachability::Hooks) => {
                format!("{called} is live; its hooks show the message at its next step.")
            }
            (MessageState::Offered, _) => {
                format!("Pushed to {called}; whether its client shows pushes is not known.")
            }
            (_, Reachability::Away) => {
                format!("{called} has been away since {}; the message waits for it.", to.since)
            }
            (_, Reachability::Ended) => {
                format!(
                    "{called} has ended. The message will be delivered when its client is next started in that directory."
                )
            }
            (_, Reachability::Tools) => {
                format!("{called} is live and gets it when it next calls a claude-peers tool.")
            }
            (_, Reachability::Inbox) => {
                "The user will see it with `claude-peers inbox`.".to_owned()
            }
            (_, _) => format!("It waits behind earlier messages to {called}."),
        };
        let standing = format!("{standing}{}", describe_activity(&self.sent.to));
        let backlog = describe_backlog(&self.sent.to, now);
        match backlog.trim_start_matches(", ") {
            "" => standing,
            backlog => format!("{standing} It has {backlog}."),
        }
    }

    /// Returns the result, with `more` sentences about the state, and the `answer` that came with its
    /// text as `shown`.
    fn output(&self, more: &str, answer: Option<AnswerView>, shown: &str) -> Output {
        let standing = format!("{}{more}", self.describe(&display_name(&self.sent.to)));
        let mut out =
            format!("Message {} is {}. {standing}", text::id(&self.sent.id), self.sent.state);
        out.push_str(shown);
        out.push_str(&waiting_paragraph(self.sent.waiting));
        let result = SendMessageResult {
            id: Some(text::id(&self.sent.id)),
            state: Some(self.sent.state.to_string()),
            standing,
            to_id: Some(text::id(&self.sent.to.id)),
            reach: Some(self.sent.to.reach.known().as_str()),
            answer,
            mail: waiting_notice(self.sent.waiting),
            ..SendMessageResult::default()
        };
        Output::new(out, &result)
    }
}

pub fn send_message(sent: &Sent) -> Output {
    MessageStateView::of(sent).output("", None, "")
}

/// Returns the result of a call that waited up to `limit` for the answer, in forms of at most `room`
/// bytes. It shows the first part of an answer that does not fit.
pub fn answered(sent: &Sent, answered: &Answered, limit: Duration, room: usize) -> Shown {
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
        let output = standing.output(&more, None, "");
        return Shown { output, whole: Vec::new(), begun: None };
    };
    let now = clock::now();
    let output = |view: MessageView, text: &str, note: &str| {
        let shown = format!("\n\nThe answer; its lines begin with \"| \". {ABOUT}\n\n{text}{note}");
        standing.output("", Some(AnswerView { about: ABOUT_MESSAGES, message: view }), &shown)
    };
    let whole = output(MessageView::new(answer, now), &message::message(answer, now), "");
    if whole.len() <= room {
        return Shown { output: whole, whole: vec![answer.id.clone()], begun: None };
    }
    Part::fitting(answer, None, room, |part| {
        let which = format!("{}. {GOES_ON}", part.which);
        let view = MessageView::of_part(&part.message, which, now);
        output(view, &part.text(now), &format!("\n\n{GOES_ON}"))
    })
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
    let stored = sent.outcomes.iter().filter(|outcome| outcome.id.is_some()).count();
    let standing =
        format!("Stored for {stored} of {} live peers {}.", sent.outcomes.len(), scope.place());
    // Refusals first: they are never left out.
    let mut receptions: Vec<Reception<'_>> = sent.outcomes.iter().map(Reception::new).collect();
    receptions.sort_by_key(|reception| reception.outcome.id.is_some());
    let first = |count| first_recipients(sent, &standing, &receptions[..count]);
    fitting(ROOM, receptions.len(), first).1
}

fn first_recipients(sent: &SentToScope, standing: &str, shown: &[Reception<'_>]) -> Output {
    let more = (sent.outcomes.len() - shown.len()) as u64;
    let default = shared(shown);
    let mut out = standing.to_owned();
    if let Some(shared) = default {
        let state = shared.state.as_deref().unwrap_or_default();
        let _ = write!(out, " Where nothing else is said it is {state}: {}", shared.standing);
    }
    let mut recipients = Vec::with_capacity(shown.len());
    for reception in shown {
        let (view, to) = (&reception.view, &reception.outcome.to);
        let is_default = default == Some(view);
        let message_id = reception.outcome.id.as_ref().map(text::id);
        let _ = write!(out, "\n- {}", display_name(to));
        if let Some(id) = &message_id {
            let _ = write!(out, ": {id}");
        }
        if !is_default {
            let state =
                view.state.as_ref().map(|state| format!(" is {state}.")).unwrap_or_default();
            let _ = write!(out, "{state} {}", view.standing);
        }
        recipients.push(RecipientView {
            id: text::id(&to.id),
            name: name_of(to),
            message_id,
            state: view.state.clone().filter(|_| !is_default),
            reach: Some(view.reach).filter(|_| !is_default),
            standing: Some(view.standing.clone()).filter(|_| !is_default),
        });
    }
    if more > 0 {
        let _ = write!(out, "\nIt is stored for {more} more.");
    }
    out.push_str(&waiting_paragraph(sent.waiting));
    let result = SendMessageResult {
        standing: standing.to_owned(),
        default: default.cloned(),
        recipients: Some(recipients),
        more: if_any(more),
        mail: waiting_notice(sent.waiting),
        ..SendMessageResult::default()
    };
    Output::new(out, &result)
}

/// Returns how far the message got for most of the recipients, if that is the same for several.
fn shared<'a>(shown: &'a [Reception<'_>]) -> Option<&'a ReceptionView> {
    commonest(shown.iter().map(|reception| &reception.view).filter(|view| view.state.is_some()))
}

/// What became of a message for one recipient of a scope.
struct Reception<'a> {
    outcome: &'a Outcome,
    view: ReceptionView,
}

impl<'a> Reception<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        let standing = match (&outcome.id, outcome.state, &outcome.refusal) {
            (Some(id), Some(state), _) => {
                // Only this very message waits for it: that is no backlog.
                let alone = outcome.to.unread <= 1;
                let mut to = outcome.to.clone();
                to.unread = if alone { 0 } else { to.unread };
                let sent = Sent {
                    id: id.clone(),
                    state,
                    sent_at: clock::now(),
                    to,
                    awaited: outcome.awaited,
                    waiting: 0,
                    from: None,
                };
                MessageStateView::of(&sent).describe("it")
            }
            (_, _, refusal) => {
                let why = refusal.as_ref().map_or("refused", |refusal| refusal.message.as_str());
                format!("Not sent: {}.", text::line(why, 500))
            }
        };
        let view = ReceptionView {
            state: outcome.state.map(|state| state.to_string()),
            reach: outcome.to.reach.known().as_str(),
            standing: capitalized(&standing),
        };
        Self { outcome, view }
    }
}

fn capitalized(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}
