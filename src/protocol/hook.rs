//! Hooks: what a client's hook event says, and the mail that it may show.

use serde::{Deserialize, Serialize};

use crate::protocol::mailbox::Delivery;
use crate::protocol::{MessageId, ProcessId};

/// A hook event of Claude Code that concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    SessionStart,
    UserPromptSubmit,
    PostToolUse,
    Stop,
    /// The turn ended because the model could not be reached: an API error, a usage limit.
    StopFailure,
    /// The client has been waiting for its person for a while.
    Notification,
    SessionEnd,
}

impl Event {
    /// Whether the turn that was under way goes on from what its earlier events showed.
    #[must_use]
    pub const fn proves_the_turn(self) -> bool {
        matches!(self, Self::PostToolUse | Self::Stop)
    }

    /// The event's name, as Claude Code writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionStart => "SessionStart",
            Self::UserPromptSubmit => "UserPromptSubmit",
            Self::PostToolUse => "PostToolUse",
            Self::Stop => "Stop",
            Self::StopFailure => "StopFailure",
            Self::Notification => "Notification",
            Self::SessionEnd => "SessionEnd",
        }
    }
}

/// The source of a [`Event::SessionStart`] that goes on with the same session, only shorter: it is
/// no start, and may come in the middle of a turn.
pub const COMPACT: &str = "compact";

/// `POST /v1/hook`: a hook event of the main conversation of a session.
///
/// What an earlier event of the same turn showed is read now; what another turn was shown and
/// left no evidence of is offered again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookEvent {
    pub event: Event,
    /// The session that the client shows now.
    pub session: String,
    /// The client's process.
    #[serde(default)]
    pub client: Option<ProcessId>,
    /// The turn's id, where the client tells it.
    #[serde(default)]
    pub turn: String,
    /// What tells this event from others of the turn, where the client says enough for that. An
    /// event may have several hooks of ours, and one is no evidence of what another showed.
    #[serde(default)]
    pub occasion: String,
    /// For a tool: how long it ran, in milliseconds. What was shown after its start is not yet
    /// proven by it: the model asked for it before, together with others perhaps.
    #[serde(default)]
    pub lasted: u64,
    /// Messages that stood in the prompt as pushes of ours.
    #[serde(default)]
    pub seen: Vec<MessageId>,
    /// How much mail the output takes, in UTF-16 code units, as its reader counts; 0 shows nothing.
    #[serde(default)]
    pub room: usize,
    /// For a session's start: what began it, in the client's word (`startup`, `resume`, `clear`,
    /// `compact`, `fork`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Where the session works now, an absolute path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cwd: String,
}

impl HookEvent {
    /// The event without what a broker of the first release does not know, and would refuse.
    #[must_use]
    pub fn for_an_older_broker(&self) -> Self {
        Self { source: String::new(), cwd: String::new(), ..self.clone() }
    }
}

/// The answer to [`HookEvent`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HookMail {
    /// What to show, oldest first. It is read once the turn goes on from it.
    #[serde(default)]
    pub messages: Vec<Delivery>,
    /// How many more wait that are not shown; 0 if the turn was told so already.
    #[serde(default)]
    pub remaining: u64,
    /// The session's MCP server has ended, and its person is to be told: once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_gone: bool,
    /// The session is listed elsewhere than where it works now: [`HookMoved`] is to tell the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

/// `POST /v1/hook/moved`: where the session works now, in all that others go by. The hook says so
/// only if it was asked, because to find it out takes a look at the file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookMoved {
    /// As in the [`HookEvent`] that was answered.
    pub session: String,
    #[serde(default)]
    pub client: Option<ProcessId>,
    /// An absolute path.
    pub cwd: String,
    /// The canonical form of `cwd`: the scope `directory`.
    #[serde(default)]
    pub directory: Option<String>,
    /// The canonical git common directory: the scope `repo`.
    #[serde(default)]
    pub repo: Option<String>,
    /// The root of the git worktree, canonical.
    #[serde(default)]
    pub worktree: Option<String>,
}

/// `POST /v1/hook/written`: the output that shows these messages is out, whole.
///
/// Only then can the turn's next event be evidence: a hook may have been killed before.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookWritten {
    /// As in the [`HookEvent`] that was answered.
    pub session: String,
    #[serde(default)]
    pub turn: String,
    pub ids: Vec<MessageId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_broker_is_told_what_it_knows_and_nothing_else() {
        let known = ["event", "session", "client", "turn", "occasion", "lasted", "seen", "room"];
        let event = HookEvent {
            event: Event::SessionStart,
            session: "s".to_owned(),
            client: None,
            turn: String::new(),
            occasion: String::new(),
            lasted: 0,
            seen: Vec::new(),
            room: 0,
            source: "resume".to_owned(),
            cwd: "/srv".to_owned(),
        };
        let keys = |event: &HookEvent| {
            let value = serde_json::to_value(event).unwrap();
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert!(keys(&event).iter().any(|key| !known.contains(&key.as_str())));
        let mut old = keys(&event.for_an_older_broker());
        old.sort_unstable_by_key(|key| known.iter().position(|known| known == key));
        assert_eq!(old, known);
    }
}
