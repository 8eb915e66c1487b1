//! Hooks: the event that a hook reports, and the mail that it may show.

use serde::{Deserialize, Serialize};

use crate::protocol::mailbox::Delivery;
use crate::protocol::{MessageId, ProcessId};

/// The name of a hook event of Claude Code, of those that the broker uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum HookEventName {
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

impl HookEventName {
    /// Returns whether the event proves that its turn went on with what earlier events showed.
    #[must_use]
    pub const fn continues_turn(self) -> bool {
        matches!(self, Self::PostToolUse | Self::Stop)
    }

    /// Returns the event's name, as Claude Code writes it.
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

/// The source of a [`HookEventName::SessionStart`] after a session was shortened.
///
/// It is not the start of a session, and may come in the middle of a turn.
pub const COMPACT: &str = "compact";

/// `POST /v1/hook`: a hook event of the main conversation of a session.
///
/// The event is evidence for what an earlier event of the same turn showed. What was shown in another
/// turn without evidence is offered again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HookEvent {
    pub event: HookEventName,
    /// The session that the client shows now.
    pub session: String,
    /// The client's process.
    #[serde(default)]
    pub client: Option<ProcessId>,
    /// The turn's id; empty if the client does not tell it.
    #[serde(default)]
    pub turn: String,
    /// Identifies this event within the turn, if the client tells enough for that.
    ///
    /// Several hooks of ours may run for one event, and one of them is no evidence for what another
    /// showed.
    #[serde(default)]
    pub occasion: String,
    /// For a tool: how long it ran, in milliseconds.
    ///
    /// The event is no evidence for what was shown after the tool began: the model called the tool
    /// before that, perhaps together with others.
    #[serde(default)]
    pub lasted: u64,
    /// The messages that the prompt contained as pushes of ours.
    #[serde(default)]
    pub seen: Vec<MessageId>,
    /// How much mail the output may hold, in UTF-16 code units, as the client counts; 0 shows nothing.
    #[serde(default)]
    pub room: usize,
    /// For `SessionStart`: what began the session, in the client's word (`startup`, `resume`,
    /// `clear`, `compact`, `fork`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Where the session works now, an absolute path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cwd: String,
}

impl HookEvent {
    /// Returns the event without the fields that a broker of the first release would refuse.
    #[must_use]
    pub fn without_new_fields(&self) -> Self {
        Self { source: String::new(), cwd: String::new(), ..self.clone() }
    }
}

/// The answer to [`HookEvent`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HookMail {
    /// The messages to show, oldest first. They are read once the turn goes on.
    #[serde(default)]
    pub messages: Vec<Delivery>,
    /// How many more messages are unread; 0 if this turn has shown the number already.
    #[serde(default)]
    pub remaining: u64,
    /// The session's MCP server has ended. The hook tells the person, once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_gone: bool,
    /// The session is listed in another directory. The hook answers with [`DirectoryChanged`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

/// `POST /v1/hook/moved`: the directory in which the session works now, with its repository.
///
/// A hook reports this only on request, because it has to read the file system for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DirectoryChanged {
    /// As in the [`HookEvent`] before.
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

/// `POST /v1/hook/written`: the receipt for hook output, which was written completely.
///
/// Without it the turn's next event is no evidence, because the hook may have been killed before it
/// wrote.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HookWritten {
    /// As in the [`HookEvent`] before.
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
            event: HookEventName::SessionStart,
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
        let mut old = keys(&event.without_new_fields());
        old.sort_unstable_by_key(|key| known.iter().position(|known| known == key));
        assert_eq!(old, known);
    }
}
