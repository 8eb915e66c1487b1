//! Promise 4: other users of the machine can read and reach nothing.

use std::path::Path;
use std::process::Stdio;

use claude_peers::sys::files::beside;

use super::World;
use crate::support::http::Request;
use crate::support::{PROGRAM, Sandbox, chmod, mode};

#[test]
fn files_and_sockets_are_for_their_owner_alone_whatever_the_umask() {
    let sandbox = Sandbox::new();
    let status = sandbox
        .command_of("sh", ["-c", "umask 000; exec \"$0\" peers", PROGRAM])
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
        beside(&database, "-wal"),
        beside(&database, "-shm"),
        beside(&database, "-lock"),
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
        chmod(path, mode);
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
        assert_eq!(mode(&beside(&database, suffix)), 0o600, "{suffix}");
    }
    assert_eq!(mode(&paths.token), 0o600);
    assert_ne!(world.sandbox.token(), old_token);
    let stolen = Request::get("/v1/peers").token(&old_token).tcp(&world.sandbox);
    assert_eq!(stolen.status, 401);
    // One that only a group could read is exposed as well.
    let old_token = world.sandbox.token();
    world.sandbox.ok(["kill-broker"]);
    open(&paths.token, 0o640);
    world.sandbox.ok(["peers"]);
    assert_ne!(world.sandbox.token(), old_token);
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

/// Calls the socket as another Unix user, from a thread of its own: on Linux a thread has its own
/// credentials.
#[cfg(target_os = "linux")]
fn as_nobody(socket: std::path::PathBuf, request: Request) -> std::io::Result<Option<u16>> {
    use std::os::unix::net::UnixStream;

    use crate::support::PATIENCE;
    use crate::support::http::exchange;

    std::thread::spawn(move || {
        use rustix::process::{Gid, Uid};
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let answer = exchange(&mut stream, &request.bytes());
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
        chmod(path, mode);
    };
    let call = || as_nobody(socket.clone(), Request::get("/health"));
    // The sandbox's own directories are private as well; they are not what is tested.
    open(world.sandbox.path(), 0o755);
    open(&world.sandbox.path().join("run"), 0o755);
    assert_eq!(call().unwrap_err().kind(), denied, "the directory is 0700");
    open(socket.parent().unwrap(), 0o755);
    assert_eq!(call().unwrap_err().kind(), denied, "the socket is 0600");
    open(&socket, 0o777);
    for _ in 0..20 {
        assert_eq!(call().unwrap(), None, "connected, and turned away");
    }
    // A program of ours is told why.
    for path in ["/health", "/v1/peers", "/v1/messages"] {
        let ours = Request::get(path).with("claude-peers-protocol", "2");
        assert_eq!(as_nobody(socket.clone(), ours).unwrap(), Some(403), "{path}");
    }
    world.still_serves();
}
