//! The tools' arguments. Their doc comments are what the model reads in the schema.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lenient::or_default;
use crate::protocol::peers::Scope;
use crate::text;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPeersArguments {
    /// Which sessions: all on this machine, those in the same directory, or those in the same git
    /// repository, its worktrees and subdirectories included. Left out: machine.
    #[serde(default, deserialize_with = "or_default")]
    pub scope: Scope,
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
    /// Wait up to so many seconds for the peer's answer and return it: at most 110, fewer in some
    /// clients. Left out: return at once; an answer then arrives like any message.
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSummaryArguments {
    /// One or two sentences: what this session works on. At most 500 characters.
    pub summary: String,
    /// A short name for this session, so that others can write to it by name: lower-case
    /// letters, digits, '.', '_' and '-'. Left out, the name stays as it is.
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckMessagesArguments {
    /// If nothing is there, wait up to so many seconds for the next message: at most 110, fewer in
    /// some clients. Left out: return at once.
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

/// Reads a tool's arguments; the error names what is wrong in words that help a model.
///
/// # Errors
///
/// What is missing, unknown, or of the wrong type.
pub fn read<T: DeserializeOwned>(tool: &str, arguments: Option<JsonObject>) -> Result<T, String> {
    let arguments = arguments.unwrap_or_default();
    serde_json::from_value(arguments.clone().into()).map_err(|error| {
        let which = culprit::<T>(&arguments).map(|name| format!("`{name}`: ")).unwrap_or_default();
        not_right(tool, &format!("{which}{error}"))
    })
}

/// Arguments that have no names at all.
pub fn no_object(tool: &str) -> String {
    not_right(tool, "an object with a member for each argument is needed")
}

fn not_right(tool: &str, what: &str) -> String {
    let what = text::line(what, 300);
    format!(
        "The arguments of {tool} are not right: {what}. Correct them and call again; nothing was done."
    )
}

/// The argument whose value is wrong. The error itself names only one that is missing or unknown.
fn culprit<T: DeserializeOwned>(arguments: &JsonObject) -> Option<&str> {
    let named =
        |error: &str| error.starts_with("missing field") || error.starts_with("unknown field");
    let is_wrong = |(name, value): &(&String, &serde_json::Value)| {
        let alone = JsonObject::from_iter([((*name).clone(), (*value).clone())]);
        serde_json::from_value::<T>(alone.into()).is_err_and(|error| !named(&error.to_string()))
    };
    arguments.iter().find(is_wrong).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &serde_json::Value) -> Option<JsonObject> {
        json.as_object().cloned()
    }

    #[test]
    fn wrong_arguments_are_told_by_name() {
        let error = read::<SendMessageArguments>(
            "send_message",
            object(&serde_json::json!({ "to_id": "x" })),
        )
        .unwrap_err();
        assert!(error.contains("message") && error.contains("send_message"), "{error}");
        let error = read::<ListPeersArguments>(
            "list_peers",
            object(&serde_json::json!({ "scope": "galaxy" })),
        )
        .unwrap_err();
        assert!(error.contains("galaxy") && error.contains("machine"), "{error}");
        assert!(error.contains("`scope`"), "{error}");
        let error = read::<SendMessageArguments>(
            "send_message",
            object(&serde_json::json!({ "to_id": "x", "message": 5 })),
        )
        .unwrap_err();
        assert!(error.contains("`message`") && error.contains("string"), "{error}");
        let error = read::<CheckMessagesArguments>(
            "check_messages",
            object(&serde_json::json!({ "x": 1 })),
        )
        .unwrap_err();
        assert!(error.contains('x'), "{error}");
        assert!(read::<ListPeersArguments>("list_peers", None).is_ok());
        let null = object(&serde_json::json!({ "scope": null }));
        assert_eq!(read::<ListPeersArguments>("list_peers", null).unwrap().scope, Scope::Machine);
    }
}
