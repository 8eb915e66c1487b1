//! The four tools, as `tools/list` shows them.

pub mod arguments;
pub mod calls;
mod plain_schema;
pub mod results;
pub mod waiting;

use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::mcp::tools::arguments::{
    CheckMessagesArguments, ListPeersArguments, SendMessageArguments, SetSummaryArguments,
};
use crate::mcp::tools::results::{
    CheckMessagesResult, ListPeersResult, SendMessageResult, SetSummaryResult,
};

pub const LIST_PEERS: &str = "list_peers";
pub const SEND_MESSAGE: &str = "send_message";
pub const SET_SUMMARY: &str = "set_summary";
pub const CHECK_MESSAGES: &str = "check_messages";

/// The names of all of them.
pub const NAMES: [&str; 4] = [LIST_PEERS, SEND_MESSAGE, SET_SUMMARY, CHECK_MESSAGES];

/// Characters of a result that Claude Code may show whole; a message of the largest size fits.
const MAX_RESULT_CHARS: u64 = 200_000;

/// All tools, in the order in which they are shown.
#[must_use]
pub fn all() -> Vec<Tool> {
    vec![
        tool::<ListPeersArguments, ListPeersResult>(
            LIST_PEERS,
            "List the other sessions on this machine: id, name, directory, what each works on, and how a message reaches it. Begins with who you are. Reachability: channel_proven, pushes have arrived there; channel_presumed, it is pushed to, but whether that is shown is not known; hooks, its hooks show mail with its next step; tools, it sees mail when it calls a tool; away, mail waits for it; ended, it cannot come back.",
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

/// A type's schema in the few words of JSON Schema that every client knows: see [`plain`].
fn schema<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = plain_schema::schema(schema.as_object().cloned().unwrap_or_default());
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
    use serde_json::Value;

    use super::*;
    use crate::text;

    /// Walks a schema to its last corner; `at` says where one is.
    fn check(schema: &Value, at: &str) {
        const WORDS: [&str; 8] = [
            "type",
            "description",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "minimum",
        ];
        const TYPES: [&str; 6] = ["object", "array", "string", "integer", "number", "boolean"];
        let object = schema.as_object().unwrap_or_else(|| panic!("{at} is no schema: {schema}"));
        for word in object.keys() {
            assert!(WORDS.contains(&word.as_str()), "{at}: {word}");
        }
        let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{at} has no single type"));
        assert!(TYPES.contains(&kind), "{at}: {kind}");
        if let Some(description) = schema.get("description") {
            assert!(!description.as_str().unwrap().contains('\n'), "{at}: {description}");
        }
        if let Some(options) = schema.get("enum") {
            assert!(options.as_array().unwrap().iter().all(Value::is_string), "{at}");
        }
        assert_eq!(kind == "array", schema.get("items").is_some(), "{at}");
        let properties = schema.get("properties").map(|p| p.as_object().unwrap());
        for name in schema.get("required").into_iter().flat_map(|r| r.as_array().unwrap()) {
            assert!(properties.unwrap().contains_key(name.as_str().unwrap()), "{at}: {name}");
        }
        for (name, schema) in properties.into_iter().flatten() {
            check(schema, &format!("{at}.{name}"));
        }
        if let Some(items) = schema.get("items") {
            check(items, &format!("{at}[]"));
        }
    }

    #[test]
    fn the_tools_are_what_every_client_can_take() {
        for tool in all() {
            let description = tool.description.as_deref().unwrap();
            assert!((1..=2_048).contains(&text::units(description)), "{}", tool.name);
            check(&Value::Object((*tool.input_schema).clone()), &tool.name);
            assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
            let output = tool.output_schema.unwrap();
            check(&Value::Object((*output).clone()), &tool.name);
            assert_eq!(output["type"], "object", "{}", tool.name);
        }
    }

    #[test]
    fn a_choice_is_an_enum_and_what_may_be_left_out_is_not_required() {
        let input = |index: usize| Value::Object((*all()[index].input_schema).clone());
        let scope = &input(0)["properties"]["scope"];
        assert_eq!(scope["type"], "string");
        assert_eq!(scope["enum"], serde_json::json!(["machine", "directory", "repo"]));
        let send = input(1);
        assert_eq!(send["required"], serde_json::json!(["to_id", "message"]));
        assert_eq!(send["properties"]["wait_seconds"]["type"], "integer");
        assert_eq!(send["properties"]["reply_to"]["type"], "string");
    }
}
