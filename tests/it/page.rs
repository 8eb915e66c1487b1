//! Promises 4 and 5: the page is opened once by its person, and reads and sends for nobody else.
//!
//! What a browser makes of the page is shown by `tests/system/page`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::http::{Answer, RawPeer, Request};
use crate::support::{Manager, Sandbox, SessionOptions, mode, until, write_program};

/// A sandbox with a broker.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox
}

fn ask_for_link(request: impl Fn(Request) -> Answer) -> Answer {
    request(Request::post("/v1/page/link", &json!({})))
}

/// A code of a link that the person got.
fn code(sandbox: &Sandbox) -> String {
    let link = ask_for_link(|request| request.unix(sandbox)).json();
    let url = link["url"].as_str().unwrap().to_owned();
    let begin = format!("http://127.0.0.1:{}/#", sandbox.port());
    url.strip_prefix(&begin).unwrap_or_else(|| panic!("{url}")).to_owned()
}

/// A request as the page's script sends it.
fn from_page(sandbox: &Sandbox, request: Request) -> Request {
    let host = format!("127.0.0.1:{}", sandbox.port());
    request
        .with("Origin", &format!("http://{host}"))
        .with("Host", &host)
        .with("Sec-Fetch-Site", "same-origin")
}

fn open(sandbox: &Sandbox, code: &str) -> Answer {
    from_page(sandbox, Request::post("/v1/page/open", &json!({ "code": code }))).tcp(sandbox)
}

