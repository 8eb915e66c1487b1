//! Promise 6: requests that are too large, malformed, or no requests at all, are refused.

use std::io::Write as _;

use serde_json::json;

use super::World;
use crate::support::http::{RawPeer, Request, exchange, read_answer, tcp, unix};

/// Announces a body and sends it as long as the other side takes it. Returns the status.
fn flood(
    stream: &mut (impl std::io::Read + std::io::Write),
    head: &str,
    chunked: bool,
) -> Option<u16> {
    const SIZE: usize = 64 * 1024 * 1024;
    let piece = vec![b'x'; 64 * 1024];
    let length = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {SIZE}")
    };
    let start = format!("{head}{length}\r\nContent-Type: application/json\r\n\r\n");
    stream.write_all(start.as_bytes()).ok();
    for _ in 0..SIZE / piece.len() {
        let framed = |stream: &mut dyn std::io::Write| {
            if chunked {
                write!(stream, "{:x}\r\n", piece.len())?;
            }
            stream.write_all(&piece)?;
            if chunked { stream.write_all(b"\r\n") } else { Ok(()) }
        };
        if framed(stream).is_err() {
            break;
        }
    }
    read_answer(stream).map(|answer| answer.status)
}

#[test]
fn a_body_of_64_mebibytes_is_refused_and_costs_no_memory() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let before = world.process_status("VmHWM");
    let without_token = "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let owner = format!("{without_token}Authorization: Bearer {}\r\n", world.token);
    for chunked in [false, true] {
        // The connection may be closed before the answer was read; the request is never accepted.
        let without = flood(&mut tcp(sandbox), without_token, chunked);
        assert!(matches!(without, None | Some(401)), "{without:?}");
        let with = flood(&mut tcp(sandbox), &owner, chunked);
        assert!(matches!(with, None | Some(413)), "{with:?}");
        let local = flood(&mut unix(sandbox), without_token, chunked);
        assert!(matches!(local, None | Some(413)), "{local:?}");
        world.still_serves();
    }
    let grown = world.process_status("VmHWM") - before;
    assert!(grown < 32 * 1024, "the broker grew by {grown} KiB");
    assert_eq!(world.messages(), 0);
    // A caller that waits for the answer gets the reason.
    let body = vec![b'x'; 8 * 1024 * 1024];
    let answer = Request::raw("/v1/messages", body).unix(sandbox);
    assert_eq!(answer.refusal(), (413, "too_large".to_owned()));
}

