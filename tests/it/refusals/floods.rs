//! Promise 6: floods of connections, and connections that are held idle, disturb no session.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::World;
use crate::support::http::{Request, exchange, tcp};
use crate::support::{PATIENCE, Sandbox, until};

/// As many descriptors as this process may have, less what the other tests need.
fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|m| m.min(1 << 20));
    // After an error the old limit remains.
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
    let mut child = sandbox.start_small_broker();
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
fn a_caller_that_never_reads_is_cut_off() {
    let world = World::new();
    let mut stream = tcp(&world.sandbox);
    stream.set_nonblocking(true).unwrap();
    let requests = Request::get("/health").bytes().repeat(100);
    let mut last = Instant::now();
    // Sends requests until the broker takes no more, because its answers are unread, and then
    // waits.
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
fn a_caller_that_never_finishes_its_request_is_cut_off_and_makes_room() {
    const DRIP: Duration = Duration::from_millis(500);
    let world = World::new();
    let sandbox = &world.sandbox;
    let head = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
    let since = Instant::now();
    // One connection is silent, one is idle after a request, one knows the token and begins a body,
    // the others never finish their headers. They fill all places.
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
    // There is no room for another connection, and the Unix socket is not affected.
    until("the cap is reached", || {
        exchange(&mut tcp(sandbox), &Request::get("/health").bytes()).is_none()
    });
    assert_eq!(Request::get("/health").unix(sandbox).status, 200);
    // Single bytes keep no connection open.
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
