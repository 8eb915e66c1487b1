//! Promise 4: over TCP nothing works without the token, and a web page is refused with it.
//!
//! The checks of `Host` and `Origin` protect against DNS rebinding and cross-site requests.

use serde_json::{Value, json};

use super::{ROUTES, World};
use crate::support::http::{RawPeer, Request};

#[test]
fn over_tcp_everything_is_refused_without_the_token() {
    let world = World::new();
    let token = &world.token;
    let wrong = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}", "0".repeat(64))),
        Some(format!("Bearer {}", &token[..63])),
        Some(format!("Bearer {token}0")),
        Some(format!("Bearer {}", token.to_uppercase())),
        Some(format!("Bearer {token},{token}")),
        Some(format!("Basic {token}")),
        Some(token.clone()),
    ];
    for (method, path) in ROUTES {
        for given in &wrong {
            if given.as_deref() == Some(&format!("Bearer {token}")) {
                continue;
            }
            let mut request = Request::new(method, path);
            if method == "POST" {
                request = request.with("Content-Type", "application/json").body("{}");
            }
            if let Some(given) = given {
                request = request.with("Authorization", given);
            }
            let refusal = request.tcp(&world.sandbox).refusal();
            assert_eq!(refusal, (401, "unauthorized".to_owned()), "{method} {path} {given:?}");
        }
    }
    let in_query = Request::get(&format!("/v1/peers?token={token}")).tcp(&world.sandbox);
    assert_eq!(in_query.status, 401);
    let twice = Request::get("/v1/peers")
        .with("Authorization", &format!("Bearer wrong\r\nAuthorization: Bearer {token}"))
        .tcp(&world.sandbox);
    assert_eq!(twice.status, 401);
    let right = Request::get("/v1/peers").with("Authorization", &format!("bearer {token}"));
    assert_eq!(right.tcp(&world.sandbox).status, 200);
    world.still_serves();
}

#[test]
fn a_foreign_host_is_refused_and_a_loopback_one_is_accepted() {
    let world = World::new();
    let port = world.sandbox.port();
    let ask = |host: Option<&str>, path: &str| {
        let request = Request::get(path).token(&world.token);
        let request = match host {
            Some(host) => request.with("Host", host),
            None => request.without("Host"),
        };
        request.tcp(&world.sandbox).refusal()
    };
    let own_port = format!("127.0.0.1:{port}");
    for host in
        ["127.0.0.1", "localhost", "LocalHost", "[::1]", "[::1]:7899", "localhost:1", &own_port]
    {
        for path in ["/health", "/v1/peers"] {
            assert_eq!(ask(Some(host), path).0, 200, "{host} {path}");
        }
    }
    let foreign_port = format!("evil.com:{port}");
    for host in [
        "evil.com",
        &foreign_port,
        "127.0.0.1.evil.com",
        "127.0.0.1.evil.com:7899",
        "localhost.evil.com",
        "evil-localhost",
        "evil.com.localhost",
        "evil.com:127.0.0.1",
        "evil.com#127.0.0.1",
        "user@127.0.0.1",
        "127.0.0.1@evil.com",
        "127.0.0.2",
        "0.0.0.0",
        "192.168.0.1",
        "::1",
        "[::2]",
        "2130706433",
        "",
        ":7899",
        "127.0.0.1, evil.com",
    ] {
        for path in ["/health", "/v1/peers"] {
            let refusal = ask(Some(host), path);
            assert_eq!(refusal, (403, "forbidden".to_owned()), "{host:?} {path}");
        }
    }
    for path in ["/health", "/v1/peers"] {
        assert_ne!(ask(None, path).0, 200, "no Host at all, {path}");
        let twice = ask(Some("127.0.0.1\r\nHost: evil.com"), path);
        assert_eq!(twice, (403, "forbidden".to_owned()), "two of them, {path}");
        let addressed = ask(Some("127.0.0.1"), &format!("http://evil.com{path}"));
        assert_eq!(addressed, (403, "forbidden".to_owned()), "in the address, {path}");
        assert_eq!(ask(Some("127.0.0.1"), &format!("http://localhost:1{path}")).0, 200);
    }
    // The answer to a web page's preflight allows nothing.
    let preflight = Request::new("OPTIONS", "/v1/messages")
        .with("Host", &own_port)
        .with("Origin", "https://evil.com")
        .with("Access-Control-Request-Method", "POST")
        .tcp(&world.sandbox);
    assert_eq!(preflight.status, 403);
    assert!(!preflight.head.to_lowercase().contains("access-control-allow"), "{}", preflight.head);
    world.still_serves();
}

