//! Promise 4: HTTP that two readers could read in two ways stops, sends and opens nothing.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::json;

use crate::refusals::World;
use crate::support::Sandbox;
use crate::support::http::{RawPeer, Request, exchange, read_answer, tcp, unix};

/// Sends bytes over a socket, ends our side, and returns the statuses of all answers.
fn statuses(sandbox: &Sandbox, over_tcp: bool, bytes: &[u8]) -> Vec<u16> {
    let all = if over_tcp {
        all_answers(tcp(sandbox), bytes, |stream| stream.shutdown(Shutdown::Write))
    } else {
        all_answers(unix(sandbox), bytes, |stream| stream.shutdown(Shutdown::Write))
    };
    let heads = all.split("HTTP/1.1 ").skip(1);
    heads.filter_map(|head| head.get(..3)?.parse().ok()).collect()
}

fn all_answers<S: Read + Write>(
    mut stream: S,
    bytes: &[u8],
    end: fn(&S) -> std::io::Result<()>,
) -> String {
    let mut all = Vec::new();
    // An error means that the other side has closed; its answer can still be read.
    let _ = stream.write_all(bytes);
    let _ = end(&stream);
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// Each of these hides a request to stop the broker in what one reader takes for a body, or for a
/// header.
#[test]
fn a_request_that_hides_in_another_is_never_carried_out() {
    let world = World::new();
    let token = format!("Authorization: Bearer {}\r\n", world.token);
    let json = "Content-Type: application/json\r\n";
    let stop = format!(
        "POST /v1/shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}{json}Content-Length: 2\r\n\r\n{{}}"
    );
    let length = stop.len();
    let post = format!("POST /v1/mailbox/take HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}{json}");
    let get = format!("GET /v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}");
    let cases: Vec<(&str, String)> = vec![
        (
            "a length and chunks",
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "chunks and a length that covers a request",
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n{length:x}\r\n{stop}\r\n0\r\n\r\n",
                length + 20
            ),
        ),
        (
            "two lengths",
            format!("{post}Content-Length: 2\r\nContent-Length: {}\r\n\r\n{{}}", length + 2),
        ),
        ("two lengths in one", format!("{post}Content-Length: 2, {length}\r\n\r\n{{}}")),
        ("a length with a sign", format!("{post}Content-Length: +{length}\r\n\r\n{stop}")),
        ("a length of another base", format!("{post}Content-Length: 0x{length:x}\r\n\r\n{stop}")),
        (
            "an encoding that is no chunks",
            format!("{post}Transfer-Encoding: identity, gzip\r\n\r\n{stop}"),
        ),
        (
            "chunks that are not the last encoding",
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        ),
        (
            "a chunk with a sign",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n+{length:x}\r\n{stop}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk that is huge",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n{stop}"),
        ),
        (
            "a header of two lines",
            format!("{post}X-Folded: a\r\n {stop}\r\nContent-Length: 2\r\n\r\n{{}}"),
        ),
        ("a header with a space", format!("{post}Content-Length : {length}\r\n\r\n{stop}")),
        ("a bare return", format!("{post}X: a\rContent-Length: 2\r\n\r\n{{}}")),
        ("a body of a get", format!("{get}Content-Length: {length}\r\n\r\n{stop}")),
        ("no version", format!("GET /health\r\n{}", "")),
        (
            "an upgrade",
            format!(
                "{get}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n\r\n{stop}"
            ),
        ),
        (
            "a trailer with a token",
            format!(
                "POST /v1/mailbox/take HTTP/1.1\r\nHost: 127.0.0.1\r\n{json}Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n{token}\r\n"
            ),
        ),
        (
            "a request to expect",
            format!("{post}Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{{}}"),
        ),
    ];
    for (what, request) in cases {
        for over_tcp in [true, false] {
            let statuses = statuses(&world.sandbox, over_tcp, request.as_bytes());
            assert!(statuses.len() <= 1, "{what}: it counts as {} requests", statuses.len());
            world.still_serves_after(what);
        }
    }
    assert_eq!(world.sandbox.broker().unwrap().pid, world.pid);
}

#[test]
fn the_token_counts_in_the_head_alone() {
    let world = World::new();
    let trailer = format!(
        "POST /v1/mailbox/take HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nAuthorization: Bearer {}\r\n\r\n",
        world.token
    );
    assert_eq!(statuses(&world.sandbox, true, trailer.as_bytes()), [401]);
    let query = Request::get(&format!("/v1/peers?token={}", world.token)).tcp(&world.sandbox);
    assert_eq!(query.refusal(), (401, "unauthorized".to_owned()));
    world.still_serves_after("a token elsewhere");
}

