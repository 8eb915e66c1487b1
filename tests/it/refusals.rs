//! Who and what is refused, and that the broker goes on serving all the while.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{RawPeer, Request, exchange, read_answer, tcp, unix};
use crate::support::{PATIENCE, Sandbox, SessionOptions, until};

const ROUTES: [(&str, &str); 11] = [
    ("POST", "/v1/register"),
    ("GET", "/v1/stream"),
    ("GET", "/v1/peers"),
    ("POST", "/v1/profile"),
    ("POST", "/v1/messages"),
    ("GET", "/v1/messages"),
    ("POST", "/v1/mailbox/take"),
    ("POST", "/v1/mailbox/confirm"),
    ("POST", "/v1/mailbox/written"),
    ("POST", "/v1/shutdown"),
    ("GET", "/no/such/route"),
];

/// A sandbox with a broker that must live through the test.
struct World {
    sandbox: Sandbox,
    pid: u32,
    token: String,
}

impl World {
    fn new() -> Self {
        Self::in_sandbox(Sandbox::new())
    }

    fn in_sandbox(sandbox: Sandbox) -> Self {
        sandbox.ok(["peers"]);
        let pid = sandbox.holder().unwrap().pid;
        let token = sandbox.token();
        Self { sandbox, pid, token }
    }

    /// The same broker serves the command line, the Unix socket and TCP.
    #[track_caller]
    fn still_serves(&self) {
        let health = Request::get("/health").unix(&self.sandbox);
        assert_eq!(health.json()["pid"], self.pid, "another broker answers");
        self.sandbox.ok(["peers"]);
        let peers = Request::get("/v1/peers").token(&self.token).tcp(&self.sandbox);
        assert_eq!(peers.status, 200, "{:?}", peers.refusal());
    }

    fn messages(&self) -> usize {
        self.sandbox.json(["log", "-n", "10000"])["messages"].as_array().unwrap().len()
    }

    fn process_status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }
}

