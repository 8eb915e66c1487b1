//! Documentation: `docs/openapi.json` is true of the broker: each route, answer and refusal is held against it.

mod examples;
mod refusals;
mod schema;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::support::http::{Answer, RawPeer, Request, unix};
use crate::support::{Sandbox, until};
use schema::Description;

/// What is sent: its query, its body, and as which session.
#[derive(Default)]
struct Call<'a> {
    query: &'a str,
    body: Option<Value>,
    session: Option<&'a RawPeer>,
    over_tcp: bool,
}

fn with(body: Value) -> Call<'static> {
    Call { body: Some(body), ..Call::default() }
}

fn asking(query: &str) -> Call<'_> {
    Call { query, ..Call::default() }
}

impl<'a> Call<'a> {
    fn by(self, session: &'a RawPeer) -> Self {
        Self { session: Some(session), ..self }
    }

    fn over_tcp(self) -> Self {
        Self { over_tcp: true, ..self }
    }

    fn request(&self, description: &Description, id: &str) -> Request {
        let (method, path, _) = description.operation(id);
        let path = format!("{path}{}", self.query);
        let request = match &self.body {
            Some(body) => Request::post(&path, body),
            None => Request::new(&method.to_uppercase(), &path),
        };
        match self.session {
            Some(session) => request.session(&session.secret),
            None => request,
        }
    }
}

/// Holds a valid request and its answer against the description.
#[track_caller]
fn succeeds(sandbox: &Sandbox, description: &Description, id: &str, call: &Call<'_>) -> Value {
    let (_, _, operation) = description.operation(id);
    if let Some(body) = &call.body {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(description.faults(schema, body), Vec::<String>::new(), "{id}");
    }
    let known = operation["parameters"].as_array().unwrap();
    for field in call.query.trim_start_matches('?').split('&').filter(|field| !field.is_empty()) {
        let name = field.split('=').next().unwrap();
        assert!(
            known.iter().any(|one| one["name"] == name && one["in"] == "query"),
            "{id}: {name}"
        );
    }
    let success = &operation["responses"]["200"]["content"];
    let request = call.request(description, id);
    if let Some(stream) = success.get("text/event-stream") {
        let event = first_event(sandbox, &request);
        assert_eq!(description.faults(&stream["x-event"], &event), Vec::<String>::new(), "{id}");
        return event;
    }
    let answer = if call.over_tcp { from_page(sandbox, request) } else { request.unix(sandbox) };
    assert_eq!(answer.status, 200, "{id}: {}", String::from_utf8_lossy(&answer.body));
    if success.get("text/html").is_some() {
        assert!(answer.head.contains("content-type: text/html"), "{}", answer.head);
        return Value::Null;
    }
    let schema = &success["application/json"]["schema"];
    assert_eq!(description.faults(schema, &answer.json()), Vec::<String>::new(), "{id}");
    answer.json()
}

/// Holds a refusal against the description; returns its code.
#[track_caller]
fn refused(description: &Description, id: &str, answer: &Answer) -> String {
    let (_, _, operation) = description.operation(id);
    let (status, code) = answer.refusal();
    let response = operation["responses"].get(status.to_string());
    let response =
        response.unwrap_or_else(|| panic!("{id} does not say that it may answer {status} {code}"));
    assert_ne!(status, 200, "{id}: {}", String::from_utf8_lossy(&answer.body));
    let schema = &description.resolved(response)["content"]["application/json"]["schema"];
    assert_eq!(description.faults(schema, &answer.json()), Vec::<String>::new(), "{id}");
    code
}

/// Sends a request over TCP as the page does.
fn from_page(sandbox: &Sandbox, request: Request) -> Answer {
    let host = format!("127.0.0.1:{}", sandbox.port());
    // A browser names it for what a script sends, and not for a page that is opened.
    let request =
        if request.is_post() { request.with("Origin", &format!("http://{host}")) } else { request };
    request.with("Host", &host).tcp(sandbox)
}

/// Opens an event stream, and returns its first event.
fn first_event(sandbox: &Sandbox, request: &Request) -> Value {
    let mut stream = unix(sandbox);
    stream.write_all(&request.bytes()).unwrap();
    let (mut read, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read);
        if let Some((_, event)) = text.split_once("data: ")
            && let Some((event, _)) = event.split_once("\n\n")
        {
            assert!(text.contains("content-type: text/event-stream\r\n"), "{text}");
            return serde_json::from_str(event).unwrap();
        }
    }
}

/// A registration by hand, as a server would send it.
fn registration(name: &str) -> Value {
    json!({
        "instance": format!("instance-{name}"), "secret": format!("secret-of-{name}-{}", "x".repeat(32)), "session": name,
        "cwd": "/srv", "channel": "absent", "probe": name == "probe",
    })
}

