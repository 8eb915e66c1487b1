//! The four tools, as `tools/list` shows them.

use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::arguments::{
    CheckMessagesArguments, ListPeersArguments, SendMessageArguments, SetSummaryArguments,
};
use super::results::{CheckMessagesResult, ListPeersResult, SendMessageResult, SetSummaryResult};

pub const LIST_PEERS: &str = "list_peers";
pub const SEND_MESSAGE: &str = "send_message";
pub const SET_SUMMARY: &str = "set_summary";
pub const CHECK_MESSAGES: &str = "check_messages";

/// Characters of a result that Claude Code may show whole; a message of the largest size fits.
const MAX_RESULT_CHARS: u64 = 200_000;

/// All tools, in the order in which they are shown.
#[must_use]
pub fn all() -> Vec<Tool> {
    vec![
        tool::<ListPeersArguments, ListPeersResult>(
            LIST_PEERS,
            "List the other sessions on this machine: id, name, directory, what each works on, and how a message reaches it. Begins with who you are. Reachability: channel_proven, pushes have arrived there; channel_presumed, it is pushed to, but whether that is shown is not known; hooks, its hooks show mail with its next step; tools, it sees mail when it calls a tool; away, mail waits for it.",
            hints(true),
        ),
        tool::<SendMessageArguments, SendMessageResult>(
            SEND_MESSAGE,
            "Send a message to another session. It is stored before this returns, and waits if the session is away. To scope:repo, scope:directory or scope:machine it goes to all live sessions there, at most 50: only for what concerns them all. The result says how far it got; that a message was offered does not mean that it was read. With wait_seconds it waits for the peer's answer and returns it; use it when you cannot go on without the answer.",
            hints(false),
        ),
        tool::<SetSummaryArguments, SetSummaryResult>(
            SET_SUMMARY,
            "Tell the other sessions in one or two sentences what this session works on, and give it a name if you like.",
            hints(true),
        ),
        tool::<CheckMessagesArguments, CheckMessagesResult>(
            CHECK_MESSAGES,
            "Show the messages from other sessions that this session has not read yet, and which of its own messages are still unread. With wait_seconds it waits for the next message if there is none. A subagent must hand the messages on to its main session word for word.",
            hints(false),
        ),
    ]
}

fn tool<A: JsonSchema, R: JsonSchema>(
    name: &'static str,
    description: &'static str,
    hints: ToolAnnotations,
) -> Tool {
    let mut tool = Tool::new(name, description, schema::<A>())
        .with_raw_output_schema(schema::<R>())
        .with_annotations(hints);
    let mut meta = MetaObject::default();
    meta.0.insert("anthropic/maxResultSizeChars".to_owned(), MAX_RESULT_CHARS.into());
    tool.meta = Some(meta);
    tool
}

/// Everything in one schema without references: some clients do not follow them.
fn schema<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = schema.as_object().cloned().unwrap_or_default();
    object.remove("$schema");
    object.remove("title");
    object.entry("properties").or_insert_with(|| serde_json::json!({}));
    Arc::new(object)
}

/// What a client may believe of a tool.
///
/// The specification (2025-11-25, `ToolAnnotations`) calls a tool read-only that "does not modify
/// its environment", and leaves open what that is. We take it for what a session works on: files,
/// processes, services. None of our tools changes any of that. A message is a note in our own
/// mailbox; what its reader makes of it happens in the reader's session and under its permissions,
/// and that a message counts as read, or what a session says of itself, is our own bookkeeping.
///
/// It matters because a client that plans calls no other tool: Claude Code's plan mode refuses
/// them whatever its rules say. A session that plans must be able to read its mail and to ask.
fn hints(idempotent: bool) -> ToolAnnotations {
    ToolAnnotations::new()
        .read_only(true)
        .destructive(false)
        .idempotent(idempotent)
        .open_world(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_are_what_every_client_can_take() {
        for tool in all() {
            let description = tool.description.as_deref().unwrap();
            assert!((1..=2_048).contains(&description.chars().count()), "{}", tool.name);
            for schema in [Some(tool.input_schema), tool.output_schema].into_iter().flatten() {
                assert_eq!(schema["type"], "object", "{}", tool.name);
                for combinator in ["anyOf", "oneOf", "allOf", "$ref", "$defs"] {
                    assert!(!schema.contains_key(combinator), "{}: {combinator}", tool.name);
                }
            }
        }
    }
}