/// The token of a page that was opened.
fn page_token(sandbox: &Sandbox) -> String {
    let opened = open(sandbox, &code(sandbox));
    assert_eq!(opened.status, 200, "{:?}", opened.refusal());
    opened.json()["token"].as_str().unwrap().to_owned()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn forbidden() -> (u16, String) {
    (403, "forbidden".to_owned())
}

#[test]
fn a_link_is_given_over_the_unix_socket_and_to_the_person_alone() {
    let sandbox = sandbox();
    assert_eq!(ask_for_link(|request| request.unix(&sandbox)).status, 200);
    let token = sandbox.token();
    assert_eq!(ask_for_link(|request| request.token(&token).tcp(&sandbox)).refusal(), forbidden());
    let peer = RawPeer::register(&sandbox, "curious");
    let by_session = ask_for_link(|request| request.session(&peer.secret).unix(&sandbox));
    assert_eq!(by_session.refusal(), forbidden());
    // A command in the session's own shell.
    let _session = SessionOptions::new("agent").start(&sandbox);
    let in_shell = sandbox.shell_with("CLAUDE_CODE_SESSION_ID", "session-agent");
    let (exit, error) = in_shell.fails(["open", "--print"]);
    assert_eq!(exit, 1);
    assert!(error.contains("a session cannot open the page"), "{error}");
    assert!(error.contains("a terminal of your own"), "{error}");
    let visit = Request::post("/v1/page/visit", &json!({ "code": code(&sandbox) }));
    assert_eq!(visit.clone().session(&peer.secret).unix(&sandbox).refusal(), forbidden());
    assert_eq!(visit.token(&token).tcp(&sandbox).refusal(), forbidden());
}

#[test]
fn a_code_opens_one_page() {
    let sandbox = sandbox();
    let code = code(&sandbox);
    assert_eq!(code.len(), 64);
    for wrong in ["", &code[1..], &code.to_uppercase(), &format!("{code}0")] {
        let refused = open(&sandbox, wrong);
        assert_eq!(refused.status, 401, "{wrong}");
    }
    // Nothing but TCP, and a body of the form that it has.
    let request = Request::post("/v1/page/open", &json!({ "code": code }));
    assert_eq!(request.unix(&sandbox).refusal(), forbidden());
    for body in [json!({}), json!({ "code": 5 }), json!({ "code": "x", "more": 1 })] {
        let request = from_page(&sandbox, Request::post("/v1/page/open", &body));
        assert_eq!(request.tcp(&sandbox).status, 400, "{body}");
    }
    let long =
        from_page(&sandbox, Request::post("/v1/page/open", &json!({ "code": "x".repeat(500) })));
    assert_eq!(long.tcp(&sandbox).status, 400);
    assert_eq!(open(&sandbox, &code).status, 200);
    let again = open(&sandbox, &code);
    assert_eq!(again.refusal(), (401, "unauthorized".to_owned()));
    assert_eq!(again.json()["hint"], "Run `claude-peers open` again.");
    let visit = Request::post("/v1/page/visit", &json!({ "code": code })).unix(&sandbox);
    assert_eq!(visit.json()["visit"], "missed");
}

#[test]
fn a_code_is_used_by_no_other_page() {
    let sandbox = sandbox();
    let code = code(&sandbox);
    let port = sandbox.port();
    let request = || from_page(&sandbox, Request::post("/v1/page/open", &json!({ "code": code })));
    let other_port = format!("http://127.0.0.1:{}", port - 1);
    let by_name = format!("localhost:{port}");
    for (name, value) in [
        ("Origin", "https://evil.com"),
        ("Origin", "null"),
        ("Origin", ""),
        ("Origin", &other_port),
        ("Origin", &format!("http://localhost:{port}")),
        ("Origin", &format!("https://127.0.0.1:{port}")),
        ("Origin", &format!("http://127.0.0.1:{port}, https://evil.com")),
        ("Host", &by_name),
        ("Host", "127.0.0.1"),
        ("Host", "evil.com"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "none"),
    ] {
        let answer = request().with(name, value).tcp(&sandbox);
        assert_eq!(answer.refusal(), forbidden(), "{name}: {value}");
    }
    let plain = request().with("Content-Type", "text/plain").tcp(&sandbox);
    assert_eq!(plain.status, 415);
    assert_eq!(request().tcp(&sandbox).status, 200, "it was good all the time");
}

#[test]
fn the_page_needs_no_token_says_nothing_and_has_a_strict_policy() {
    let sandbox = sandbox();
    let peer = RawPeer::register(&sandbox, "secretive");
    let page = Request::get("/").tcp(&sandbox);
    assert_eq!(page.status, 200);
    assert_eq!(header(&page, "content-type"), Some("text/html; charset=utf-8"));
    let text = String::from_utf8(page.body.clone()).unwrap();
    for secret in [&*sandbox.token(), &peer.name, &peer.id, "/srv"] {
        assert!(!text.contains(secret), "{secret}");
    }
    let policy = header(&page, "content-security-policy").unwrap();
    let directives: Vec<&str> = policy.split("; ").collect();
    assert_eq!(directives.len(), 10, "{policy}");
    for directive in [
        "default-src 'none'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(directives.contains(&directive), "{directive}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(header(&page, name), Some(value), "{name}");
    }
    // Only there, only so, and not for another host.
    assert_eq!(Request::get("/").with("Host", "evil.com").tcp(&sandbox).refusal(), forbidden());
    assert_eq!(
        Request::get("/").with("Origin", "https://evil.com").tcp(&sandbox).refusal(),
        forbidden()
    );
    assert_eq!(Request::get("/").unix(&sandbox).status, 404);
    assert_eq!(Request::raw("/", "{}").tcp(&sandbox).status, 405);
    for path in ["/index.html", "/favicon.ico", "/page.js", "/../etc/passwd", "//"] {
        assert_eq!(Request::get(path).tcp(&sandbox).status, 401, "{path}");
    }
    // What the API answers is neither kept nor taken for something else, either.
    let api = Request::get("/v1/peers").token(&sandbox.token()).tcp(&sandbox);
    assert_eq!(header(&api, "cache-control"), Some("no-store"));
    assert_eq!(header(&api, "x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_page_reads_and_sends_and_does_nothing_else() {
    let sandbox = sandbox();
    let peer = RawPeer::register(&sandbox, "receiver");
    let token = page_token(&sandbox);
    let page = |request: Request| from_page(&sandbox, request.token(&token)).tcp(&sandbox);
    let send = Request::post("/v1/messages", &json!({ "to": peer.id, "text": "from the page" }));
    assert_eq!(page(send.clone()).status, 200);
    // It writes as its person, whatever else it says.
    assert_eq!(page(send.session(&peer.secret)).status, 200);
    let listed = page(Request::get("/v1/messages?limit=10")).json();
    for message in listed["messages"].as_array().unwrap() {
        assert_eq!(message["from"]["name"], "cli", "{message}");
        assert_eq!(message["text"], "from the page");
    }
    assert_eq!(listed["messages"].as_array().unwrap().len(), 2);
    assert_eq!(page(Request::get("/v1/peers?all=true")).status, 200);
    // A program that was given the token needs no headers of browsers, but the address.
    let address = format!("127.0.0.1:{}", sandbox.port());
    let plain = Request::get("/v1/peers").token(&token).with("Host", &address);
    assert_eq!(plain.tcp(&sandbox).status, 200);

    let posts = [
        "register",
        "unregister",
        "profile",
        "messages/batch",
        "messages/scope",
        "mailbox/take",
        "mailbox/answer",
        "mailbox/confirm",
        "mailbox/written",
        "hook",
        "hook/moved",
        "hook/written",
        "tool/answered",
        "wake",
        "wake/given",
        "wake/looked",
        "prune",
        "page/link",
        "page/visit",
        "shutdown",
        "afresh",
        "peers",
        "events",
        "no/such",
    ];
    for path in posts {
        let answer = page(Request::post(&format!("/v1/{path}"), &json!({})));
        assert_eq!(answer.refusal(), forbidden(), "POST {path}");
    }
    for path in ["stream", "brief", "mailbox/take", "messages/batch", "page/link", "no/such"] {
        let answer = page(Request::get(&format!("/v1/{path}")));
        assert_eq!(answer.refusal(), forbidden(), "GET {path}");
    }
    for method in ["DELETE", "PUT", "PATCH", "OPTIONS"] {
        let answer = page(Request::new(method, "/v1/messages"));
        assert_eq!(answer.refusal(), forbidden(), "{method}");
    }
    assert!(sandbox.status_is("running"));
}

#[test]
fn a_pages_token_is_worth_nothing_elsewhere() {
    let sandbox = sandbox();
    let token = page_token(&sandbox);
    let port = sandbox.port();
    let get = || from_page(&sandbox, Request::get("/v1/peers").token(&token));
    assert_eq!(get().tcp(&sandbox).status, 200);
    for (name, value) in [
        ("Origin", "https://evil.com"),
        ("Origin", "null"),
        ("Origin", &format!("http://localhost:{port}")),
        ("Origin", &format!("http://127.0.0.1:{}", port - 1)),
        ("Host", &format!("localhost:{port}")),
        ("Host", "127.0.0.1:1"),
        ("Host", "evil.com"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        assert_eq!(get().with(name, value).tcp(&sandbox).refusal(), forbidden(), "{name}: {value}");
    }
    let mut changed = token.clone().into_bytes();
    let last = changed.len() - 1;
    changed[last] = if changed[last] == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).unwrap();
    for wrong in [&changed, "page-", "page-9999999999999-", &token[..token.len() - 2]] {
        let answer = from_page(&sandbox, Request::get("/v1/peers").token(wrong)).tcp(&sandbox);
        assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()), "{wrong}");
        assert_eq!(answer.json()["hint"], "Run `claude-peers open` again.");
    }
    // Nor does the program's token help a page.
    let own = from_page(&sandbox, Request::get("/v1/peers").token(&sandbox.token()));
    assert_eq!(own.tcp(&sandbox).refusal(), forbidden());
}

#[test]
fn a_page_outlives_its_broker_and_ends_with_the_token_file() {
    let sandbox = sandbox();
    let token = page_token(&sandbox);
    let code = code(&sandbox);
    let status = || {
        let request = Request::get("/v1/peers").token(&token);
        from_page(&sandbox, request).tcp(&sandbox).status
    };
    sandbox.ok(["kill-broker"]);
    sandbox.ok(["peers"]);
    assert_eq!(status(), 200);
    assert_eq!(open(&sandbox, &code).status, 401, "a code is its broker's");
    sandbox.ok(["kill-broker"]);
    std::fs::remove_file(sandbox.config().paths.token).unwrap();
    sandbox.ok(["peers"]);
    assert_eq!(status(), 401);
}

#[test]
fn a_broker_proves_to_its_page_who_it_is() {
    let sandbox = sandbox();
    let token = page_token(&sandbox);
    let until = token.split('-').nth(1).unwrap();
    let ask = |nonce: &str| {
        let request = Request::post("/v1/page/proof", &json!({ "until": until, "nonce": nonce }));
        from_page(&sandbox, request)
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, token.as_bytes());
    let proof = ask("one").tcp(&sandbox).json()["proof"].as_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..proof.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&proof[at..at + 2], 16).unwrap())
        .collect();
    ring::hmac::verify(&key, b"claude-peers page proof one", &bytes).unwrap();
    assert_ne!(ask("two").tcp(&sandbox).json()["proof"], proof.as_str());
    assert_eq!(ask("one").with("Origin", "https://evil.com").tcp(&sandbox).refusal(), forbidden());
    assert_eq!(ask("one").unix(&sandbox).refusal(), forbidden());
    assert_eq!(ask(&"x".repeat(500)).tcp(&sandbox).status, 400);
}