/// Every operation is called with a request that it takes, and one that it does not.
#[test]
fn every_operation_answers_as_described() {
    let (sandbox, description) = (Sandbox::new(), Description::read());
    description.check_references();
    let mut broker = sandbox.start_broker();
    let backend = RawPeer::register(&sandbox, "backend");
    let frontend = RawPeer::register(&sandbox, "frontend");
    // Its stream makes it live.
    let mut live = unix(&sandbox);
    live.write_all(&Request::get("/v1/stream").session(&frontend.secret).bytes()).unwrap();
    until("the session is live", || sandbox.live_names() == ["frontend"]);
    let hook = json!({ "event": "Stop", "session": "raw-frontend" });
    let question = sandbox.json(["send", "backend", "a question"])["id"].clone();
    let wrong = json!({ "unheard-of": true });

    let calls: Vec<(&str, Call<'_>)> = vec![
        ("health", Call::default()),
        ("listPeers", asking("?scope=machine&all=true&limit=2&name=b")),
        ("listPeers", Call::default().by(&frontend)),
        (
            "sendMessage",
            with(json!({ "to": "frontend", "text": "GET /orders returns a cursor now" })),
        ),
        (
            "sendMessage",
            with(json!({ "to": "cli", "text": "Done.", "reply_to": question })).by(&backend),
        ),
        (
            "listMessages",
            asking("?limit=5&peer=backend&sent=false&state=read,queued&since=2026-01-01T00:00:00Z"),
        ),
        ("listMessages", asking("?search=cursor")),
        (
            "sendBatch",
            with(json!({ "messages": [
            { "key": "one", "message": { "to": "frontend", "text": "first" } },
            { "key": "two", "message": { "to": "nobody", "text": "second" } },
        ] })),
        ),
        ("sendToScope", with(json!({ "scope": "machine", "text": "Rebase before you push" }))),
        ("takeAnswer", Call { query: "?wait_seconds=1", ..with(json!({ "id": question })) }),
        ("takeMail", Call { query: "?wait_seconds=1", ..with(json!({ "max_bytes": 1000 })) }),
        ("takeMail", with(json!({})).by(&frontend)),
        ("confirmMail", with(json!({ "ids": [question] }))),
        ("observe", asking("?recent=10")),
        ("prune", with(json!({ "older_than": 90 * 24 * 3600, "dry_run": true }))),
        ("brief", asking("?session=raw-frontend")),
        ("brief", Call::default()),
        ("register", with(registration("another"))),
        ("setProfile", with(json!({ "summary": "Builds the checkout page." })).by(&frontend)),
        ("pushesWritten", with(json!({ "ids": [question] })).by(&frontend)),
        ("hook", with(hook)),
        ("hookMoved", with(json!({ "session": "raw-frontend", "cwd": "/srv/elsewhere" }))),
        ("hookWritten", with(json!({ "session": "raw-frontend", "turn": "t", "ids": [question] }))),
        ("toolAnswered", with(json!({})).by(&frontend)),
        ("sendMessage", with(json!({ "to": "frontend", "text": "Wake up." }))),
        ("awaitWake", Call { query: "?look_in=1", ..with(json!({ "session": "raw-frontend" })) }),
        ("wakeGiven", with(json!({ "peer": frontend.id, "upto": 1 }))),
        ("wakeLooked", with(json!({ "peer": frontend.id, "turn": 1, "idle": true }))),
        ("stream", Call::default().by(&backend)),
        ("startAfresh", with(json!({}))),
    ];
    let mut called: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, call) in &calls {
        succeeds(&sandbox, &description, id, call);
        *called.entry(id).or_default() += 1;
    }
    // A probe is unregistered, and is the only one that can be.
    let answer = Request::post("/v1/register", &registration("probe")).unix(&sandbox);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let probe = RawPeer {
        secret: registration("probe")["secret"].as_str().unwrap().to_owned(),
        id: String::new(),
        name: String::new(),
        instance: String::new(),
    };
    succeeds(&sandbox, &description, "unregister", &with(json!({})).by(&probe));
    // The page: a link is good once.
    let link = succeeds(&sandbox, &description, "linkPage", &with(json!({})))["url"].clone();
    let code = json!({ "code": link.as_str().unwrap().split_once('#').unwrap().1 });
    succeeds(&sandbox, &description, "showPage", &Call::default().over_tcp());
    succeeds(&sandbox, &description, "openPage", &with(code.clone()).over_tcp());
    succeeds(&sandbox, &description, "awaitVisit", &with(code.clone()));
    let proof = with(json!({ "until": "0", "nonce": "n" })).over_tcp();
    succeeds(&sandbox, &description, "provePage", &proof);
    let again = with(code).request(&description, "openPage");
    let again = from_page(&sandbox, again);
    assert_eq!(refused(&description, "openPage", &again), "unauthorized");
    for (id, method, ..) in description.operations() {
        let call = if method == "post" { with(wrong.clone()) } else { asking("?unheard-of=true") };
        let answer = call.request(&description, id).unix(&sandbox);
        let has_query = ["listPeers", "listMessages", "observe", "brief"].contains(&id);
        if method == "post" || has_query {
            assert_eq!(refused(&description, id, &answer), "bad_request", "{id}");
        }
    }
    succeeds(&sandbox, &description, "shutdown", &with(json!({})));
    broker.wait().unwrap();
    drop(live);
    let elsewhere =
        ["unregister", "shutdown", "linkPage", "showPage", "openPage", "awaitVisit", "provePage"];
    let called: Vec<&str> = called.into_keys().chain(elsewhere).collect();
    for (id, ..) in description.operations() {
        assert!(called.contains(&id), "nothing calls {id}");
    }
}