#[test]
fn over_tcp_nothing_is_heard_without_the_token() {
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
fn a_foreign_host_is_refused_and_a_loopback_one_is_heard() {
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
    // A web page's preflight finds nothing that lets it in.
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

/// The bodies that a web page can send without asking first are none of these.
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

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::symlink_metadata(path);
    metadata.unwrap_or_else(|e| panic!("{}: {e}", path.display())).mode() & 0o777
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn files_and_sockets_are_for_their_owner_alone_whatever_the_umask() {
    let sandbox = Sandbox::new();
    let mut shell = Command::new("sh");
    let peers = sandbox.command(["peers"]);
    shell.env_clear().envs(peers.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let status = shell
        .args(["-c", "umask 000; exec \"$0\" peers", crate::support::PROGRAM])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let paths = sandbox.config().paths;
    for directory in [paths.runtime(), paths.state()] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    let database = sandbox.database();
    for file in [
        sandbox.socket(),
        paths.broker_lock.clone(),
        paths.spawn_lock.clone(),
        paths.token.clone(),
        paths.log.clone(),
        database.clone(),
        with_suffix(&database, "-wal"),
        with_suffix(&database, "-shm"),
        with_suffix(&database, "-lock"),
    ] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_was_open_to_others_is_closed_and_an_exposed_token_is_replaced() {
    let world = World::new();
    let paths = world.sandbox.config().paths;
    let database = world.sandbox.database();
    let old_token = world.token.clone();
    world.sandbox.ok(["kill-broker"]);
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(paths.runtime(), 0o755);
    open(paths.state(), 0o777);
    open(&paths.token, 0o644);
    open(&database, 0o644);
    world.sandbox.ok(["peers"]);
    for directory in [paths.runtime(), paths.state()] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&with_suffix(&database, suffix)), 0o600, "{suffix}");
    }
    assert_eq!(mode(&paths.token), 0o600);
    assert_ne!(world.sandbox.token(), old_token);
    let stolen = Request::get("/v1/peers").token(&old_token).tcp(&world.sandbox);
    assert_eq!(stolen.status, 401);
}

#[test]
fn a_token_that_no_header_can_hold_is_replaced() {
    let sandbox = Sandbox::new();
    let path = sandbox.config().paths.token;
    sandbox.ok(["peers"]);
    let two_lines = "a".repeat(40) + "\n" + &"b".repeat(40);
    for broken in [&b""[..], b"short", &[0xff; 64], two_lines.as_bytes()] {
        sandbox.ok(["kill-broker"]);
        std::fs::write(&path, broken).unwrap();
        sandbox.ok(["peers"]);
        let token = sandbox.token();
        assert!(token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
        assert_eq!(Request::get("/v1/peers").token(&token).tcp(&sandbox).status, 200);
    }
}

/// Calls the socket as another Unix user, from a thread of its own: on Linux a thread has its
/// own credentials.
#[cfg(target_os = "linux")]
fn as_nobody(socket: PathBuf) -> std::io::Result<Option<u16>> {
    std::thread::spawn(move || {
        use rustix::process::{Gid, Uid};
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let answer = exchange(&mut stream, &Request::get("/health").bytes());
        Ok(answer.map(|answer| answer.status))
    })
    .join()
    .unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn another_user_is_refused_by_the_directory_by_the_socket_and_by_the_uid_check() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can act as another user");
        return;
    }
    let world = World::new();
    let socket = world.sandbox.socket();
    let denied = std::io::ErrorKind::PermissionDenied;
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // The sandbox's own directories are in the way as well; they are not what is tested.
    open(world.sandbox.path(), 0o755);
    open(&world.sandbox.path().join("run"), 0o755);
    assert_eq!(as_nobody(socket.clone()).unwrap_err().kind(), denied, "the directory is 0700");
    open(socket.parent().unwrap(), 0o755);
    assert_eq!(as_nobody(socket.clone()).unwrap_err().kind(), denied, "the socket is 0600");
    open(&socket, 0o777);
    for _ in 0..20 {
        assert_eq!(as_nobody(socket.clone()).unwrap(), None, "connected, and turned away");
    }
    world.still_serves();
}

#[test]
fn a_sender_cannot_be_forged() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let (alice, bob) = (RawPeer::register(sandbox, "alice"), RawPeer::register(sandbox, "bob"));
    for field in ["from", "from_id", "from_name", "sender", "sender_name", "session"] {
        let mut body = json!({ "to": bob.id, "text": "forged" });
        body[field] = alice.id.clone().into();
        let request = Request::post("/v1/messages", &body);
        let expected = (400, "bad_request".to_owned());
        assert_eq!(request.unix(sandbox).refusal(), expected, "{field}");
        let over_tcp = request.token(&world.token).tcp(sandbox);
        assert_eq!(over_tcp.refusal(), expected, "{field} over TCP");
    }
    // A secret that nobody registered with is nobody, and neither is an instance's public name.
    for secret in ["0".repeat(64), alice.id.clone(), alice.instance.clone(), String::new()] {
        for (method, path) in &ROUTES[1..9] {
            // The history is the owner's, whatever session asks.
            if (*method, *path) == ("GET", "/v1/messages") {
                continue;
            }
            let body = match *path {
                "/v1/messages" => json!({ "to": bob.id, "text": "forged" }),
                "/v1/mailbox/confirm" | "/v1/mailbox/written" => json!({ "ids": [] }),
                _ => json!({}),
            };
            let request = match *method {
                "GET" => Request::get(path),
                _ => Request::post(path, &body),
            };
            let refusal = request.session(&secret).unix(sandbox).refusal();
            assert_eq!(refusal, (401, "unknown_session".to_owned()), "{method} {path} {secret:?}");
        }
    }
    assert_eq!(world.messages(), 0);
    let id = alice.send(sandbox, &bob.id, "true");
    assert_eq!(sandbox.message(&id)["from"]["id"], alice.id.as_str());
    assert_eq!(sandbox.message(&id)["from"]["name"], "alice");
    world.still_serves();
}

#[test]
fn one_session_cannot_register_as_another() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let alice = RawPeer::register(sandbox, "alice");
    let bob = RawPeer::register(sandbox, "bob");
    let mail = bob.send(sandbox, &alice.id, "for alice alone");
    let registration = |instance: &str, client: Value| {
        Request::post(
            "/v1/register",
            &json!({
                "instance": instance, "secret": "s".repeat(64), "session": "raw-new",
                "client": client, "cwd": "/", "channel": "absent",
            }),
        )
    };
    // Her instance, with another secret.
    let refusal = registration(&alice.instance, Value::Null).unix(sandbox).refusal();
    assert_eq!(refusal, (403, "forbidden".to_owned()));
    // In the name of a process that the caller does not descend from.
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let refusal = registration("x", json!({ "pid": stranger.id() })).unix(sandbox).refusal();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(refusal, (403, "forbidden".to_owned()));
    for pid in [world.pid, 1, 4_000_000_000] {
        let refusal = registration("x", json!({ "pid": pid })).unix(sandbox).refusal();
        assert_eq!(refusal, (403, "forbidden".to_owned()), "{pid}");
    }
    // Of its own process or one above it, it may.
    let own = registration("x", json!({ "pid": std::process::id() })).unix(sandbox);
    assert_eq!(own.status, 200, "{:?}", own.refusal());
    assert_eq!(sandbox.message(&mail)["state"], "queued");
    assert_eq!(alice.take(sandbox), ["for alice alone"]);
    world.still_serves();
}

