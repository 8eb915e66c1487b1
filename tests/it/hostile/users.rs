//! Promise 4: another Unix user tries everything against a broker that runs, and against one to come.
//!
//! The directories above the user's own are open to all, as in `/home` and `/tmp`, so that only what
//! is ours keeps the other out.

use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use claude_peers::endpoint::broker_lock::database_lock;
use claude_peers::sys::files::beside;

use crate::support::http::Request;
use crate::support::{PATIENCE, Sandbox, Session, chmod, copy_program, mode, until};

pub const OTHER: u32 = 65_534;

pub fn may_act_as_others() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        println!("skipped: only root can act as another user");
    }
    may
}

/// Runs a closure as another user, from a thread of its own: on Linux a thread has its own
/// credentials.
pub fn as_other<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    use rustix::process::{Gid, Uid};

    let work = move || {
        let (user, group) = (Uid::from_raw(OTHER), Gid::from_raw(OTHER));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        work()
    };
    std::thread::spawn(work).join().unwrap()
}

/// A sandbox whose directories can be entered by all, as a home and `/tmp` can.
fn open_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    chmod(sandbox.path(), 0o755);
    for part in ["home", "run", "state", "config"] {
        chmod(&sandbox.path().join(part), 0o755);
    }
    sandbox
}

/// Every file of the broker, with content.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let (paths, database) = (sandbox.config().paths, sandbox.database());
    vec![
        paths.broker_lock.clone(),
        paths.spawn_lock.clone(),
        paths.token.clone(),
        paths.log.clone(),
        sandbox.socket(),
        beside(&database, "-wal"),
        beside(&database, "-shm"),
        database_lock(&database),
        database,
    ]
}

/// A sandbox that others can reach into, with a session and a message to it.
fn with_a_message() -> (Sandbox, Session) {
    let sandbox = open_sandbox();
    let mut session = sandbox.session("one");
    let id = session.id();
    sandbox.ok(["send", &id, "between us"]);
    (sandbox, session)
}

#[test]
fn every_file_is_closed_to_another_user() {
    if !may_act_as_others() {
        return;
    }
    let (sandbox, _session) = with_a_message();
    let paths = sandbox.config().paths;
    for directory in [paths.runtime().to_owned(), paths.state().to_owned()] {
        let directory = directory.clone();
        let tried = as_other(move || {
            let listed = std::fs::read_dir(&directory).map(drop);
            let made = std::fs::write(directory.join("planted"), "x");
            let removed = std::fs::remove_file(directory.join("broker.sock"));
            [listed, made, removed]
        });
        assert!(tried.iter().all(Result::is_err), "{tried:?}");
    }
    let all = files(&sandbox);
    let before: Vec<u64> = all.iter().map(|file| std::fs::metadata(file).unwrap().ino()).collect();
    for file in &all {
        let path = file.clone();
        let tried = as_other(move || {
            let read = std::fs::File::open(&path).map(drop);
            let written = std::fs::OpenOptions::new().write(true).open(&path).map(drop);
            let removed = std::fs::remove_file(&path);
            let renamed = std::fs::rename(&path, "/tmp/claude-peers-stolen");
            let opened = std::fs::set_permissions(
                &path,
                <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666),
            );
            [read, written, removed, renamed, opened]
        });
        assert!(tried.iter().all(Result::is_err), "{}: {tried:?}", file.display());
    }
    let after: Vec<u64> = all.iter().map(|file| std::fs::metadata(file).unwrap().ino()).collect();
    assert_eq!(before, after);
}

