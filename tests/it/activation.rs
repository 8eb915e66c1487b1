//! Promise 8: the first connection to a socket of the service manager starts the broker.
//!
//! The broker serves the sockets that it was handed and binds those that are missing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Manager, PATIENCE, PROGRAM, Sandbox, free_port, send_signal, until, write_program,
};

fn is_ready_and_not_started(sandbox: &Sandbox) {
    let said = sandbox.ok(["status"]);
    assert!(said.contains("ready; it starts on the first connection"), "{said}");
    assert_eq!(sandbox.json(["status"])["state"], "ready");
    assert!(sandbox.broker().is_none(), "status started it");
}

fn health_over_tcp(sandbox: &Sandbox) -> String {
    health_on(sandbox.port())
}

fn health_on(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs a broker under a manager that listens on the Unix socket, from its start to its end.
fn serves_as_a_service(tcp: bool) {
    let sandbox = Sandbox::new();
    let manager = Manager::listen(&sandbox, true, tcp);
    is_ready_and_not_started(&sandbox);
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    let said = sandbox.ok(["status"]);
    assert!(said.contains("running (started by systemd)"), "{said}");
    let status: Value = sandbox.json(["status"]);
    assert_eq!(status["pid"], broker.id());
    assert_eq!(status["health"]["tcp"]["listening"], true);
    assert_eq!(status["health"]["tcp"]["inherited"], tcp);
    assert_eq!(status["health"]["socket_inherited"], true);
    assert!(health_over_tcp(&sandbox).contains("\"status\":\"ok\""));

    // Sessions are served, and no other broker is started.
    let mut a = sandbox.session("a");
    let mut b = sandbox.session("b");
    a.send("b", "hello");
    assert_eq!(b.push()["content"], "hello");
    assert_eq!(sandbox.broker().unwrap().pid, broker.id());
    drop((a, b));

    let said = sandbox.ok(["kill-broker"]);
    assert!(said.contains("systemd still listens"), "{said}");
    assert!(broker.wait().unwrap().success());
    assert!(sandbox.socket().exists(), "the socket is the manager's");
    is_ready_and_not_started(&sandbox);

    // After a SIGKILL the next connection starts it again, and so does a session.
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    let mut c = sandbox.session("c");
    broker.kill().unwrap();
    broker.wait().unwrap();
    let (listing, mut broker) = manager.activate(&sandbox, || c.me());
    assert_eq!(listing["name"], "c");
    assert_eq!(sandbox.broker().unwrap().pid, broker.id());
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
fn kill_broker_leaves_a_service_alone_that_is_another_broker() {
    let sandbox = Sandbox::new();
    // A user manager whose service runs with other settings than these.
    let bin = sandbox.path().join("bin");
    let orders = sandbox.path().join("orders");
    std::fs::create_dir_all(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{}'\ncase $* in *show*) echo Id=claude-peers.service; echo MainPID=1;; esac\n",
        orders.display()
    );
    write_program(&bin.join("systemctl"), script);
    let path = format!("{}:{}", bin.display(), sandbox.variable("PATH").unwrap());
    let sandbox = sandbox.with("PATH", path);
    let private = sandbox.path().join("run/systemd/private");
    std::fs::create_dir_all(private.parent().unwrap()).unwrap();
    let _manager = std::os::unix::net::UnixListener::bind(private).unwrap();

    let manager = Manager::listen(&sandbox, true, false);
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
    let orders = std::fs::read_to_string(orders).unwrap();
    assert!(orders.contains("show") && !orders.contains("stop"), "{orders}");
}

#[test]
fn a_service_whose_port_is_masked_binds_none() {
    let sandbox = Sandbox::new();
    let units = sandbox.path().join("config/systemd/user");
    std::fs::create_dir_all(&units).unwrap();
    let mask = units.join("claude-peers-tcp.socket");
    std::os::unix::fs::symlink("/dev/null", &mask).unwrap();
    let manager = Manager::listen(&sandbox, true, false);
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    let said = sandbox.ok(["status"]);
    assert!(said.contains("is not open (claude-peers-tcp.socket is masked)"), "{said}");
    let told = sandbox.ok(["doctor", "--no-claude"]);
    assert!(
        told.contains("is not open, as you chose: claude-peers-tcp.socket is masked"),
        "{told}"
    );
    assert!(told.ends_with("\nNo problems found.\n"), "{told}");
    // A reload binds a port that was taken before. This one was not taken.
    send_signal(broker.id(), rustix::process::Signal::HUP);
    let log = || std::fs::read_to_string(sandbox.path().join("broker.log")).unwrap();
    until("it has read its configuration again", || log().contains("was reloaded"));
    sandbox.ok(["peers"]);
    assert!(TcpStream::connect(("127.0.0.1", sandbox.port())).is_err());
    sandbox.ok(["kill-broker"]);
    broker.wait().unwrap();

    std::fs::remove_file(mask).unwrap();
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    assert!(health_over_tcp(&sandbox).contains("\"status\":\"ok\""));
    sandbox.ok(["kill-broker"]);
    broker.wait().unwrap();
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
fn an_idle_service_exits_and_its_socket_starts_it_again() {
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
    claude_peers::sys::files::private_directory(config.paths.runtime()).unwrap();
    let mut command = sandbox.command_of::<&str>(ACTIVATE, []);
    command.arg("--fdname=unix:tcp");
    command.arg("-l").arg(&config.paths.socket);
    command.arg("-l").arg(format!("127.0.0.1:{}", config.port));
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
    assert_eq!(sandbox.broker().unwrap().pid, broker.id());
    assert!(health_over_tcp(&sandbox).contains("\"ok\""));
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}

fn answers_on(path: &Path) -> bool {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn several_sockets_of_each_kind_are_all_served_in_whatever_order() {
    let sandbox = Sandbox::new();
    let (second_port, second_path) = (free_port(), sandbox.path().join("second.sock"));
    let mut manager = Manager::default();
    manager.add_tcp("tcp", second_port);
    manager.add_unix(&sandbox, "unix", &sandbox.socket());
    manager.add_tcp("claude-peers-tcp.socket", sandbox.port());
    manager.add_unix(&sandbox, "unix", &second_path);
    let (_, mut broker) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    assert!(answers_on(&second_path) && answers_on(&sandbox.socket()));
    assert!(health_on(second_port).contains("\"ok\""));
    assert!(health_over_tcp(&sandbox).contains("\"ok\""));
    assert_eq!(sandbox.json(["status"])["health"]["tcp"]["inherited"], true);
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}

#[test]
fn where_the_manager_listens_on_other_addresses_the_settings_are_served_as_well() {
    let sandbox = Sandbox::new();
    let (other_port, other_path) = (free_port(), sandbox.path().join("other.sock"));
    let mut manager = Manager::default();
    manager.add_unix(&sandbox, "unix", &other_path);
    manager.add_tcp("tcp", other_port);
    let (answered, mut broker) = manager.activate(&sandbox, || answers_on(&other_path));
    assert!(answered);
    let health = &sandbox.json(["status"])["health"];
    assert_eq!(health["socket_inherited"], false);
    assert_eq!(health["tcp"]["inherited"], false);
    assert!(
        health_on(other_port).contains("\"ok\"") && health_over_tcp(&sandbox).contains("\"ok\"")
    );
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
    assert!(!sandbox.socket().exists() && other_path.exists(), "each removes its own");
}

#[test]
fn what_is_not_ours_is_not_served_and_what_is_missing_is_bound() {
    let sandbox = Sandbox::new();
    let foreign_path = sandbox.path().join("foreign.sock");
    let everywhere = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let (open_port, foreign_port) = (everywhere.local_addr().unwrap().port(), free_port());
    let mut manager = Manager::default();
    manager.add("unix", UnixStream::pair().unwrap().0);
    manager.add("unix", std::fs::File::open("/dev/null").unwrap());
    manager.add("tcp", UdpSocket::bind(("127.0.0.1", 0)).unwrap());
    manager.add("tcp", everywhere);
    // A listener under the other kind's name, and one under an unknown name.
    manager.add_unix(&sandbox, "tcp", &foreign_path);
    manager.add_tcp("web", foreign_port);
    let mut broker = manager.start(&sandbox);
    until("the broker serves", || sandbox.status_is("running"));
    let status = sandbox.json(["status"]);
    assert_eq!(status["health"]["started"], "foreground", "nobody handed it a socket: {status}");
    assert_eq!(status["health"]["tcp"]["inherited"], false);
    sandbox.ok(["peers"]);
    assert!(health_over_tcp(&sandbox).contains("\"ok\""));
    // The broker has closed these. The manager's own copies still accept, and nothing answers.
    for port in [open_port, foreign_port] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 16]).is_err(), "port {port} is served");
    }
    let log = std::fs::read_to_string(sandbox.path().join("broker.log")).unwrap();
    for word in [
        "\"unix\" does not listen",
        "\"unix\" is not a stream socket",
        "\"tcp\" is not a stream socket",
        "which other machines can reach",
        "\"tcp\" is not named",
        "\"web\" is not named",
    ] {
        assert!(log.contains(word), "{word}: {log}");
    }
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}
