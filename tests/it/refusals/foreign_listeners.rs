//! Promise 4: a listener of another user in our broker's place hears nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::{PROGRAM, Sandbox, SessionOptions, chmod, copy_program};

const NOBODY: u32 = 65_534;

fn may_act_as_others() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        println!("skipped: only root can act as another user");
    }
    may
}

/// A false broker that answers every request and records what it hears.
struct Fake {
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Fake {
    /// Listens as `user`, from a thread of its own: on Linux a thread has its own credentials.
    fn listen(socket: &Path, user: u32) -> Self {
        use rustix::process::{Gid, Uid};

        let heard = Arc::new(Mutex::new(Vec::new()));
        let (socket, hears) = (socket.to_owned(), Arc::clone(&heard));
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if user != 0 {
                let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_res_gid(group, group, group).unwrap();
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            }
            let directory = socket.parent().unwrap();
            if !directory.exists() {
                std::fs::create_dir_all(directory).unwrap();
                chmod(directory, 0o755);
            }
            let listener = UnixListener::bind(&socket).unwrap();
            chmod(&socket, 0o777);
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                let mut bytes = [0; 64 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    hears.lock().unwrap().extend_from_slice(&bytes[..count]);
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                                  content-length: 2\r\n\r\n{}";
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        is_ready.recv().unwrap();
        Self { heard }
    }

    #[track_caller]
    fn heard_nothing(&self, of: &str) {
        let heard = self.heard.lock().unwrap();
        assert!(heard.is_empty(), "{of}: {}", String::from_utf8_lossy(&heard));
    }
}

/// Does all that a person's shell and sessions do. Returns the error of `send`, if it failed.
fn talk(sandbox: &Sandbox) -> Option<String> {
    let sent = sandbox.run(["send", "somebody", "between us"]);
    for words in [&["peers"][..], &["status"], &["inbox"], &["log"], &["token"]] {
        sandbox.run(words);
    }
    for event in ["SessionStart", "UserPromptSubmit", "Stop"] {
        let input = json!({ "session_id": "session-a", "hook_event_name": event, "cwd": "/" });
        let mut hook = sandbox
            .command(["hook", event])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = hook.stdin.take().unwrap().write_all(input.to_string().as_bytes());
        hook.wait().unwrap();
    }
    let mut session = SessionOptions::new("a").at_once().start(sandbox);
    session.try_call("list_peers", json!({}));
    session.try_call("send_message", json!({ "to_id": "somebody", "message": "between us" }));
    (!sent.status.success()).then(|| String::from_utf8(sent.stderr).unwrap())
}

#[test]
fn another_users_listener_at_our_socket_hears_not_a_byte_and_is_named() {
    if !may_act_as_others() {
        return;
    }
    // The directory is private by now: only the kernel knows the listener's user.
    let sandbox = Sandbox::new();
    chmod(sandbox.path(), 0o755);
    let socket = sandbox.socket();
    let directory = socket.parent().unwrap().to_owned();
    chmod(directory.parent().unwrap(), 0o777);
    std::fs::create_dir(&directory).unwrap();
    chmod(&directory, 0o777);
    let fake = Fake::listen(&socket, NOBODY);
    chmod(&directory, 0o700);
    chmod(directory.parent().unwrap(), 0o700);
    let error = talk(&sandbox).expect("nothing is sent");
    fake.heard_nothing("a private directory");
    for word in [socket.to_str().unwrap(), "65534", "hint: "] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let (code, _) = sandbox.fails(["status"]);
    assert_eq!(code, 3, "no broker of ours listens");
}

#[test]
fn a_socket_in_a_directory_that_others_may_write_is_not_trusted() {
    if !may_act_as_others() {
        return;
    }
    // Each directory, its mode, and whether the false broker makes the socket's directory in it.
    for (mode, makes_directory) in [(0o777, false), (0o1777, false), (0o1777, true), (0o770, true)]
    {
        let sandbox = Sandbox::new();
        chmod(sandbox.path(), 0o755);
        let place = sandbox.path().join("shared");
        std::fs::create_dir(&place).unwrap();
        if mode == 0o770 {
            chown(&place, None, Some(NOBODY)).unwrap();
        }
        chmod(&place, mode);
        let socket = if makes_directory { place.join("mine/b.sock") } else { place.join("b.sock") };
        let fake = Fake::listen(&socket, NOBODY);
        let sandbox = sandbox.with("CLAUDE_PEERS_SOCKET", socket.to_str().unwrap());
        let error = talk(&sandbox).expect("nothing is sent");
        fake.heard_nothing(&format!("{mode:o}"));
        assert!(error.contains("b.sock") && error.contains("hint: "), "{error}");
        // It was not even called.
        assert!(error.contains(", a directory above "), "{error}");
    }
}

#[test]
fn a_link_of_another_user_leads_nowhere() {
    if !may_act_as_others() {
        return;
    }
    let sandbox = Sandbox::new();
    chmod(sandbox.path(), 0o755);
    let (shared, ours) = (sandbox.path().join("shared"), sandbox.path().join("ours"));
    std::fs::create_dir(&shared).unwrap();
    chmod(&shared, 0o1777);
    std::fs::create_dir(&ours).unwrap();
    chmod(&ours, 0o700);
    let link = shared.join("link");
    std::os::unix::fs::symlink(&ours, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_SOCKET", link.join("b.sock").to_str().unwrap());
    let (_, error) = sandbox.fails(["peers"]);
    assert!(error.contains(shared.to_str().unwrap()) && error.contains("65534"), "{error}");
    assert_eq!(std::fs::read_dir(&ours).unwrap().count(), 0, "nothing was made through it");
    // A link of our own is followed.
    std::os::unix::fs::lchown(&link, Some(0), Some(0)).unwrap();
    sandbox.ok(["peers"]);
}

#[test]
fn a_runtime_directory_that_others_may_write_is_passed_over() {
    if !may_act_as_others() {
        return;
    }
    let sandbox = Sandbox::new();
    chmod(sandbox.path(), 0o755);
    let (run, socket) = (sandbox.path().join("run"), sandbox.socket());
    for mode in [0o777, 0o1777, 0o757] {
        chmod(&run, 0o777);
        let fake = Fake::listen(&socket, NOBODY);
        chmod(&run, mode);
        // Another place of ours is used instead.
        talk(&sandbox);
        sandbox.ok(["peers"]);
        fake.heard_nothing(&format!("{mode:o}"));
        let served: PathBuf = sandbox.json(["status"])["socket"].as_str().unwrap().into();
        assert!(!served.starts_with(&run), "{mode:o}: {}", served.display());
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_state_directory_that_others_may_write_is_not_trusted() {
    if !may_act_as_others() {
        return;
    }
    let sandbox = Sandbox::new();
    chmod(sandbox.path(), 0o755);
    let sandbox = sandbox.with("XDG_RUNTIME_DIR", "/nonexistent");
    let state = sandbox.path().join("state");
    chmod(&state, 0o777);
    if !sandbox.socket().starts_with(&state) {
        println!("skipped: this machine has a runtime directory of its own");
        return;
    }
    let fake = Fake::listen(&sandbox.socket(), NOBODY);
    let error = talk(&sandbox).expect("nothing is sent");
    fake.heard_nothing("state");
    assert!(error.contains(state.to_str().unwrap()), "{error}");
}

/// For an ordinary user, root is another user: a socket of root in the user's place is an accident
/// or a trap.
#[test]
fn root_is_another_user_too() {
    if !may_act_as_others() {
        return;
    }
    let sandbox = Sandbox::new();
    let program = sandbox.path().join("bin/claude-peers");
    copy_program(&program);
    let socket = sandbox.socket();
    std::fs::create_dir(socket.parent().unwrap()).unwrap();
    let everything = sandbox.command_of("chown", ["-R", "65534:65534", "."]).status().unwrap();
    assert!(everything.success());
    let fake = Fake::listen(&socket, 0);
    chown(&socket, Some(NOBODY), Some(NOBODY)).unwrap();
    let output = sandbox
        .command_of("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["send", "somebody", "between us"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    fake.heard_nothing("root");
    assert!(error.contains("user root (0)"), "{error}");
}

/// In a user namespace without a mapping, all users outside show as the same one.
#[test]
fn in_a_user_namespace_that_hides_users_no_listener_is_taken_for_ours() {
    let sandbox = Sandbox::new();
    let probe = sandbox.command_of("unshare", ["--user", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: no user namespaces here");
        return;
    }
    let mut broker = sandbox.start_broker();
    let output = sandbox
        .command_of("unshare", ["--user", PROGRAM, "send", "somebody", "between us"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("several users have our user id") || error.contains("65534"), "{error}");
    sandbox.broker().unwrap().ask_to_stop();
    broker.wait().unwrap();
}