#[test]
fn malformed_json_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let to = RawPeer::register(sandbox, "receiver").id;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe{}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"\0".to_vec(),
        format!(r#"{{"to":"{to}"}}"#).into(),
        r#"{"text":"x"}"#.into(),
        format!(r#"{{"to":"{to}","text":null}}"#).into(),
        format!(r#"{{"to":"{to}","text":1}}"#).into(),
        format!(r#"{{"to":"{to}","text":["x"]}}"#).into(),
        format!(r#"{{"to":["{to}"],"text":"x"}}"#).into(),
        format!(r#"{{"to":"{to}","text":"x","reply_to":7}}"#).into(),
        format!(r#"{{"to":"{to}","text":"x"}} trailing"#).into(),
        format!(r#"{{"to":"{to}","text":"x"}}{{"to":"{to}","text":"y"}}"#).into(),
        format!(r#"{{"to":"{to}","text":"x","text":"y"}}"#).into(),
        format!(r#"{{"to":"{to}","to":"{to}","text":"y"}}"#).into(),
        format!(r#"{{"to":"{to}","text":"x","unknown":1}}"#).into(),
        format!(r#"{{"TO":"{to}","text":"x"}}"#).into(),
        format!(r#"{{"to":"{to}","text":"\ud800"}}"#).into(),
        [format!(r#"{{"to":"{to}","text":""#).as_bytes(), b"\xc3\x28\"}"].concat(),
        [format!(r#"{{"to":"{to}","text":""#).as_bytes(), b"a\0b\"}"].concat(),
        format!(r#"{{"to":"{to}","text":"x",}}"#).into(),
        format!("{{'to':'{to}','text':'x'}}").into(),
        format!(r#"{{"to":"{to}","text":{deep}}}"#).into(),
        deep.clone().into(),
        format!(r#"{{"a":{deep}}}"#).into(),
        "{\"a\":".repeat(100_000).into(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).chars().take(80).collect::<String>();
        let answer = Request::raw("/v1/messages", body).unix(sandbox);
        assert_eq!(answer.refusal(), (400, "bad_request".to_owned()), "{shown}");
        assert!(answer.body.len() < 1_000, "{shown}: a short refusal");
    }
    for (path, body) in [
        ("/v1/register", json!({})),
        (
            "/v1/register",
            json!({ "instance": "i", "secret": "short", "cwd": "/", "channel": "absent" }),
        ),
        (
            "/v1/register",
            json!({ "instance": "", "secret": "x".repeat(64), "cwd": "/", "channel": "absent" }),
        ),
        (
            "/v1/register",
            json!({ "instance": "i", "secret": "x".repeat(64), "cwd": "/", "channel": "certain" }),
        ),
        (
            "/v1/register",
            json!({ "instance": "i", "secret": "x".repeat(64), "cwd": "/", "channel": "absent", "client": { "pid": -1 } }),
        ),
        ("/v1/mailbox/take", json!({ "max_bytes": -1 })),
        ("/v1/mailbox/take", json!({ "max_bytes": 1e300 })),
        ("/v1/mailbox/confirm", json!({ "ids": "x" })),
        ("/v1/shutdown", json!({ "now": true })),
        ("/v1/shutdown", json!(null)),
    ] {
        let refusal = Request::post(path, &body).unix(sandbox).refusal();
        assert_eq!(refusal, (400, "bad_request".to_owned()), "{path} {body}");
    }
    for query in [
        "/v1/peers?scope=galaxy",
        "/v1/peers?unknown=1",
        "/v1/peers?all=perhaps",
        "/v1/messages?limit=-1",
        "/v1/messages?limit=99999999999",
        "/v1/messages?limit=1&limit=2",
        "/v1/messages?%00=1",
    ] {
        let refusal = Request::get(query).unix(sandbox).refusal();
        assert_eq!(refusal, (400, "bad_request".to_owned()), "{query}");
    }
    let good = Request::post("/v1/messages", &json!({ "to": to, "text": "x" }));
    for key in ["", &"k".repeat(129)] {
        let refusal = good.clone().with("Idempotency-Key", key).unix(sandbox).refusal();
        assert_eq!(refusal, (400, "bad_request".to_owned()), "{key:?}");
    }
    assert_eq!(world.messages(), 0);
    // A NUL is a character like any other, and arrives.
    let answer = Request::post("/v1/messages", &json!({ "to": to, "text": "a\0b" })).unix(sandbox);
    assert_eq!(answer.status, 200);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let listed = Request::get(&format!("/v1/messages?id={id}")).unix(sandbox).json();
    assert_eq!(listed["messages"][0]["text"], "a\0b");
    world.still_serves();
}

#[test]
fn unknown_routes_and_methods_are_refused() {
    let world = World::new();
    let sandbox = &world.sandbox;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v2/peers",
        "/v1/peers/",
        "//v1/peers",
        "/health/../v1/peers",
        "/%2e%2e/etc/passwd",
        "*",
    ] {
        let answer = Request::get(path).unix(sandbox);
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        // There the page is.
        if path == "/" {
            continue;
        }
        let answer = Request::get(path).tcp(sandbox);
        assert!((400..500).contains(&answer.status), "{path} over TCP: {}", answer.status);
    }
    for (method, path) in [
        ("DELETE", "/v1/messages"),
        ("PUT", "/v1/peers"),
        ("PATCH", "/v1/profile"),
        ("GET", "/v1/shutdown"),
        ("GET", "/v1/register"),
        ("TRACE", "/health"),
        ("BREW", "/health"),
    ] {
        let answer = Request::new(method, path).unix(sandbox);
        assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
    }
    world.still_serves();
}

#[test]
fn what_is_not_http_or_too_much_of_it_is_cut_off() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let huge = "h".repeat(1024 * 1024);
    let many: String = (0..5_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let head = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let smuggled = format!(
        "POST /v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{head}\r\n"
    );
    let requests: Vec<Vec<u8>> = vec![
        format!("GET /{huge} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into(),
        format!("{head}X: {huge}\r\n\r\n").into(),
        format!("{head}{many}\r\n").into(),
        format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx").into(),
        format!("{head}Content-Length: -1\r\n\r\n").into(),
        format!("{head}Content-Length: 99999999999999999999\r\n\r\n").into(),
        format!("{head}Bad Header: 1\r\n\r\n").into(),
        format!("{head}X: a\0b\r\n\r\n").into(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /health\r\n\r\n".to_vec(),
        b"GET /health HTTP/9.9\r\n\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 4096],
        b"\r\n\r\n\r\nnonsense\r\n\r\n".to_vec(),
    ];
    for request in requests {
        let shown = String::from_utf8_lossy(&request).chars().take(60).collect::<String>();
        for over_tcp in [true, false] {
            let answer = if over_tcp {
                exchange(&mut tcp(sandbox), &request)
            } else {
                exchange(&mut unix(sandbox), &request)
            };
            let status = answer.map(|answer| answer.status);
            assert!(
                status.is_none_or(|status| (400..600).contains(&status)),
                "{shown:?}: {status:?}"
            );
        }
    }
    // Two lengths for one body: whatever the answer, the body is not taken for a request.
    let mut stream = unix(sandbox);
    let first = exchange(&mut stream, smuggled.as_bytes()).map(|answer| answer.status);
    assert!(first.is_none_or(|status| status >= 400), "{first:?}");
    world.still_serves();
    assert!(world.process_status("VmRSS") < 64 * 1024);
}

#[test]
fn requests_on_one_connection_are_judged_one_by_one() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let (with, without) =
        (Request::get("/v1/peers").token(&world.token), Request::get("/v1/peers"));
    let pattern = [&with, &without, &with, &Request::get("/health"), &without];
    let mut all = Vec::new();
    for _ in 0..20 {
        for request in pattern {
            all.extend(request.bytes());
        }
    }
    // All is written before anything is read.
    let mut stream = tcp(sandbox);
    stream.write_all(&all).unwrap();
    for round in 0..20 {
        let statuses: Vec<Option<u16>> =
            pattern.iter().map(|_| read_answer(&mut stream).map(|answer| answer.status)).collect();
        assert_eq!(statuses, [200, 401, 200, 200, 401].map(Some), "round {round}");
    }
    // One after the other.
    let mut stream = unix(sandbox);
    for _ in 0..20 {
        assert_eq!(exchange(&mut stream, &without.bytes()).unwrap().status, 200);
        let missing = exchange(&mut stream, &Request::get("/nowhere").bytes());
        assert_eq!(missing.unwrap().status, 404);
        let wrong = exchange(&mut stream, &Request::new("DELETE", "/v1/peers").bytes());
        assert_eq!(wrong.unwrap().status, 405);
    }
    // The body of a refused request is never taken for the next request.
    let inner = Request::post("/v1/shutdown", &json!({})).token(&world.token).bytes();
    let mut stream = tcp(sandbox);
    let outer = Request::raw("/v1/messages", inner);
    assert_eq!(exchange(&mut stream, &outer.bytes()).unwrap().status, 401);
    let second = exchange(&mut stream, &without.bytes()).map(|answer| answer.status);
    assert!(matches!(second, None | Some(401)), "{second:?}");
    world.still_serves();
}