#[test]
fn neither_socket_nor_port_serves_another_user() {
    if !may_act_as_others() {
        return;
    }
    let (sandbox, _session) = with_a_message();
    let socket = sandbox.socket();
    let refused = as_other({
        let socket = socket.clone();
        move || UnixStream::connect(socket).map(drop)
    });
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);

    let (port, token) = (sandbox.port(), sandbox.token());
    let guesses = [String::new(), "0".repeat(token.len()), token[..token.len() - 1].to_owned()];
    for guess in guesses {
        for (method, path) in [
            ("GET", "/v1/peers"),
            ("GET", "/v1/messages"),
            ("POST", "/v1/messages"),
            ("POST", "/v1/mailbox/take"),
            ("POST", "/v1/shutdown"),
            ("POST", "/v1/afresh"),
            ("GET", "/v1/stream"),
        ] {
            let mut request = Request::new(method, path);
            if !guess.is_empty() {
                request = request.token(&guess);
            }
            if method == "POST" {
                request = request.with("Content-Type", "application/json").body("{}");
            }
            let (bytes, what) = (request.bytes(), format!("{method} {path} with {guess:?}"));
            let answer = as_other(move || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                crate::support::http::exchange(&mut stream, &bytes).unwrap()
            });
            assert_eq!(answer.status, 401, "{what}");
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!said.contains("between us") && !said.contains(&token), "{what}: {said}");
        }
    }
    assert!(sandbox.status_is("running"));
    sandbox.ok(["peers"]);
}

