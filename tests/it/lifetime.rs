//! Promise 6: a server lives exactly as long as its session, and leaves no trace.
//!
//! Promise 7: a server that is only checked by its client starts no broker.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claude_peers::sys::process;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, PROGRAM, Sandbox, Session, SessionOptions, initialize, send_signal, until,
    with_default_signals,
};

/// How long an end may take on a loaded machine. The goal is 100 ms; the measured times are
/// printed, see `--nocapture`.
const PROMPT: Duration = Duration::from_secs(2);

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Waits until `name` has left the list, which must be soon.
#[track_caller]
fn leaves_the_list(sandbox: &Sandbox, name: &str, how: &str) {
    let since = Instant::now();
    while sandbox.live_names().iter().any(|live| live == name) {
        assert!(since.elapsed() < PROMPT, "{how}: {name} is still listed");
    }
    eprintln!("{how}: {name} left the list within {:?}", since.elapsed());
}

#[track_caller]
fn ends_promptly(session: &mut Session, how: &str) {
    let (code, took) = session.wait_end();
    assert_eq!(code, 0, "{how}");
    assert!(took < PROMPT, "{how}: {took:?}");
    eprintln!("{how}: ended after {took:?}");
}

#[test]
fn a_server_ends_when_its_client_closes_standard_input() {
    let sandbox = Sandbox::new();
    let _other = sandbox.session("other");
    let mut session = sandbox.session("leaver");
    session.close_input();
    ends_promptly(&mut session, "end of input");
    leaves_the_list(&sandbox, "leaver", "end of input");

    let mut silent = SessionOptions::new("silent").spawn(&sandbox);
    silent.close_input();
    ends_promptly(&mut silent, "end of input before the handshake");

    let mut brief = SessionOptions::new("brief").spawn(&sandbox);
    brief.handshake("claude-code");
    brief.close_input();
    ends_promptly(&mut brief, "end of input right after the handshake");
    assert_eq!(sandbox.live_names(), ["other"]);
}

#[test]
fn a_server_ends_on_each_termination_signal() {
    let sandbox = Sandbox::new();
    let _other = sandbox.session("other");
    for signal in SIGNALS {
        let mut session = sandbox.session("leaver");
        session.signal(signal);
        ends_promptly(&mut session, &format!("{signal:?}"));
        leaves_the_list(&sandbox, "leaver", &format!("{signal:?}"));

        // Before the handshake, but after the program has installed its signal handlers.
        let mut silent = SessionOptions::new("silent").spawn(&sandbox);
        silent.request("ping", json!({}));
        silent.signal(signal);
        ends_promptly(&mut silent, &format!("{signal:?} before the handshake"));
    }
}