/// A caller that names no client at all says nothing of its descent, so it must not share what
/// a live client holds.
#[test]
fn a_caller_that_hides_its_client_does_not_join_a_live_session() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let mut alice = SessionOptions::new("alice").without_channel().start(sandbox);
    let forged = Request::post(
        "/v1/register",
        &json!({
            "instance": "forger", "secret": "f".repeat(64), "session": "session-alice",
            "cwd": "/", "channel": "presumed",
        }),
    )
    .unix(sandbox);
    assert_eq!(forged.status, 200, "{:?}", forged.refusal());
    assert_ne!(forged.json()["peer"]["id"], alice.id().as_str());
    assert!(!forged.json()["notes"].as_array().unwrap().is_empty());
}

/// Not a test: what the test below runs as an orphan. It registers in the name of a process that
/// it does not descend from, once its own parent is gone.
#[test]
#[ignore = "run by an_orphan_cannot_register_as_another"]
fn orphan() {
    let Ok(socket) = std::env::var("ORPHAN_SOCKET") else { return };
    let parent: u32 = std::env::var("ORPHAN_PARENT").unwrap().parse().unwrap();
    until("the parent is gone", || std::os::unix::process::parent_id() != parent);
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = std::env::var("ORPHAN_REQUEST").unwrap();
    let answer = exchange(&mut stream, request.as_bytes()).unwrap();
    let result = std::env::var("ORPHAN_RESULT").unwrap();
    std::fs::write(format!("{result}.new"), answer.status.to_string()).unwrap();
    std::fs::rename(format!("{result}.new"), result).unwrap();
}

#[test]
fn an_orphan_cannot_register_as_another() {
    let world = World::new();
    let registration = Request::post(
        "/v1/register",
        &json!({
            "instance": "orphan", "secret": "o".repeat(64), "session": "raw-orphan",
            "client": { "pid": std::process::id() }, "cwd": "/", "channel": "absent",
        }),
    );
    let result = world.sandbox.path().join("result");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ORPHAN_PARENT=$$ \"$0\" --ignored --exact refusals::orphan &"])
        .arg(std::env::current_exe().unwrap())
        .env("ORPHAN_SOCKET", world.sandbox.socket())
        .env("ORPHAN_REQUEST", String::from_utf8(registration.bytes()).unwrap())
        .env("ORPHAN_RESULT", &result)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(shell.status().unwrap().success());
    until("the orphan has called", || result.exists());
    assert_eq!(std::fs::read_to_string(&result).unwrap(), "403");
    world.still_serves();
}

/// Announces a body and sends it as long as the other side takes it.
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
    let stranger = "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n";
    let owner = format!("{stranger}Authorization: Bearer {}\r\n", world.token);
    for chunked in [false, true] {
        // The connection may be closed before the answer was read, never accepted.
        let without = flood(&mut tcp(sandbox), stranger, chunked);
        assert!(matches!(without, None | Some(401)), "{without:?}");
        let with = flood(&mut tcp(sandbox), &owner, chunked);
        assert!(matches!(with, None | Some(413)), "{with:?}");
        let local = flood(&mut unix(sandbox), stranger, chunked);
        assert!(matches!(local, None | Some(413)), "{local:?}");
        world.still_serves();
    }
    let grown = world.process_status("VmHWM") - before;
    assert!(grown < 32 * 1024, "the broker grew by {grown} KiB");
    assert_eq!(world.messages(), 0);
    // Who waits for the answer is told why.
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
    // Two lengths for one body: whatever is answered, what stands in the body is no request.
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
    // All written before anything is read.
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

/// As many descriptors as this process may have, less what the other tests need.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|m| m.min(1 << 20));
    // An error leaves us with what we have.
    let _ = setrlimit(Resource::Nofile, limit);
    let now = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(now).unwrap().saturating_sub(600).max(100)
}