/// The system does not let another user signal the broker; nor does our own program help with it.
#[test]
fn another_user_ends_no_broker() {
    if !may_act_as_others() {
        return;
    }
    let sandbox = open_sandbox();
    sandbox.ok(["peers"]);
    let program = sandbox.path().join("bin/claude-peers");
    copy_program(&program);
    chmod(program.parent().unwrap(), 0o755);
    let running = sandbox.broker().unwrap();
    let pid = rustix::process::Pid::from_raw(running.pid.try_into().unwrap()).unwrap();
    let signalled =
        as_other(move || rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    assert_eq!(signalled.unwrap_err(), rustix::io::Errno::PERM);
    for arguments in
        [&["kill-broker"][..], &["status"], &["peers"], &["log"], &["inbox"], &["token"]]
    {
        let output = sandbox
            .command_of("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(arguments)
            .env("CLAUDE_PEERS_SOCKET", sandbox.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        // To that user there is no broker, which `kill-broker` says as such.
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_blind = said.is_empty() || said.contains("broker");
        assert!(!output.status.success() || arguments == ["kill-broker"], "{arguments:?}: {said}");
        assert!(is_blind, "{arguments:?}: {said}");
    }
    let now = sandbox.broker().unwrap();
    assert_eq!(now.pid, running.pid);
    sandbox.ok(["peers"]);
}

/// Has another user make a directory, with all modes that could look like ours.
fn prepared(directory: &Path, open: u32) {
    std::fs::create_dir_all(directory).unwrap();
    chown(directory, Some(OTHER), Some(OTHER)).unwrap();
    chmod(directory, open);
}

/// What lies in a directory, below it as well.
fn count(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_runtime_directory_that_another_has_prepared_is_not_used() {
    if !may_act_as_others() {
        return;
    }
    for open in [0o700, 0o755, 0o777, 0o1777] {
        // The runtime directory itself, or only ours in it.
        for ours in [false, true] {
            let sandbox = open_sandbox();
            let run = sandbox.path().join("run");
            let directory = if ours { run.join("claude-peers") } else { run.clone() };
            prepared(&directory, open);
            sandbox.ok(["peers"]);
            let served: PathBuf = sandbox.json(["status"])["socket"].as_str().unwrap().into();
            assert!(!served.starts_with(&run), "{open:o}: {}", served.display());
            assert_eq!(count(&directory), 0, "{open:o}: nothing was made there");
            sandbox.ok(["kill-broker"]);
        }
    }
}

#[test]
fn a_directory_of_another_for_a_named_socket_is_refused() {
    if !may_act_as_others() {
        return;
    }
    for open in [0o700, 0o755, 0o777, 0o1777] {
        let sandbox = open_sandbox();
        let directory = sandbox.path().join("theirs/claude-peers");
        prepared(&directory, open);
        let socket = directory.join("b.sock");
        let sandbox = sandbox.with("CLAUDE_PEERS_SOCKET", socket.to_str().unwrap());
        for words in [&["peers"][..], &["broker"]] {
            let (_, error) = sandbox.fails(words);
            assert!(error.contains(&OTHER.to_string()) && error.contains("hint: "), "{error}");
        }
        assert_eq!(count(&directory), 0, "{open:o}: nothing was made there");
        assert_eq!(mode(&directory) & 0o777, open & 0o777, "and nothing changed");
    }
}

#[test]
fn a_state_directory_that_another_has_prepared_is_refused() {
    if !may_act_as_others() {
        return;
    }
    for open in [0o700, 0o755, 0o777, 0o1777] {
        let sandbox = open_sandbox();
        let state = sandbox.path().join("state/claude-peers");
        prepared(&state, open);
        for words in [&["peers"][..], &["broker"]] {
            let (_, error) = sandbox.fails(words);
            let named = error.contains(state.to_str().unwrap());
            assert!(named && error.contains("belongs to user"), "{open:o}: {error}");
            assert!(error.contains("hint: "), "{open:o}: {error}");
        }
        assert_eq!(count(&state), 0, "{open:o}: no token and no log was made there");
    }
}

/// In `/tmp` whoever comes first has a name: the sticky bit keeps what is there, not what is to come.
#[test]
fn nothing_that_another_prepared_for_the_database_is_used() {
    if !may_act_as_others() {
        return;
    }
    for suffix in ["", "-lock", "-wal", "-shm", "-journal"] {
        for open in [0o1777, 0o777] {
            let sandbox = open_sandbox();
            let shared = sandbox.path().join("tmp");
            std::fs::create_dir(&shared).unwrap();
            chmod(&shared, open);
            let database = shared.join("peers.db");
            let planted = beside(&database, suffix);
            as_other({
                let planted = planted.clone();
                move || {
                    std::fs::write(&planted, "").unwrap();
                    chmod(&planted, 0o666);
                }
            });
            let sandbox = sandbox.with("CLAUDE_PEERS_DB", database.to_str().unwrap());
            let (_, error) = sandbox.fails(["peers"]);
            assert!(error.contains("is writable by others"), "{suffix}: {error}");
            assert!(error.contains("CLAUDE_PEERS_DB"), "{suffix}: {error}");
            assert_eq!(std::fs::read(&planted).unwrap(), b"", "{suffix}: nothing was written");
            assert_eq!(count(&shared), 1, "{suffix}: nothing was made there");
        }
        // A home where all may write, as some containers have it: each file counts by itself.
        let sandbox = open_sandbox();
        chmod(&sandbox.home(), 0o1777);
        let planted = beside(&sandbox.database(), suffix);
        std::fs::write(&planted, "").unwrap();
        chown(&planted, Some(OTHER), Some(OTHER)).unwrap();
        chmod(&planted, 0o666);
        let (_, error) = sandbox.fails(["peers"]);
        assert!(error.contains(&format!("belongs to user id {OTHER}")), "{suffix}: {error}");
        assert_eq!(std::fs::read(&planted).unwrap(), b"", "{suffix}: nothing was written");
    }
}

/// A link that another made leads to a file of ours: it is not written through.
#[test]
fn a_link_of_another_in_an_open_directory_leads_nowhere() {
    if !may_act_as_others() {
        return;
    }
    for suffix in ["", "-lock", "-wal"] {
        let sandbox = open_sandbox();
        chmod(&sandbox.home(), 0o1777);
        let precious = sandbox.path().join("precious");
        std::fs::write(&precious, "kept").unwrap();
        let planted = beside(&sandbox.database(), suffix);
        std::os::unix::fs::symlink(&precious, &planted).unwrap();
        std::os::unix::fs::lchown(&planted, Some(OTHER), Some(OTHER)).unwrap();
        let output = sandbox.run(["peers"]);
        assert!(!output.status.success(), "{suffix}: {output:?}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept", "{suffix}");
        until("no broker is left", || sandbox.broker().is_none());
    }
}
