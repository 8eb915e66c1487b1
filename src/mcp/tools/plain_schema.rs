//! Schemas in plain words. What derives them knows all of JSON Schema, and clients do not: they
//! warn of a `format` that is Rust's, refuse a list of types, and drop or refuse `oneOf`, `const`
//! and references. So a choice becomes an `enum`, what may be null may be left out, and a number
//! is a number. Results are written accordingly: they have no nulls.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// Words that say nothing a model or a client needs.
const SUPERFLUOUS: [&str; 4] = ["$schema", "title", "format", "default"];

/// The same schema, plainer.
pub fn schema(schema: JsonObject) -> JsonObject {
    let mut object = without_choice(schema);
    for word in SUPERFLUOUS {
        object.shift_remove(word);
    }
    if let Some(Value::Array(types)) = object.get("type") {
        let one = types.iter().find(|kind| **kind != "null").cloned();
        object.insert("type".to_owned(), one.unwrap_or_else(|| json!("string")));
    }
    if let Some(Value::String(words)) = object.get_mut("description") {
        // The source's line breaks are not the sentence's.
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
        *object = schema(std::mem::take(object));
    }
}

/// Of several forms the one that is not null; several constants are an enumeration.
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
            // What was said of this very member is better than what is said of its type.
            object.entry(word).or_insert(value);
        }
    }
    object
}