#[test]
fn a_server_serves_and_ends_on_sockets_as_on_pipes() {
    use std::io::BufRead as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let sandbox = Sandbox::new();
    for way in [Some(Signal::INT), None] {
        // Claude Code gives sockets.
        let (mut input, server_input) = UnixStream::pair().unwrap();
        let (output, server_output) = UnixStream::pair().unwrap();
        let mut child = sandbox
            .command(["mcp"])
            .stdin(OwnedFd::from(server_input))
            .stdout(OwnedFd::from(server_output))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(input, "{}", initialize()).unwrap();
        output.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = String::new();
        std::io::BufReader::new(&output).read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
        match way {
            Some(signal) => send_signal(child.id(), signal),
            None => drop(input),
        }
        let since = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if since.elapsed() > PROMPT {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{way:?}: it does not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// A server whose client writes and never reads.
struct Unread(Child);

impl Unread {
    fn start(sandbox: &Sandbox, name: &str) -> Self {
        let directory = sandbox.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut child = sandbox
            .command(["mcp"])
            .env("CLAUDE_CODE_SESSION_ID", format!("session-{name}"))
            .env("CLAUDE_PEERS_CHANNEL", "on")
            .env("CLAUDE_PROJECT_DIR", &directory)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let input = child.stdin.as_mut().unwrap();
        write!(input, "{}\n{initialized}\n", initialize()).unwrap();
        Self(child)
    }

    /// Waits until the unread pipe takes no more. How much that is depends on the pieces: a page of
    /// the pipe may be filled in part.
    fn until_stuck(&self) {
        let output = self.0.stdout.as_ref().unwrap();
        let standing = || rustix::io::ioctl_fionread(output).unwrap();
        until("the pipe is full", || {
            let before = standing();
            std::thread::sleep(Duration::from_millis(100));
            before > 30_000 && before == standing()
        });
    }

    #[track_caller]
    fn ends_promptly(&mut self, how: &str) {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "{how}: it does not end");
            std::thread::sleep(Duration::from_millis(1));
        };
        let took = since.elapsed();
        assert_eq!(status.code(), Some(0), "{how}: signal {:?}", status.signal());
        assert!(took < PROMPT, "{how}: {took:?}");
        eprintln!("{how}, a client that reads nothing: ended after {took:?}");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_whose_client_reads_nothing_ends_all_the_same_and_loses_no_mail() {
    const COUNT: usize = 12;
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut ways: Vec<Option<Signal>> = SIGNALS.into_iter().map(Some).collect();
    ways.push(None);
    for (round, way) in ways.into_iter().enumerate() {
        let name = format!("deaf-{round}");
        let mut deaf = Unread::start(&sandbox, &name);
        until("it is live", || sandbox.live_names().contains(&name));
        let text = |n: usize| format!("{n} {}", "x".repeat(30_000));
        let ids: Vec<String> = (0..COUNT).map(|n| sender.send(&name, &text(n))).collect();
        deaf.until_stuck();
        let how = if let Some(signal) = way {
            send_signal(deaf.0.id(), signal);
            format!("{signal:?}")
        } else {
            drop(deaf.0.stdin.take());
            "end of input".to_owned()
        };
        deaf.ends_promptly(&how);
        leaves_the_list(&sandbox, &name, &how);
        // Whatever was in the pipe, the next server has all of it, in order.
        let mut next = SessionOptions::new(&name).at_once().start(&sandbox);
        for (n, id) in ids.iter().enumerate() {
            let push = next.push();
            assert_eq!(push["meta"]["message_id"], id.as_str(), "{how}: message {n}");
            assert_eq!(push["content"], text(n));
        }
    }
}

#[test]
fn a_server_whose_client_reads_no_answers_ends_all_the_same() {
    let sandbox = Sandbox::new();
    for signal in SIGNALS {
        let mut deaf = Unread::start(&sandbox, "deaf");
        // Fills the pipe with unread answers, and leaves some to be written.
        let input = deaf.0.stdin.as_mut().unwrap();
        for id in 1..=40 {
            let request = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" });
            writeln!(input, "{request}").unwrap();
        }
        deaf.until_stuck();
        send_signal(deaf.0.id(), signal);
        deaf.ends_promptly(&format!("{signal:?}"));
    }
}

/// Whether a process that is not our child has ended, or is a zombie.
fn is_gone(pid: u32) -> bool {
    process::of_pid(pid).is_none()
}

#[test]
fn a_server_ends_with_its_parent_though_its_input_stays_open() {
    ends_with_its_parent(|command| command);
}

/// As on a kernel before 5.3, in a container with an older seccomp profile, or before 5.10.
#[test]
#[cfg(target_os = "linux")]
fn a_server_ends_with_its_parent_also_where_there_are_no_pidfds() {
    use crate::support::seccomp::{Refused, refuse};
    for error in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        let calls = [Refused::always(libc::SYS_pidfd_open, error)];
        ends_with_its_parent(|command| refuse(command, &calls));
    }
}

/// The kernel's signal reports the end of the parent's thread, not of the parent.
#[test]
#[cfg(target_os = "linux")]
fn a_server_without_a_pidfd_of_its_parent_outlives_the_thread_that_started_it() {
    use crate::support::seccomp::{Refused, refuse};
    let sandbox = Sandbox::new();
    let mut other = sandbox.session("other");
    let mut command = SessionOptions::new("started").command(&sandbox);
    refuse(&mut command, &[Refused::always(libc::SYS_pidfd_open, libc::ENOSYS)]);
    // The thread goes on until the server handles the signal.
    let thread = std::thread::spawn(move || {
        let mut session = Session::spawn(command);
        session.handshake("claude-code");
        until("it is live", || session.me()["live"] == true);
        session
    });
    let mut session = thread.join().unwrap();
    other.send("started", "still there");
    assert_eq!(session.push()["content"], "still there");
    session.close_input();
    assert_eq!(session.wait_end().0, 0);
}

/// Its client is not its parent, so the kernel reports nothing and the hook polls.
#[test]
#[cfg(target_os = "linux")]
fn a_waiting_hook_ends_with_its_client_also_where_there_are_no_pidfds() {
    use crate::support::seccomp::{Refused, refuse};
    let sandbox = Sandbox::new();
    let _session = SessionOptions::new("waits").without_channel().start(&sandbox);
    let mut client = Command::new("sleep").arg("600").spawn().unwrap();
    let mut command = sandbox.command(["hook", "Stop", "--wait"]);
    command.env("CLAUDE_PID", client.id().to_string()).stdin(Stdio::piped());
    refuse(&mut command, &[Refused::always(libc::SYS_pidfd_open, libc::ENOSYS)]);
    let mut hook = command.spawn().unwrap();
    let input = json!({ "session_id": "session-waits", "stop_hook_active": false });
    write!(hook.stdin.take().unwrap(), "{input}").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(hook.try_wait().unwrap().is_none(), "it does not wait");
    client.kill().unwrap();
    client.wait().unwrap();
    until("it ends", || hook.try_wait().unwrap().is_some());
    assert_eq!(hook.wait().unwrap().code(), Some(0));
}

fn ends_with_its_parent(prepare: impl Fn(&mut Command) -> &mut Command) {
    let sandbox = Sandbox::new();
    let _other = sandbox.session("other");
    for settled in [true, false] {
        // The shell is the client; this test holds the other end of the server's input.
        let mut command = Command::new("sh");
        command
            .env_clear()
            .envs(
                ["PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"]
                    .map(|name| (name.to_owned(), sandbox.variable(name).unwrap().to_owned())),
            )
            .env("CLAUDE_PEERS_PORT", sandbox.variable("CLAUDE_PEERS_PORT").unwrap())
            .env("CLAUDE_PEERS_NAME", "orphan")
            .args([
                "-c",
                r#"exec 3<&0; "$0" mcp <&3 3<&- & echo $! >pid.new; mv pid.new pid; wait"#,
            ])
            .arg(PROGRAM)
            .current_dir(sandbox.path());
        with_default_signals(prepare(&mut command));
        let pid_file = sandbox.path().join("pid");
        let mut client = Session::spawn(command);
        until("the server is started", || pid_file.exists());
        let server: u32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        std::fs::remove_file(&pid_file).unwrap();
        if settled {
            client.handshake("some-client");
            until("it is live", || sandbox.live_names().contains(&"orphan".to_owned()));
        } else {
            client.request("ping", json!({}));
        }
        assert!(!is_gone(server));
        client.child.kill().unwrap();
        let since = Instant::now();
        while !is_gone(server) {
            if since.elapsed() > PROMPT {
                send_signal(server, Signal::KILL);
                panic!("it outlived its parent");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        eprintln!("parent killed: the server ended after {:?}", since.elapsed());
        // Only now: until here the input was open, so its end was not what the server noticed.
        client.close_input();
        leaves_the_list(&sandbox, "orphan", "parent killed");
    }
}

#[test]
fn a_server_that_is_killed_leaves_the_list_at_once() {
    let sandbox = Sandbox::new();
    let _other = sandbox.session("other");
    let session = sandbox.session("victim");
    assert!(sandbox.live_names().contains(&"victim".to_owned()));
    session.kill9();
    leaves_the_list(&sandbox, "victim", "SIGKILL");
    // It has no mail and no explicit name, so it is not listed as away either.
    assert_eq!(sandbox.json(["peers", "--all"])["peers"].as_array().unwrap().len(), 1);
}

/// Writes one request to the broker's socket, as a session's server does.
fn http(sandbox: &Sandbox, request: &str) -> std::os::unix::net::UnixStream {
    let mut stream = std::os::unix::net::UnixStream::connect(sandbox.socket()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn a_session_that_dies_while_it_opens_its_stream_leaves_no_ghost() {
    // As many new sessions as one process may register at once.
    const ROUNDS: u64 = 64;
    let sandbox = Sandbox::new();
    let _other = sandbox.session("other");
    for round in 0..ROUNDS {
        let secret = format!("{round:064}");
        let body = json!({
            "instance": format!("instance{round:08}"), "secret": secret, "cwd": "/", "channel": "presumed",
            "client_name": "some-client",
        })
        .to_string();
        let mut answer = String::new();
        let register = format!(
            "POST /v1/register HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        http(&sandbox, &register).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let open = format!(
            "GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nclaude-peers-session: {secret}\r\n\r\n"
        );
        let stream = http(&sandbox, &open);
        // Between the request and its answer.
        std::thread::sleep(Duration::from_micros(100 * (round % 20)));
        drop(stream);
    }
    let since = Instant::now();
    while sandbox.live_names() != ["other"] {
        assert!(since.elapsed() < PROMPT, "ghosts: {:?}", sandbox.live_names());
    }
}

/// What `claude mcp list` does to a server.
fn health_check(sandbox: &Sandbox, stay: Duration) {
    let mut session = SessionOptions::new("checked").spawn(sandbox);
    session.handshake("claude-code");
    let tools = session.request("tools/list", json!({}));
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 4);
    std::thread::sleep(stay);
    session.signal(Signal::INT);
    ends_promptly(&mut session, "health check");
}

#[test]
fn a_health_check_leaves_no_ghost_and_starts_no_broker() {
    let sandbox = Sandbox::new();
    let stays = [20, 50, 100].map(Duration::from_millis);
    for stay in stays {
        health_check(&sandbox, stay);
    }
    // Longer than it takes to announce a session.
    std::thread::sleep(Duration::from_millis(700));
    assert!(sandbox.broker().is_none(), "a broker was started");
    assert!(!sandbox.database().exists());
    // With a broker there is no trace either.
    let _other = sandbox.session("other");
    for stay in stays {
        health_check(&sandbox, stay);
    }
    let list = sandbox.json(["peers", "--all"]);
    let names: Vec<&Value> =
        list["peers"].as_array().unwrap().iter().map(|peer| &peer["name"]).collect();
    assert_eq!(names, ["other"]);
}