#[test]
fn any_origin_is_refused_even_where_no_token_is_needed() {
    let world = World::new();
    let own = format!("http://127.0.0.1:{}", world.sandbox.port());
    for origin in ["https://evil.com", "null", "", "http://localhost", "file://", &own] {
        for path in ["/health", "/v1/peers"] {
            let request = Request::get(path).token(&world.token).with("Origin", origin);
            let refusal = request.tcp(&world.sandbox).refusal();
            assert_eq!(refusal, (403, "forbidden".to_owned()), "{origin:?} {path}");
        }
        let stop = Request::post("/v1/shutdown", &json!({})).token(&world.token);
        assert_eq!(stop.with("Origin", origin).tcp(&world.sandbox).status, 403, "{origin:?}");
    }
    world.still_serves();
}

/// A web page can send these bodies without a preflight.
#[test]
fn a_body_that_is_not_json_by_its_type_is_refused() {
    let world = World::new();
    let to = RawPeer::register(&world.sandbox, "receiver");
    let good = Request::post("/v1/messages", &json!({ "to": to.id, "text": "hello" }));
    for kind in [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/plain; charset=utf-8"),
        Some("text/plain; application/json"),
        Some("text/plain;,application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonp"),
        Some("application/json-seq"),
        Some("application"),
    ] {
        let request = match kind {
            None => good.clone().without("Content-Type"),
            Some(kind) => good.clone().with("Content-Type", kind),
        };
        let expected = (415, "unsupported_media_type".to_owned());
        let over_tcp = request.clone().token(&world.token).tcp(&world.sandbox);
        assert_eq!(over_tcp.refusal(), expected, "{kind:?}");
        assert_eq!(request.unix(&world.sandbox).refusal(), expected, "{kind:?}");
    }
    assert_eq!(world.messages(), 0);
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        let request = good.clone().with("Content-Type", kind).token(&world.token);
        assert_eq!(request.tcp(&world.sandbox).status, 200, "{kind}");
    }
    assert_eq!(world.messages(), 2);
    world.still_serves();
}

#[test]
fn health_tells_strangers_status_and_protocol_and_the_owner_everything() {
    let world = World::new();
    let keys = |json: &Value| -> Vec<String> {
        json.as_object().unwrap().keys().map(ToOwned::to_owned).collect()
    };
    for request in [Request::get("/health"), Request::get("/health").token(&world.token)] {
        let open = request.tcp(&world.sandbox);
        assert_eq!(open.status, 200);
        assert_eq!(keys(&open.json()), ["status", "protocol"]);
        assert_eq!(open.json()["status"], "ok");
    }
    let mine = Request::get("/health").unix(&world.sandbox).json();
    let detail = &mine;
    assert_eq!(detail["pid"], world.pid);
    assert_eq!(detail["started"], "fallback");
    assert_eq!(detail["socket"], world.sandbox.socket().display().to_string());
    assert_eq!(detail["database"], world.sandbox.database().display().to_string());
    assert_eq!(detail["tcp"]["port"], world.sandbox.port());
    assert_eq!(detail["tcp"]["listening"], true);
    for field in ["version", "started_at", "uptime_seconds", "peers", "backlog"] {
        assert!(!detail[field].is_null(), "{field}: {detail}");
    }
}
