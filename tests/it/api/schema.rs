//! Documentation: JSON against the schemas of `docs/openapi.json`, as far as these go.

use serde_json::Value;

/// `docs/openapi.json`.
pub struct Description(Value);

/// Words of a schema that demand nothing.
const NOTES: [&str; 5] = ["title", "description", "default", "example", "examples"];

impl Description {
    pub fn read() -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        Self(serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
    }

    /// The operations by their ids: method, path, and what is said of them.
    pub fn operations(&self) -> Vec<(&str, &str, &str, &Value)> {
        let paths = self.0["paths"].as_object().unwrap();
        let methods = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| {
                let id = operation["operationId"].as_str().unwrap();
                (id, method.as_str(), path.as_str(), operation)
            })
        });
        methods.collect()
    }

    pub fn operation(&self, id: &str) -> (&str, &str, &Value) {
        let found = self.operations().into_iter().find(|one| one.0 == id);
        let (_, method, path, operation) = found.unwrap_or_else(|| panic!("no operation {id}"));
        (method, path, operation)
    }

    /// All codes of refusals.
    pub fn codes(&self) -> Vec<String> {
        let codes = &self.0["components"]["schemas"]["ErrorCode"];
        let plain = codes["enum"].as_array().cloned().unwrap_or_default();
        let described = codes["oneOf"].as_array().cloned().unwrap_or_default();
        let described = described.into_iter().map(|one| one["const"].clone());
        plain.into_iter().chain(described).map(|code| code.as_str().unwrap().to_owned()).collect()
    }

    /// The codes with which an operation may refuse.
    pub fn codes_of(&self, id: &str) -> Vec<String> {
        let (_, _, operation) = self.operation(id);
        let refusals =
            operation["responses"].as_object().unwrap().iter().filter(|one| one.0 != "200");
        let codes = refusals.flat_map(|(_, response)| {
            let schema =
                &self.resolved(response)["content"]["application/json"]["schema"]["allOf"][1];
            schema["properties"]["code"]["enum"].as_array().unwrap()
        });
        codes.map(|code| code.as_str().unwrap().to_owned()).collect()
    }

    /// A response, or what it refers to.
    pub fn resolved<'a>(&'a self, response: &'a Value) -> &'a Value {
        response["$ref"].as_str().map_or(response, |reference| self.target(reference))
    }

    /// Whether a value is of a schema; what is wrong with it, by its place.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Value::Object(words) = schema else {
            assert_eq!(schema, &Value::Bool(true), "{at}: no schema");
            return;
        };
        let mut fault = |what: String| faults.push(format!("{at}: {what}: {value}"));
        for (word, demand) in words {
            match word.as_str() {
                "type" if !is_of_type(demand, value) => fault(format!("not of type {demand}")),
                "const" if demand != value => fault(format!("not {demand}")),
                "enum" if !demand.as_array().unwrap().contains(value) => {
                    fault(format!("none of {demand}"));
                }
                "minimum" if value.as_f64().is_some_and(|n| n < demand.as_f64().unwrap()) => {
                    fault(format!("less than {demand}"));
                }
                "maximum" if value.as_f64().is_some_and(|n| n > demand.as_f64().unwrap()) => {
                    fault(format!("more than {demand}"));
                }
                "format" if *demand == "date-time" => {
                    let text = value.as_str().unwrap_or_default();
                    let is_time = humantime::parse_rfc3339(text).is_ok();
                    if !(is_time || value.is_null()) {
                        fault("no moment".to_owned());
                    }
                }
                "required" if value.is_object() => {
                    for name in demand.as_array().unwrap() {
                        if value.get(name.as_str().unwrap()).is_none() {
                            fault(format!("{name} is missing"));
                        }
                    }
                }
                "oneOf" => {
                    let all = demand.as_array().unwrap();
                    let fit = all.iter().filter(|one| self.faults(one, value).is_empty()).count();
                    if fit != 1 {
                        fault(format!("{fit} of {} alternatives fit", all.len()));
                    }
                }
                "anyOf" => {
                    let all = demand.as_array().unwrap();
                    if !all.iter().any(|one| self.faults(one, value).is_empty()) {
                        fault("no alternative fits".to_owned());
                    }
                }
                _ => {}
            }
        }
        self.check_parts(schema, value, at, faults);
    }

    /// What a schema demands of the parts of a value.
    fn check_parts(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        for (word, demand) in schema.as_object().unwrap() {
            match word.as_str() {
                "$ref" => self.check(self.target(demand.as_str().unwrap()), value, at, faults),
                "allOf" => {
                    for one in demand.as_array().unwrap() {
                        self.check(one, value, at, faults);
                    }
                }
                "properties" => {
                    for (name, schema) in demand.as_object().unwrap() {
                        if let Some(field) = value.get(name) {
                            self.check(schema, field, &format!("{at}/{name}"), faults);
                        }
                    }
                }
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(demand, item, &format!("{at}/{n}"), faults);
                    }
                }
                "additionalProperties" => {
                    assert_eq!(demand, &Value::Bool(false), "{at}");
                    for (name, _) in value.as_object().into_iter().flatten() {
                        if schema["properties"].get(name).is_none() {
                            faults.push(format!("{at}: {name} is not known"));
                        }
                    }
                }
                "type" | "const" | "enum" | "minimum" | "maximum" | "required" | "oneOf"
                | "anyOf" | "format" => {}
                note => assert!(NOTES.contains(&note), "{at}: this check does not know {note}"),
            }
        }
    }

    fn target(&self, reference: &str) -> &Value {
        self.0
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{reference}"))
    }

    /// Every reference leads somewhere.
    pub fn check_references(&self) {
        let mut left = vec![&self.0];
        while let Some(value) = left.pop() {
            if let Some(Value::String(reference)) = value.get("$ref") {
                self.target(reference);
            }
            left.extend(value.as_object().into_iter().flat_map(serde_json::Map::values));
            left.extend(value.as_array().into_iter().flatten());
        }
    }
}

fn is_of_type(demand: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("no type is called {other}"),
    };
    demand.as_array().map_or_else(|| is(demand), |any| any.iter().any(is))
}

/// A check that finds nothing would be none.
#[test]
fn faults_are_found() {
    let description = Description::read();
    let sent = description.operation("sendMessage").2;
    let body = &sent["requestBody"]["content"]["application/json"]["schema"];
    let faults = |value: Value| description.faults(body, &value).join("; ");
    assert_eq!(faults(serde_json::json!({ "to": "a", "text": "b" })), "");
    assert!(faults(serde_json::json!({ "to": "a" })).contains("\"text\" is missing"));
    assert!(faults(serde_json::json!({ "to": 1, "text": "b" })).contains("not of type"));
    assert!(faults(serde_json::json!({ "to": "a", "text": "b", "x": 1 })).contains("not known"));
    assert!(!faults(serde_json::json!([])).is_empty());
}
