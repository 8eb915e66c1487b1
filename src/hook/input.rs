//! What Claude Code writes to a hook's standard input.

use std::io::Read;

use serde::Deserialize;

use crate::protocol::MessageId;
use crate::protocol::hook::HookEventName;
use crate::protocol::js_json::{LossyString, invalid_as_default, lenient_measure};

/// Longest tool duration, in milliseconds: some thirty years.
const MAX_DURATION: u64 = 1_000_000_000_000;

/// The fields that concern us. All others are skipped, including tool results of any size.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// The session that the client process shows now.
    pub session_id: String,
    /// The turn; empty where the client does not name its turns.
    #[serde(default, deserialize_with = "invalid_as_default")]
    pub prompt_id: String,
    /// At the start of a session: what started it (`startup`, `resume`, `clear`, …).
    #[serde(default, deserialize_with = "invalid_as_default")]
    pub source: String,
    /// Where the session works now.
    #[serde(default)]
    cwd: Option<LossyString>,
    #[serde(default)]
    prompt: Option<LossyString>,
    #[serde(default, deserialize_with = "invalid_as_default")]
    pub stop_hook_active: bool,
    #[serde(default, deserialize_with = "invalid_as_default")]
    tool_use_id: String,
    /// What a notification is about.
    #[serde(default, deserialize_with = "invalid_as_default")]
    notification_type: String,
    /// The duration of the tool call.
    #[serde(default, deserialize_with = "invalid_as_default")]
    duration_ms: Milliseconds,
    /// Present at events of a subagent.
    #[serde(default)]
    agent_id: Option<String>,
}

/// A duration. JSON has no integers, and a value that is not a duration counts as zero.
#[derive(Debug, Default, Deserialize)]
struct Milliseconds(#[serde(deserialize_with = "lenient_measure")] u64);

impl Input {
    /// Returns the duration of the tool call, in milliseconds.
    pub fn tool_duration(&self) -> u64 {
        self.duration_ms.0.min(MAX_DURATION)
    }

    /// Reads one JSON object. It does not wait for the end of the input.
    pub fn read(input: impl Read) -> Option<Self> {
        let buffered = std::io::BufReader::new(input);
        serde_json::Deserializer::from_reader(buffered).into_iter::<Self>().next()?.ok()
    }

    /// Whether the event belongs to a subagent, and not to the main conversation.
    pub fn is_subagent(&self) -> bool {
        self.agent_id.as_deref().is_some_and(|id| !id.is_empty())
    }

    /// Whether the event says nothing about the session's state, such as a notification that a dialog
    /// is open.
    pub fn is_irrelevant(&self, event: HookEventName) -> bool {
        event == HookEventName::Notification && self.notification_type != "idle_prompt"
    }

    /// Returns the directory in which the session works now; empty if the client does not say.
    pub fn cwd(&self) -> &str {
        self.cwd.as_ref().map_or("", |LossyString(cwd)| cwd)
    }

    /// Returns what tells this event from others of the turn; empty if nothing does.
    pub fn event_key(&self, event: HookEventName) -> String {
        match event {
            HookEventName::PostToolUse => self.tool_use_id.clone(),
            HookEventName::Stop => format!("stop {}", self.stop_hook_active),
            HookEventName::SessionStart
            | HookEventName::UserPromptSubmit
            | HookEventName::StopFailure
            | HookEventName::Notification
            | HookEventName::SessionEnd => String::new(),
        }
    }

    /// Returns the ids of our pushes in the prompt.
    ///
    /// Only the client writes such a tag unescaped. Whether the message was pushed to this very
    /// session is checked by the broker.
    pub fn pushes_in_prompt(&self) -> Vec<MessageId> {
        const NAME: &str = " message_id=\"";
        let prompt = self.prompt.as_ref().map_or("", |LossyString(prompt)| prompt);
        let tags = prompt.split("<channel ").skip(1);
        tags.filter_map(|tag| {
            let attributes = tag.split_once('>')?.0;
            let value = attributes.split_once(NAME)?.1.split_once('"')?.0;
            Some(MessageId::from_text(value))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_found_in_the_prompt() {
        let read = |prompt: &str| {
            let text = serde_json::json!({ "session_id": "s", "prompt": prompt, "more": [1] });
            Input::read(format!("{text}trailing").as_bytes()).unwrap()
        };
        let two = read(
            "<channel source=\"claude-peers\" from_id=\"a1\" message_id=\"m1\">\nhi\n</channel>\n\
             <channel source=\"x\" message_id=\"m2\">y</channel>",
        );
        assert_eq!(
            two.pushes_in_prompt(),
            [MessageId::from_text("m1"), MessageId::from_text("m2")]
        );
        for none in [
            "",
            "message_id=\"m1\"",
            "<channel message_id=\"m1\"",
            "<channel a=\"b\"> message_id=\"m1\"",
        ] {
            assert!(read(none).pushes_in_prompt().is_empty(), "{none}");
        }
    }

    #[test]
    fn half_characters_and_nulls_are_accepted() {
        let halved = r#"{"session_id": "s", "prompt": "\ud83d <channel a=\"b\" message_id=\"m1\">", "x": "\ude00"}"#;
        assert_eq!(
            Input::read(halved.as_bytes()).unwrap().pushes_in_prompt(),
            [MessageId::from_text("m1")]
        );
        let nulls = r#"{"session_id": "s", "prompt": null, "prompt_id": null, "source": null, "cwd": null, "agent_id": null,
            "notification_type": null, "stop_hook_active": null, "tool_use_id": null, "duration_ms": null}"#;
        let input = Input::read(nulls.as_bytes()).unwrap();
        assert!(
            input.pushes_in_prompt().is_empty() && !input.is_subagent() && !input.stop_hook_active
        );
    }

    #[test]
    fn optional_fields_may_have_any_form() {
        for (written, lasted) in
            [("12", 12), ("11.5", 12), ("\"12\"", 12), ("-1", 0), ("{}", 0), ("1e99", MAX_DURATION)]
        {
            let text = format!(
                r#"{{"session_id": "s", "duration_ms": {written}, "stop_hook_active": "x", "tool_use_id": 5}}"#
            );
            assert_eq!(Input::read(text.as_bytes()).unwrap().tool_duration(), lasted, "{written}");
        }
    }

    #[test]
    fn other_input_is_rejected() {
        for bad in ["", "{}", "[]", "nonsense", "{\"session_id\": 1}"] {
            assert!(Input::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
