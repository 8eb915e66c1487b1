//! The four tools: their names, and what `tools/list` shows of them.

mod arguments;
pub mod calls;
mod history;
mod reading;
pub mod results;
mod schema;
mod sends;
pub mod waiting;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::mcp::tools::results::{
    CheckMessagesResult, ListPeersResult, SendMessageResult, SetSummaryResult,
};
use crate::protocol::js_json;
use crate::protocol::scope::{PREFIX, Scope};

/// One of our tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolName {
    ListPeers,
    SendMessage,
    SetSummary,
    CheckMessages,
}

impl ToolName {
    /// All tools, in the order in which they are listed.
    pub const ALL: [Self; 4] =
        [Self::ListPeers, Self::SendMessage, Self::SetSummary, Self::CheckMessages];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListPeers => "list_peers",
            Self::SendMessage => "send_message",
            Self::SetSummary => "set_summary",
            Self::CheckMessages => "check_messages",
        }
    }

    fn definition(self) -> Tool {
        match self {
            Self::ListPeers => tool::<ListPeersArguments, ListPeersResult>(
                self,
                "List the other sessions on this machine: id, name, directory, what each works on, and how a message reaches it. Begins with who you are. Reachability: channel_proven: pushes have arrived there; channel_presumed: messages are pushed, but it is not known whether they are shown; hooks: its hooks show messages at its next step; tools: it sees messages when it calls a claude-peers tool; inbox: a person at the command line; away: messages wait for it; ended: it cannot come back.",
                annotations(true),
            ),
            Self::SendMessage => tool::<SendMessageArguments, SendMessageResult>(
                self,
                "Send a message to another session. It is stored before this returns, and waits if the session is away. With scope:repo, scope:directory or scope:machine it goes to all live sessions there, at most 50: only for what concerns them all. The result says how far the message got; that it was offered does not mean that it was read. With wait_seconds it waits for the peer's answer and returns it; use that when you cannot go on without the answer.",
                annotations(false),
            ),
            Self::SetSummary => tool::<SetSummaryArguments, SetSummaryResult>(
                self,
                "Tell the other sessions in one or two sentences what this session works on, and optionally give it a name.",
                annotations(true),
            ),
            Self::CheckMessages => tool::<CheckMessagesArguments, CheckMessagesResult>(
                self,
                "Show the messages from other sessions that this session has not read yet, and which of its own messages are still unread. A subagent must hand the messages on to its main session word for word.",
                annotations(false),
            ),
        }
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ToolName {
    /// There is no tool of that name.
    type Err = ();

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == name).ok_or(())
    }
}

/// Returns the definitions of all tools, in the order in which they are listed.
#[must_use]
pub fn definitions() -> Vec<Tool> {
    ToolName::ALL.map(ToolName::definition).to_vec()
}

// The doc comments of the arguments are what the model reads in the schema.

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPeersArguments {
    /// Which sessions: all on this machine, those in the same directory, or those in the same git
    /// repository, including its worktrees and subdirectories. Default: machine.
    #[serde(default, deserialize_with = "scope")]
    #[schemars(schema_with = "scope_schema")]
    pub scope: Scope,
    /// Only names that begin so.
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessageArguments {
    /// The peer to write to: its id, its name, or an unambiguous prefix of either. To reach all
    /// live sessions at once: scope:repo, scope:directory or scope:machine.
    pub to_id: String,
    /// The text. The peer sees nothing else of this conversation.
    pub message: String,
    /// The message_id of the message that this one answers.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Seconds to wait for the peer's answer, which is then returned: at most 110, fewer in some
    /// clients. Default: return at once; an answer then arrives like any message.
    #[serde(default, deserialize_with = "js_json::lenient_seconds")]
    pub wait_seconds: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSummaryArguments {
    /// One or two sentences: what this session works on. At most 500 characters.
    pub summary: String,
    /// A short name for this session, so that others can write to it by name: letters of any
    /// script, digits, '.', '_' and '-'. Default: the name stays as it is.
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckMessagesArguments {
    /// Seconds to wait for the next message if there is none yet, at most 110.
    #[serde(default, deserialize_with = "js_json::lenient_seconds")]
    pub wait_seconds: Option<u64>,
    /// Show earlier messages instead: a message_id, a peer, or words.
    #[serde(default)]
    pub history: Option<String>,
}

/// The wire type carries no schema: its doc comments are not written for a model.
fn scope_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Scope::ALL.map(Scope::as_str) })
}

/// Reads a scope's word in upper or lower case, with or without the prefix; an empty one is the
/// default.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    let given = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    let word = given.trim().to_lowercase();
    let word = word.strip_prefix(PREFIX).map_or(word.as_str(), str::trim);
    if word.is_empty() {
        return Ok(Scope::default());
    }
    Scope::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| {
        serde::de::Error::custom(format!("expected machine, directory or repo, not {given:?}"))
    })
}

fn tool<A: JsonSchema, R: JsonSchema>(
    name: ToolName,
    description: &'static str,
    annotations: ToolAnnotations,
) -> Tool {
    let mut tool = Tool::new(name.as_str(), description, schema::<A>())
        .with_raw_output_schema(schema::<R>())
        .with_annotations(annotations);
    let mut meta = MetaObject::default();
    meta.0.insert("anthropic/maxResultSizeChars".to_owned(), reading::CLAUDE_CODE_CHARS.into());
    tool.meta = Some(meta);
    tool
}

/// Returns a type's schema in the few keywords of JSON Schema that every client knows.
fn schema<T: JsonSchema>() -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = schema::simplify(schema.as_object().cloned().unwrap_or_default());
    object.entry("properties").or_insert_with(|| serde_json::json!({}));
    Arc::new(object)
}

/// Returns the annotations of a tool.
///
/// The specification (MCP 2025-11-25, `ToolAnnotations`) calls a tool read-only if it "does not
/// modify its environment", and does not define the environment. We take it to be what a session
/// works on: files, processes, services. None of our tools changes any of that. A message is a note
/// in our own mailbox; what its reader makes of it happens in the reader's session and under its
/// permissions. Which messages count as read, and how a session describes itself, is our own
/// bookkeeping.
///
/// It matters in plan mode: Claude Code then refuses all tools that are not read-only, whatever its
/// rules say. A session that plans must be able to read its messages and to ask.
fn annotations(idempotent: bool) -> ToolAnnotations {
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

    /// Checks a schema and all schemas in it; `at` is the path to it.
    fn check(schema: &Value, at: &str) {
        const KEYWORDS: [&str; 8] = [
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
        for keyword in object.keys() {
            assert!(KEYWORDS.contains(&keyword.as_str()), "{at}: {keyword}");
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
        for tool in definitions() {
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
        let input = |index: usize| Value::Object((*definitions()[index].input_schema).clone());
        let scope = &input(0)["properties"]["scope"];
        assert_eq!(scope["type"], "string");
        assert_eq!(scope["enum"], serde_json::json!(["machine", "directory", "repo"]));
        let send = input(1);
        assert_eq!(send["required"], serde_json::json!(["to_id", "message"]));
        assert_eq!(send["properties"]["wait_seconds"]["type"], "integer");
        assert_eq!(send["properties"]["reply_to"]["type"], "string");
    }
}
