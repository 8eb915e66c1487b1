//! `docs/openapi.json`: the API described for programs, made from the types of the wire.
//!
//! It exists in tests only, so that the program does not carry it. After a change of a type or a route:
//!
//! ```sh
//! UPDATE_OPENAPI=1 cargo test --lib openapi
//! ```
//!
//! `tests/it/api` holds the broker's answers against that file.

mod routes;

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::protocol::{ApiError, ErrorCode, PROTOCOL, header};
use routes::{Answer, Audience, ROUTES, Route};

/// Where OpenAPI keeps types.
const DEFINITIONS: &str = "/components/schemas";

const DESCRIPTION: &str = "\
The API of the claude-peers broker, which all its own programs use. `docs/api.md` has examples.\n\n\
**Where.** HTTP/1.1 on the broker's Unix socket (`claude-peers status` prints its path), where the kernel \
says who calls, and on 127.0.0.1, where every route but `GET /health` needs the token that `claude-peers \
token` prints. Requests with an `Origin`, or with a `Host` that is not loopback, are refused.\n\n\
**Who.** A caller acts as `cli`, the person at the command line.\n\n\
**What stays.** The routes with the tag `stable` keep their paths, fields and meanings. Later versions may \
add routes, fields of answers, optional fields of requests, values of enumerations and kinds of events: \
ignore what you do not know. The routes with the tag `internal` are for the program's own processes and \
may change with any version.\n\n\
**Refusals.** Each is an `ApiError`, also for an unknown path (404) and a method that a path does not have \
(405). A refused request has changed nothing.";

/// Returns the whole document.
fn document() -> Value {
    let mut answers = generator(SchemaSettings::draft2020_12().for_serialize());
    let mut requests = generator(SchemaSettings::draft2020_12().for_deserialize());
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut refusals = BTreeMap::new();
    for route in ROUTES {
        let operation = operation(route, &mut requests, &mut answers, &mut refusals);
        paths.entry(route.path).or_default().insert(route.method.to_lowercase(), operation);
    }
    answers.subschema_for::<ApiError>();
    let (mut requests, answers) = (definitions(requests), definitions(answers));
    // A type may be a little different on its two ways: a field that a request may leave out is always in
    // an answer.
    let differing: Vec<String> = requests
        .keys()
        .filter(|name| answers.get(*name).is_some_and(|a| *a != requests[*name]))
        .cloned()
        .collect();
    let mut paths = json!(paths);
    for name in &differing {
        let given = requests.remove(name).unwrap();
        requests.insert(format!("{name}Given"), given);
    }
    for schema in requests.values_mut() {
        point_to_given(schema, &differing);
    }
    each_request(&mut paths, |request| point_to_given(request, &differing));
    requests.extend(answers);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "claude-peers",
            "version": crate::VERSION,
            "description": DESCRIPTION,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "http://127.0.0.1:7899" }],
        "tags": [
            { "name": "stable", "description": "For programs of others." },
            { "name": "internal", "description": "For the program's own processes. May change with any version." },
        ],
        // The first alternative is the Unix socket.
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "What `claude-peers token` prints. Over TCP only." },
                "session": { "type": "apiKey", "in": "header", "name": header::SESSION, "description": "The secret with which a session registered." },
            },
            "headers": {
                "Protocol": { "description": format!("The broker's protocol, {PROTOCOL}."), "schema": { "type": "integer" } },
            },
            "responses": refusals,
            "schemas": requests,
        },
    });
    plain_words(&mut document);
    document
}

fn generator(settings: SchemaSettings) -> SchemaGenerator {
    settings
        .with(|settings| {
            settings.definitions_path = DEFINITIONS.into();
            settings.meta_schema = None;
        })
        .into_generator()
}

fn definitions(mut generator: SchemaGenerator) -> BTreeMap<String, Value> {
    generator.take_definitions(true).into_iter().collect()
}

