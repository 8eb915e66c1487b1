//! The tools' arguments. Their doc comments are what the model reads in the schema.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::protocol::js_json;
use crate::protocol::peers::Scope;
use crate::protocol::scope::PREFIX;
use crate::text;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPeersArguments {
    /// Which sessions: all on this machine, those in the same directory, or those in the same git
    /// repository, its worktrees and subdirectories included. Left out: machine.
    #[serde(default, deserialize_with = "scope")]
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
    #[serde(default, deserialize_with = "js_json::seconds")]
    pub wait_seconds: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSummaryArguments {
    /// One or two sentences: what this session works on. At most 500 characters.
    pub summary: String,
    /// A short name for this session, so that others can write to it by name: letters of any
    /// script, digits, '.', '_' and '-'. Left out, the name stays as it is.
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckMessagesArguments {
    /// If nothing is there, wait up to so many seconds for the next message: at most 110, fewer in
    /// some clients. Left out: return at once.
    #[serde(default, deserialize_with = "js_json::seconds")]
    pub wait_seconds: Option<u64>,
}

/// A scope's word, in any letters; none is the default.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    let said = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    let word = said.trim().to_lowercase();
    let word = word.strip_prefix(PREFIX).map_or(word.as_str(), str::trim);
    if word.is_empty() {
        return Ok(Scope::default());
    }
    Scope::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| {
        D::Error::custom(format!("there is no scope {said:?}, only machine, directory and repo"))
    })
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
        for (word, scope) in [
            (serde_json::json!(null), Scope::Machine),
            (serde_json::json!(""), Scope::Machine),
            (serde_json::json!(" Repo "), Scope::Repo),
            (serde_json::json!("scope:directory"), Scope::Directory),
        ] {
            let arguments = object(&serde_json::json!({ "scope": word }));
            let read = read::<ListPeersArguments>("list_peers", arguments).unwrap();
            assert_eq!(read.scope, scope, "{word}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_told_by_name() {
        for wrong in [serde_json::json!("soon"), serde_json::json!(-1), serde_json::json!(true)] {
            let arguments = object(&serde_json::json!({ "wait_seconds": wrong }));
            let error = read::<CheckMessagesArguments>("check_messages", arguments).unwrap_err();
            assert!(error.contains("`wait_seconds`"), "{error}");
            assert!(error.contains("a number of seconds from 0 on"), "{error}");
        }
    }
}