#[test]
fn json_of_any_depth_is_refused_at_every_route() {
    let world = World::new();
    let deep = format!("{{\"text\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for path in [
        "/v1/register",
        "/v1/unregister",
        "/v1/profile",
        "/v1/messages",
        "/v1/messages/batch",
        "/v1/messages/scope",
        "/v1/mailbox/take",
        "/v1/mailbox/answer",
        "/v1/mailbox/confirm",
        "/v1/mailbox/written",
        "/v1/hook",
        "/v1/hook/moved",
        "/v1/hook/written",
        "/v1/tool/answered",
        "/v1/wake",
        "/v1/wake/given",
        "/v1/wake/looked",
        "/v1/shutdown",
        "/v1/afresh",
    ] {
        let refusal = Request::raw(path, deep.clone()).unix(&world.sandbox).refusal();
        assert_eq!(refusal, (400, "bad_request".to_owned()), "{path}");
    }
    world.still_serves_after("deep JSON");
}

#[test]
fn a_session_calls_neither_hooks_nor_the_wakes_of_others() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let (ann, bob) = (RawPeer::register(sandbox, "ann"), RawPeer::register(sandbox, "bob"));
    let calls = [
        ("/v1/hook", json!({ "event": "Stop", "session": "raw-bob" })),
        ("/v1/hook/moved", json!({ "session": "raw-bob", "cwd": "/tmp" })),
        ("/v1/hook/written", json!({ "session": "raw-bob", "ids": [] })),
        ("/v1/wake", json!({ "session": "raw-bob" })),
        ("/v1/wake/given", json!({ "peer": bob.id, "upto": 1 })),
        ("/v1/wake/looked", json!({ "peer": bob.id, "turn": 1, "idle": true })),
    ];
    for (path, body) in calls {
        let answer = Request::post(path, &body).session(&ann.secret).unix(sandbox);
        assert_eq!(answer.refusal(), (403, "forbidden".to_owned()), "{path}");
    }
    world.still_serves_after("calls of another");
}

#[cfg(target_os = "linux")]
#[test]
fn the_port_is_open_on_loopback_alone() {
    let world = World::new();
    let hex = format!(":{:04X}", world.sandbox.port());
    let mut found = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut fields = line.split_whitespace().skip(1);
            let (local, _, state) = (fields.next().unwrap(), fields.next(), fields.next());
            let Some(address) = local.strip_suffix(&hex).filter(|_| state == Some("0A")) else {
                continue;
            };
            found += 1;
            let loopback = ["0100007F", "00000000000000000000000001000000"];
            assert!(loopback.contains(&address), "it listens on {address}");
        }
    }
    assert!(found > 0, "it listens");
}

#[test]
fn fields_of_any_length_are_refused_by_name_or_cut_and_cost_no_memory() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let huge = "x".repeat(400 * 1024);
    let registration = |number: usize| {
        json!({
            "instance": format!("instance-{number}"), "secret": format!("{number:064}"),
            "session": format!("long-{number}"), "client_name": huge, "cwd": "/srv",
            "channel": "absent",
        })
    };
    for field in ["instance", "secret", "session", "cwd", "directory", "repo"] {
        let mut body = registration(0);
        body["client_name"] = "x".into();
        body[field] = huge.clone().into();
        let answer = Request::post("/v1/register", &body).unix(sandbox);
        assert_eq!(answer.refusal(), (400, "bad_request".to_owned()), "{field}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("the field {field} has 409600 bytes")), "{message}");
    }
    // What only describes a session is cut.
    for number in 0..40 {
        let answer = Request::post("/v1/register", &registration(number)).unix(sandbox);
        assert_eq!(answer.status, 200, "{:?}", answer.refusal());
        assert!(answer.body.len() < 4_096, "{}", answer.body.len());
    }
    let listed = Request::get("/v1/peers?all=true").unix(sandbox);
    assert!(listed.body.len() < 1024 * 1024, "{}", listed.body.len());
    world.still_serves_after("long fields");
}

#[test]
fn one_process_cannot_become_hundreds_of_senders() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let register = |number: usize| {
        let body = json!({
            "instance": format!("instance-{number}"), "secret": format!("{number:064}"),
            "session": format!("one-of-many-{number}"), "cwd": "/srv", "channel": "absent",
        });
        Request::post("/v1/register", &body).unix(sandbox)
    };
    let refused = (0..300).map(register).find(|answer| answer.status != 200).expect("a limit");
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    let json = refused.json();
    assert!(json["message"].as_str().unwrap().contains("64 are allowed at once"), "{json}");
    // One that is known, and another process, register as before.
    assert_eq!(register(0).status, 200);
    sandbox.session("another").me();
    world.still_serves_after("many registrations");
}

#[test]
fn requests_in_one_packet_are_answered_in_order() {
    let world = World::new();
    let mut stream = unix(&world.sandbox);
    let post = Request::post("/v1/mailbox/take", &json!({})).bytes();
    let all = [post.clone(), Request::get("/nowhere").bytes(), post].concat();
    assert_eq!(exchange(&mut stream, &all).unwrap().status, 200);
    assert_eq!(read_answer(&mut stream).unwrap().status, 404);
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
}
