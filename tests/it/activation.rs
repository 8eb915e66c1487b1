//! Sockets that a service manager listens on: the first connection starts the broker, which
//! serves what it was handed and binds what is missing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::support::{PATIENCE, PROGRAM, Sandbox, until};

/// A service manager in small: it listens, and starts the broker on the first connection by the
/// protocol of `sd_listen_fds(3)`.
struct Manager {
    sockets: Vec<OwnedFd>,
}

impl Manager {
    fn listen(sandbox: &Sandbox, unix: bool, tcp: bool) -> Self {
        let config = sandbox.config();
        claude_peers::files::private_directory(config.paths.runtime()).unwrap();
        let mut sockets: Vec<OwnedFd> = Vec::new();
        if unix {
            sockets.push(UnixListener::bind(&config.paths.socket).unwrap().into());
        }
        if tcp {
            sockets.push(TcpListener::bind(("127.0.0.1", config.port.value)).unwrap().into());
        }
        Self { sockets }
    }

    /// Waits for a connection and starts the broker for it.
    fn start_on_connection(&self, sandbox: &Sandbox) -> Child {
        let fds: Vec<BorrowedFd<'_>> = self.sockets.iter().map(|socket| socket.as_fd()).collect();
        let mut watched: Vec<PollFd<'_>> =
            fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        assert!(poll(&mut watched, Some(&limit)).unwrap() > 0, "nobody connects");
        // The shell's process becomes the broker's, so its pid is the one to name.
        let (count, redirections) = match self.sockets.len() {
            1 => (1, "3<&0"),
            _ => (2, "3<&0 4<&1"),
        };
        let script = format!(
            "export LISTEN_PID=$$ LISTEN_FDS={count}; exec \"$0\" broker {redirections} </dev/null >/dev/null"
        );
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(sandbox.path().join("broker.log"))
            .unwrap();
        let mut command = sandbox.command_of("sh", ["-c", &script, PROGRAM]);
        command.stdin(self.sockets[0].try_clone().unwrap()).stderr(log);
        match self.sockets.get(1) {
            Some(second) => command.stdout(second.try_clone().unwrap()),
            None => command.stdout(Stdio::null()),
        };
        command.spawn().unwrap()
    }

    /// Runs `client`, whose connection starts the broker.
    fn activate<T>(&self, sandbox: &Sandbox, client: impl FnOnce() -> T) -> (T, Child) {
        std::thread::scope(|scope| {
            let broker = scope.spawn(|| self.start_on_connection(sandbox));
            let result = client();
            (result, broker.join().unwrap())
        })
    }
}

fn is_ready_and_not_started(sandbox: &Sandbox) {
    let said = sandbox.ok(["status"]);
    assert!(said.contains("ready, starts on the first connection"), "{said}");
    assert_eq!(sandbox.json(["status"])["state"], "ready");
    assert!(sandbox.holder().is_none(), "status started it");
}

fn health_over_tcp(sandbox: &Sandbox) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", sandbox.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A broker under a manager that listens on the Unix socket, for its whole life.
fn serves_as_a_service(tcp: bool) {
    let sandbox = Sandbox::new();
    let manager = Manager::listen(&sandbox, true, tcp);
    is_ready_and_not_started(&sandbox);
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    let said = sandbox.ok(["status"]);
    assert!(said.contains("running (started by systemd)"), "{said}");
    let status: Value = sandbox.json(["status"]);
    assert_eq!(status["process"], broker.id());
    assert_eq!(status["health"]["tcp"]["listening"], true);
    assert!(health_over_tcp(&sandbox).contains("\"status\":\"ok\""));

    // Sessions are served, and no other broker is ever started.
    let mut a = sandbox.session("a");
    let mut b = sandbox.session("b");
    a.send("b", "hello");
    assert_eq!(b.push()["content"], "hello");
    assert_eq!(sandbox.holder().unwrap().pid, broker.id());
    drop((a, b));

    let said = sandbox.ok(["kill-broker"]);
    assert!(said.contains("systemd still listens"), "{said}");
    assert!(broker.wait().unwrap().success());
    assert!(sandbox.socket().exists(), "the socket is the manager's");
    is_ready_and_not_started(&sandbox);

    // Killed, it comes back in the same way, and a session brings it.
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    let mut c = sandbox.session("c");
    broker.kill().unwrap();
    broker.wait().unwrap();
    let (listing, mut broker) = manager.activate(&sandbox, || c.me());
    assert_eq!(listing["name"], "c");
    assert_eq!(sandbox.holder().unwrap().pid, broker.id());
    drop(c);
    broker.kill().unwrap();
    broker.wait().unwrap();
    assert!(!Path::new(&sandbox.config().paths.log).exists(), "no client started one");
}

#[test]
fn a_service_with_the_unix_socket_alone_binds_the_port_itself() {
    serves_as_a_service(false);
}

#[test]
fn a_service_with_both_sockets_serves_both() {
    serves_as_a_service(true);
}

#[test]
fn a_service_with_the_port_alone_binds_the_unix_socket_itself() {
    let sandbox = Sandbox::new();
    let manager = Manager::listen(&sandbox, false, true);
    let (answer, mut broker) = manager.activate(&sandbox, || health_over_tcp(&sandbox));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ok\""), "{answer}");
    let said = sandbox.ok(["status"]);
    assert!(said.contains("running (started by systemd)"), "{said}");
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
    assert!(!sandbox.socket().exists(), "the socket was its own");
}

#[test]
fn an_idle_service_goes_and_its_socket_brings_it_back() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "1");
    let manager = Manager::listen(&sandbox, true, false);
    for _ in 0..2 {
        let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
        assert!(broker.wait().unwrap().success());
        is_ready_and_not_started(&sandbox);
    }
}

/// The same with systemd's own program, where it is installed.
#[test]
fn systemds_own_activation_starts_the_broker() {
    const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";
    if !Path::new(ACTIVATE).exists() {
        return println!("skipped: there is no {ACTIVATE}");
    }
    let sandbox = Sandbox::new();
    let config = sandbox.config();
    claude_peers::files::private_directory(config.paths.runtime()).unwrap();
    let mut command = sandbox.command_of::<&str>(ACTIVATE, []);
    command.arg("-l").arg(&config.paths.socket);
    command.arg("-l").arg(format!("127.0.0.1:{}", config.port.value));
    for name in
        ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "CLAUDE_PEERS_PORT"]
    {
        command.arg(format!("--setenv={name}"));
    }
    let mut broker = command
        .args([PROGRAM, "broker"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it listens", || sandbox.status_is("ready"));
    std::thread::sleep(Duration::from_millis(50));
    is_ready_and_not_started(&sandbox);
    sandbox.ok(["peers"]);
    assert!(sandbox.ok(["status"]).contains("running (started by systemd)"));
    assert_eq!(sandbox.holder().unwrap().pid, broker.id());
    assert!(health_over_tcp(&sandbox).contains("\"ok\""));
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}
