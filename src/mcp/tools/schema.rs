//! Makes derived JSON schemas plain enough for every client.
//!
//! The derive macro uses all of JSON Schema, and clients do not know all of it: they warn about a
//! `format` that is Rust's, refuse a list of types, and drop or refuse `oneOf`, `const` and
//! references. So a choice becomes an `enum`, a value that may be null becomes one that may be left
//! out, and a number is a number. Results are written accordingly: they contain no nulls.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// Keywords that neither a model nor a client needs.
const SUPERFLUOUS: [&str; 4] = ["$schema", "title", "format", "default"];

/// Returns the same schema in plain keywords.
pub fn simplify(schema: JsonObject) -> JsonObject {
    let mut object = without_choice(schema);
    for word in SUPERFLUOUS {
        object.shift_remove(word);
    }
    if let Some(Value::Array(types)) = object.get("type") {
        let one = types.iter().find(|kind| **kind != "null").cloned();
        object.insert("type".to_owned(), one.unwrap_or_else(|| json!("string")));
    }
    if let Some(Value::String(words)) = object.get_mut("description") {
        // Line breaks of a doc comment have no meaning.
        *words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (_, property) in properties.iter_mut() {
            replace(property);
        }
    }
    if let Some(items) = object.get_mut("items") {
        replace(items);
    }
    object
}

fn replace(value: &mut Value) {
    if let Value::Object(object) = value {
        *object = simplify(std::mem::take(object));
    }
}

/// Replaces several forms by the one that is not null, and several constants by an `enum`.
fn without_choice(mut object: JsonObject) -> JsonObject {
    let forms = ["oneOf", "anyOf"].iter().find_map(|word| object.shift_remove(*word));
    let Some(Value::Array(mut forms)) = forms else {
        return object;
    };
    forms.retain(|form| form["type"] != "null");
    let constants: Option<Vec<Value>> =
        forms.iter().map(|form| form.get("const").cloned()).collect();
    if let Some(constants) = constants {
        object.insert("type".to_owned(), json!("string"));
        object.insert("enum".to_owned(), Value::Array(constants));
    } else if let Some(Value::Object(form)) = forms.into_iter().next() {
        for (word, value) in without_choice(form) {
            // The description of this member is better than that of its type.
            object.entry(word).or_insert(value);
        }
    }
    object
}
