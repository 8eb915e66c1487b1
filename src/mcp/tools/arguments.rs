//! Reading of a tool's arguments, with errors that name the argument that is wrong.

use std::cell::RefCell;

use rmcp::model::JsonObject;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use crate::mcp::error_text::invalid_arguments;
use crate::mcp::tools::ToolName;

/// Reads a tool's arguments. Their text is moved, not copied.
///
/// # Errors
///
/// A text for the model that names the argument that is missing, unknown or of the wrong type.
pub fn read<T: DeserializeOwned>(
    tool: ToolName,
    arguments: Option<JsonObject>,
) -> Result<T, String> {
    let wrong = RefCell::new(None);
    let mut arguments = arguments.unwrap_or_default().into_iter();
    let named = std::iter::from_fn(|| {
        // The one before was right.
        wrong.take();
        let (name, value) = arguments.next()?;
        Some((name.clone(), Argument { name, value, wrong: &wrong }))
    });
    T::deserialize(MapDeserializer::new(named)).map_err(|error: Error| {
        // The error itself names an argument only if it is missing or unknown.
        let which = wrong.take().map(|name| format!("`{name}`: ")).unwrap_or_default();
        invalid_arguments(tool, &format!("{which}{error}"))
    })
}

/// The value of an argument, which leaves its name as the wrong one until the next is read.
struct Argument<'a> {
    name: String,
    value: Value,
    wrong: &'a RefCell<Option<String>>,
}

impl Argument<'_> {
    fn value(self) -> Value {
        self.wrong.replace(Some(self.name));
        self.value
    }
}

impl IntoDeserializer<'_, Error> for Argument<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Argument<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value().deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value().deserialize_option(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tools::{CheckMessagesArguments, ListPeersArguments, SendMessageArguments};
    use crate::protocol::scope::Scope;

    fn object(json: &Value) -> Option<JsonObject> {
        json.as_object().cloned()
    }

    #[test]
    fn an_error_names_the_wrong_argument() {
        let error = read::<SendMessageArguments>(
            ToolName::SendMessage,
            object(&serde_json::json!({ "to_id": "x" })),
        )
        .unwrap_err();
        assert!(error.contains("message") && error.contains("send_message"), "{error}");
        let error = read::<ListPeersArguments>(
            ToolName::ListPeers,
            object(&serde_json::json!({ "scope": "galaxy" })),
        )
        .unwrap_err();
        assert!(error.contains("galaxy") && error.contains("machine"), "{error}");
        assert!(error.contains("`scope`"), "{error}");
        let error = read::<SendMessageArguments>(
            ToolName::SendMessage,
            object(&serde_json::json!({ "to_id": "x", "message": 5 })),
        )
        .unwrap_err();
        assert!(error.contains("`message`") && error.contains("string"), "{error}");
        let error = read::<CheckMessagesArguments>(
            ToolName::CheckMessages,
            object(&serde_json::json!({ "x": 1 })),
        )
        .unwrap_err();
        assert!(error.contains('x'), "{error}");
        assert!(read::<ListPeersArguments>(ToolName::ListPeers, None).is_ok());
        for (word, scope) in [
            (serde_json::json!(null), Scope::Machine),
            (serde_json::json!(""), Scope::Machine),
            (serde_json::json!(" Repo "), Scope::Repo),
            (serde_json::json!("scope:directory"), Scope::Directory),
        ] {
            let arguments = object(&serde_json::json!({ "scope": word }));
            let read = read::<ListPeersArguments>(ToolName::ListPeers, arguments).unwrap();
            assert_eq!(read.scope, scope, "{word}");
        }
    }

    #[test]
    fn an_error_names_the_argument_that_is_not_a_number() {
        for wrong in [serde_json::json!("soon"), serde_json::json!(-1), serde_json::json!(true)] {
            let arguments = object(&serde_json::json!({ "wait_seconds": wrong }));
            let error =
                read::<CheckMessagesArguments>(ToolName::CheckMessages, arguments).unwrap_err();
            assert!(error.contains("`wait_seconds`"), "{error}");
            assert!(error.contains("a number of seconds from 0 on"), "{error}");
        }
    }
}