/// A program in place of a browser, and the file in which it notes its arguments.
fn browser(sandbox: &Sandbox, then: &str) -> (Sandbox, PathBuf) {
    let (program, noted) = (sandbox.path().join("browser"), sandbox.path().join("noted"));
    let noted_at = noted.display();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{noted_at}.new' && mv '{noted_at}.new' '{noted_at}'\n{then}\n"
    );
    write_program(&program, script);
    (sandbox.shell_with("BROWSER", program.display().to_string()), noted)
}

#[test]
fn open_gives_a_browser_a_private_file_and_waits_until_the_page_is_open() {
    let sandbox = sandbox();
    let (shell, noted) = browser(&sandbox, "");
    let mut opening = shell.command(["open"]);
    let opening =
        opening.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the browser is started", || noted.exists());
    let argument = std::fs::read_to_string(&noted).unwrap();
    let file = PathBuf::from(argument.trim());
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    let parent = file.parent().unwrap();
    assert_eq!(mode(parent), 0o700);
    let (_, rest) = text.split_once("/#").unwrap();
    let code = &rest[..64];
    assert!(!argument.contains(code) && !argument.contains("http"), "{argument}");
    assert_eq!(open(&sandbox, code).status, 200);
    let output = opening.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "The page is open.\n");
    assert!(String::from_utf8(output.stderr).unwrap().contains("works once, for 60 s"));
    assert!(!file.exists());
}