fn operation(
    route: &Route,
    requests: &mut SchemaGenerator,
    answers: &mut SchemaGenerator,
    refusals: &mut BTreeMap<String, Value>,
) -> Value {
    let tag = match route.audience {
        Audience::Stable => "stable",
        Audience::Internal => "internal",
    };
    let mut parameters =
        route.query.map(|query| parameters(&query(requests).into())).unwrap_or_default();
    if route.once {
        parameters.push(json!({
            "name": header::IDEMPOTENCY_KEY,
            "in": "header",
            "description": "Random for each write. A repetition with the same key and body within a day gets the first answer, and nothing is done twice.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        }));
    }
    let mut responses = BTreeMap::from([("200".to_owned(), success(&route.answer, answers))]);
    for (status, codes) in by_status(&route.errors()) {
        let name = name_of_refusal(&codes);
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        refusals.insert(name, refusal(&codes));
        responses.insert(status.to_string(), reference);
    }
    let mut operation = json!({
        "operationId": route.id,
        "tags": [tag],
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = route.body {
        let schema: Value = body(requests).into();
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    match route.caller {
        routes::Caller::Anybody => operation["security"] = json!([{}]),
        routes::Caller::Owner => {}
        routes::Caller::Session => {
            operation["security"] = json!([{ "session": [] }, { "token": [], "session": [] }]);
        }
    }
    operation
}

fn success(answer: &Answer, answers: &mut SchemaGenerator) -> Value {
    let content = match answer {
        Answer::Json(of) => {
            let schema: Value = of(answers).into();
            json!({ "application/json": { "schema": schema } })
        }
        Answer::Page => json!({ "text/html": { "schema": { "type": "string" } } }),
        Answer::Events(of) => {
            let event: Value = of(answers).into();
            json!({ "text/event-stream": {
                "schema": { "type": "string", "description": "Server-sent events: each `data:` line is one JSON object of the schema `x-event`." },
                "x-event": event,
            } })
        }
    };
    let headers = json!({ header::PROTOCOL: { "$ref": "#/components/headers/Protocol" } });
    json!({ "description": "Done.", "headers": headers, "content": content })
}

/// Returns the codes by the HTTP status that carries them.
fn by_status(codes: &[ErrorCode]) -> BTreeMap<u16, Vec<String>> {
    let mut found: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in codes {
        found.entry(code.status()).or_default().push(code.to_string());
    }
    found
}

/// Returns a name such as `UnauthorizedOrUnknownSession`.
fn name_of_refusal(codes: &[String]) -> String {
    let capital = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    let name = |code: &String| code.split('_').map(capital).collect::<String>();
    codes.iter().map(name).collect::<Vec<_>>().join("Or")
}

fn refusal(codes: &[String]) -> Value {
    let words: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    json!({
        "description": words.join(", "),
        "content": { "application/json": { "schema": { "allOf": [
            { "$ref": "#/components/schemas/ApiError" },
            { "properties": { "code": { "enum": codes } } },
        ] } } },
    })
}

/// Returns the fields of a query's type as parameters.
fn parameters(query: &Value) -> Vec<Value> {
    let required = query["required"].as_array().cloned().unwrap_or_default();
    let fields = query["properties"].as_object().unwrap();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().unwrap().remove("description");
        let mut parameter = json!({
            "name": name,
            "in": "query",
            "required": required.contains(&json!(name)),
            "schema": without_null(schema),
        });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    };
    fields.iter().map(parameter).collect()
}

/// A query cannot say null: it leaves the parameter out.
fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
        if let [only] = any.as_slice() {
            return only.clone();
        }
    }
    schema
}

/// Calls `change` with the body and the parameters of each operation.
fn each_request(paths: &mut Value, mut change: impl FnMut(&mut Value)) {
    for path in paths.as_object_mut().unwrap().values_mut() {
        for operation in path.as_object_mut().unwrap().values_mut() {
            change(&mut operation["parameters"]);
            if let Some(body) = operation.get_mut("requestBody") {
                change(body);
            }
        }
    }
}

/// Has the references to these types point to their forms in requests.
fn point_to_given(schema: &mut Value, types: &[String]) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && types.iter().any(|name| target.ends_with(&format!("/{name}")))
            {
                target.push_str("Given");
            }
            fields.values_mut().for_each(|field| point_to_given(field, types));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point_to_given(item, types)),
        _ => {}
    }
}

/// Makes descriptions, which are doc comments, readable where no link leads anywhere.
fn plain_words(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => {
                        *text = text.replace("[`", "`").replace("`]", "`");
                    }
                    field => plain_words(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_words),
        _ => {}
    }
}

fn file() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json")
}

#[test]
#[allow(clippy::disallowed_methods)] // a variable of the test, not of the program
fn the_description_is_that_of_the_types() {
    let text = format!("{:#}\n", document());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(file(), &text).unwrap();
    }
    let written = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(
        written == text,
        "docs/openapi.json is stale: UPDATE_OPENAPI=1 cargo test --lib openapi"
    );
}

/// The routes as the broker's router has them: the name of the path, and the method.
fn routed() -> Vec<(String, String)> {
    let router = include_str!("../../broker/http/mod.rs");
    let mut found = Vec::new();
    for line in router.lines().filter_map(|line| line.trim().strip_prefix(".route(route::")) {
        let (name, methods) = line.split_once(',').unwrap();
        for method in ["get", "post", "put", "delete", "patch", "any"] {
            if methods.contains(&format!(" {method}(")) || methods.contains(&format!(".{method}("))
            {
                found.push((name.to_owned(), method.to_uppercase()));
            }
        }
    }
    found.sort();
    found
}

/// The constant that holds a path.
fn name_of(path: &str) -> String {
    let constants = include_str!("../mod.rs");
    let value = format!(": &str = \"{path}\";");
    let line = constants.lines().find(|line| line.ends_with(&value)).unwrap();
    line.trim().strip_prefix("pub const ").unwrap().split(':').next().unwrap().to_owned()
}

#[test]
fn every_route_of_the_broker_is_described_and_no_other() {
    let mut described: Vec<(String, String)> =
        ROUTES.iter().map(|route| (name_of(route.path), route.method.to_owned())).collect();
    described.sort();
    assert_eq!(routed(), described);
    assert!(described.len() > 20);
}