#[test]
fn ten_thousand_tcp_connections_are_capped_and_sessions_do_not_notice() {
    const ALL: usize = 10_000;
    let world = World::new();
    let sandbox = &world.sandbox;
    let mut session = sandbox.session("backend");
    let before = world.open_files();
    let most = descriptors();
    let mut opened = 0;
    while opened < ALL {
        let count = most.min(ALL - opened);
        let open: Vec<TcpStream> = (0..count)
            .map(|_| TcpStream::connect(("127.0.0.1", sandbox.port())).unwrap())
            .collect();
        opened += open.len();
        let held = world.open_files().saturating_sub(before);
        assert!(held < 200, "the broker holds {held} of {count} connections");
        // Everything that matters goes over the Unix socket.
        let listed = sandbox.json(["peers"]);
        assert_eq!(listed["peers"][0]["name"], "backend");
        let id = sandbox.ok(["send", "backend", "in the flood"]);
        assert_eq!(session.push()["meta"]["message_id"], id.split(' ').next().unwrap());
        drop(open);
    }
    until("TCP is served again", || {
        let mut stream = tcp(sandbox);
        exchange(&mut stream, &Request::get("/health").bytes()).is_some()
    });
    world.still_serves();
}

#[test]
fn a_flood_on_the_unix_socket_leaves_the_broker_its_descriptors() {
    let sandbox = Sandbox::new();
    let mut shell = Command::new("sh");
    let broker = sandbox.command(["broker"]);
    shell.env_clear().envs(broker.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = shell
        .args(["-c", "ulimit -n 256; exec \"$0\" broker", crate::support::PROGRAM])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the broker serves", || sandbox.status_is("running"));
    let mut session = sandbox.session("backend");
    let flood: Vec<UnixStream> =
        (0..1_000).filter_map(|_| UnixStream::connect(sandbox.socket()).ok()).collect();
    assert!(flood.len() > 300, "{} connections", flood.len());
    // The session's own connections are older than the flood, and go on.
    let me = session.me();
    assert_eq!(me["live"], true);
    let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().count();
    assert!(files < 200, "{files} descriptors");
    drop(flood);
    until("the socket is served again", || sandbox.run(["peers"]).status.success());
    let id = sandbox.ok(["send", "backend", "after the flood"]);
    assert_eq!(session.push()["meta"]["message_id"], id.split(' ').next().unwrap());
    assert!(child.try_wait().unwrap().is_none(), "the broker lives");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn who_asks_and_never_reads_is_cut_off() {
    let world = World::new();
    let mut stream = tcp(&world.sandbox);
    stream.set_nonblocking(true).unwrap();
    let requests = Request::get("/health").bytes().repeat(100);
    let mut last = Instant::now();
    // Asks until the broker takes no more, because its answers lie unread, and then waits.
    let end = loop {
        match stream.write(&requests) {
            Ok(_) => last = Instant::now(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                assert!(last.elapsed() < 2 * PATIENCE, "it keeps its place for ever");
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => break error.kind(),
        }
    };
    assert!(
        matches!(end, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
        "{end:?}"
    );
    world.still_serves();
}

#[test]
fn who_dawdles_with_its_request_is_cut_off_and_makes_room() {
    const DRIP: Duration = Duration::from_millis(500);
    let world = World::new();
    let sandbox = &world.sandbox;
    let head = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
    let since = Instant::now();
    // One says nothing, one is idle after a request, one knows the token and begins a body, the
    // others never come to their headers' end. They fill all places.
    let mut idle = tcp(sandbox);
    assert_eq!(exchange(&mut idle, &Request::get("/health").bytes()).unwrap().status, 200);
    let mut silent = tcp(sandbox);
    let mut begun = tcp(sandbox);
    let post = Request::raw("/v1/messages", "{}").token(&world.token);
    begun.write_all(post.with("Content-Length", "100").bytes().as_slice()).unwrap();
    let mut slow: Vec<TcpStream> = (0..125)
        .map(|_| {
            let mut stream = tcp(sandbox);
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    // There is no room for another, and the Unix socket does not care.
    until("the cap is reached", || {
        exchange(&mut tcp(sandbox), &Request::get("/health").bytes()).is_none()
    });
    assert_eq!(Request::get("/health").unix(sandbox).status, 200);
    // Drips keep nobody alive.
    let mut dripping = slow.pop().unwrap();
    dripping.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut byte = [0u8];
    loop {
        assert!(since.elapsed() < PATIENCE, "a connection that drips is cut off");
        let written = dripping.write_all(b"x");
        let ended = match dripping.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        };
        if written.is_err() || ended {
            break;
        }
        std::thread::sleep(DRIP);
    }
    for stream in [&mut silent, &mut idle, &mut begun, &mut slow[0]] {
        let mut rest = Vec::new();
        // Reads to the end, or gives up after PATIENCE.
        let read = stream.read_to_end(&mut rest);
        let gone =
            read.is_ok() || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(gone, "it is cut off");
    }
    until("there is room again", || {
        exchange(&mut tcp(sandbox), &Request::get("/health").bytes()).is_some()
    });
    for stream in slow {
        // An error means that it is closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
    world.still_serves();
}