#[test]
fn where_no_browser_opens_open_prints_the_link() {
    let sandbox = sandbox();
    let (failing, _) = browser(&sandbox, "exit 3");
    let nowhere = sandbox.shell_with("BROWSER", "no-such-browser");
    let remote = sandbox.shell_with("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    for (shell, reason) in [
        (&failing, "exit status: 3"),
        (&nowhere, "no-such-browser"),
        (&remote, "ssh -L"),
        (&sandbox, "no screen"),
    ] {
        let output = shell.run(["open"]);
        assert!(output.status.success(), "{reason}");
        let link = String::from_utf8(output.stdout).unwrap();
        let (page, code) = link.trim_end().split_once('#').unwrap();
        assert_eq!(page, format!("http://127.0.0.1:{}/", sandbox.port()));
        let notes = String::from_utf8(output.stderr).unwrap();
        let notes = notes.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(notes.contains(reason) && notes.contains("works once"), "{reason}: {notes}");
        assert_eq!(open(&sandbox, code).status, 200, "{reason}");
    }
    let printed: Value = sandbox.json(["open", "--print"]);
    assert_eq!((&printed["opened"], &printed["valid_for"]), (&json!(false), &json!(60)));
    assert!(printed["url"].as_str().unwrap().contains("/#"));
    let left = std::fs::read_dir(sandbox.config().paths.runtime()).unwrap().flatten();
    let files = left.filter(|file| file.file_name().to_string_lossy().ends_with(".html"));
    assert_eq!(files.count(), 0);
}

#[test]
fn without_the_port_open_says_how_to_open_it() {
    let sandbox = Sandbox::new();
    let _squatter = TcpListener::bind(("127.0.0.1", sandbox.port())).unwrap();
    let (exit, error) = sandbox.fails(["open", "--print"]);
    assert_eq!(exit, 1);
    assert!(error.contains("the page needs the port"), "{error}");
    assert!(error.contains("Free the port"), "{error}");

    let masked = Sandbox::new();
    let units = masked.path().join("config/systemd/user");
    std::fs::create_dir_all(&units).unwrap();
    std::os::unix::fs::symlink("/dev/null", units.join("claude-peers-tcp.socket")).unwrap();
    let manager = Manager::listen(&masked, true, false);
    let (_, mut broker) = manager.activate(&masked, || masked.ok(["peers"]));
    let (_, error) = masked.fails(["open", "--print"]);
    assert!(error.contains("is masked"), "{error}");
    assert!(error.contains("systemctl --user unmask claude-peers-tcp.socket"), "{error}");
    masked.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}

#[test]
fn no_log_has_a_code_or_a_pages_token() {
    let sandbox = Sandbox::new().with("RUST_LOG", "trace,hyper=trace");
    let mut broker = sandbox.start_broker();
    let code = code(&sandbox);
    let visit = Request::post("/v1/page/visit", &json!({ "code": code }));
    assert_eq!(open(&sandbox, &"0".repeat(64)).status, 401);
    let token = {
        let opened = open(&sandbox, &code);
        opened.json()["token"].as_str().unwrap().to_owned()
    };
    assert_eq!(visit.unix(&sandbox).status, 200);
    let get = |path: &str| from_page(&sandbox, Request::get(path).token(&token)).tcp(&sandbox);
    assert_eq!((get("/v1/peers").status, get("/v1/stream").status), (200, 403));
    sandbox.ok(["kill-broker"]);
    broker.wait().unwrap();
    let log = std::fs::read_to_string(sandbox.path().join("broker.log")).unwrap();
    assert!(log.contains("a page was opened"), "{log}");
    let (_, proof) = token.rsplit_once('-').unwrap();
    for secret in [&code, &token, proof] {
        assert!(!log.contains(secret), "{secret}");
    }
}
