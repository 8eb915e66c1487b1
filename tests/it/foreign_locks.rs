//! Promise 4: a lock whose owner runs in another container or machine ends no process here.
//!
//! The directory is shared. The message says where the broker is.

use std::path::Path;
use std::process::{Child, Command};

use claude_peers::endpoint::broker_lock::database_lock;
use claude_peers::protocol::ProcessId;
use claude_peers::sys::files::{LockFile, private_directory};
use claude_peers::sys::process;
use serde_json::json;

use crate::support::{Sandbox, SessionOptions, findings_of};

/// A process of this user that has nothing to do with claude-peers.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn process(&self) -> ProcessId {
        process::of_pid(self.0.id()).unwrap()
    }

    #[track_caller]
    fn is_unharmed(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "a process that is not ours was ended");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The record in a lock file whose owner has this pid.
fn described(sandbox: &Sandbox, process: Option<&ProcessId>, pid: u32) -> String {
    let mut says = json!({
        "pid": pid,
        "started": "fallback",
        "version": "0.0.1",
        "protocol": 0,
        "socket": sandbox.socket(),
        "host": "another-place",
    });
    if let Some(process) = process {
        says["process"] = serde_json::to_value(process).unwrap();
    }
    says.to_string()
}

fn hold(path: &Path, says: &str) -> LockFile {
    private_directory(path.parent().unwrap()).unwrap();
    let mut lock = LockFile::try_take(path).unwrap().unwrap();
    lock.describe(says).unwrap();
    lock
}

/// Checks that no command and no session ends the process that has the number here.
#[track_caller]
fn harms_nobody(sandbox: &Sandbox, bystander: &mut Bystander, place: &str) {
    let (code, error) = sandbox.fails(["peers"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains(place) && error.contains("another-place"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_DB"), "what to do is said: {error}");
    bystander.is_unharmed();

    let mut session = SessionOptions::new("one").at_once().start(sandbox);
    let refused = session.try_call("list_peers", json!({}));
    assert!(refused.to_string().contains(place), "{refused}");
    bystander.is_unharmed();

    let (code, error) = sandbox.fails(["kill-broker"]);
    assert_eq!(code, 1);
    assert!(error.contains(place) && error.contains("does not signal"), "{error}");
    bystander.is_unharmed();

    let status = sandbox.run(["status"]);
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains(place) && !told.contains("kill-broker"), "{told}");

    let doctor = sandbox.run(["doctor", "--no-claude", "--json"]);
    for finding in &findings_of(&doctor) {
        let advice = finding["fix"].as_str().unwrap_or_default();
        assert!(!advice.contains("kill"), "{finding}");
    }
    bystander.is_unharmed();
}

/// Holds a lock whose record describes a bystander, changed by `told`.
#[track_caller]
fn is_harmless(told: impl FnOnce(ProcessId) -> Option<ProcessId>, place: &str) {
    let (sandbox, mut bystander) = (Sandbox::new(), Bystander::new());
    let says = described(&sandbox, told(bystander.process()).as_ref(), bystander.0.id());
    let _lock = hold(&sandbox.config().paths.broker_lock, &says);
    harms_nobody(&sandbox, &mut bystander, place);
}

#[test]
fn a_lock_held_in_another_container_ends_no_process_here() {
    let contained = |it| Some(ProcessId { namespace: "4026530001".to_owned(), ..it });
    is_harmless(contained, "of another container");
}

#[test]
fn a_lock_held_on_another_machine_ends_no_process_here() {
    let boot = "f3b0c442-98fc-1c14-9afb-f4c8996fb924".to_owned();
    is_harmless(|it| Some(ProcessId { boot, ..it }), "of another machine");
}

#[test]
fn a_number_that_another_process_has_by_now_ends_no_process() {
    is_harmless(|it| Some(ProcessId { start: "1".to_owned(), ..it }), "is not found here");
}

#[test]
fn a_lock_that_gives_a_bare_number_ends_no_process() {
    is_harmless(|_| None, "is not found here");
}

/// The runtime directory is the container's own; the home, and so the database, is shared.
#[test]
fn a_database_held_in_another_container_ends_no_process_here() {
    let (sandbox, mut bystander) = (Sandbox::new(), Bystander::new());
    let contained = ProcessId { namespace: "4026530001".to_owned(), ..bystander.process() };
    let says = described(&sandbox, Some(&contained), contained.pid);
    let _lock = hold(&database_lock(&sandbox.database()), &says);
    let (code, error) = sandbox.fails(["peers"]);
    assert_eq!(code, 1);
    assert!(error.contains("of another container") && error.contains("another-place"), "{error}");
    bystander.is_unharmed();
    let doctor = sandbox.run(["doctor", "--no-claude"]);
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!told.contains("fix: CLAUDE_PEERS_SOCKET") && !told.contains("kill "), "{told}");
    bystander.is_unharmed();
}

/// A real broker in a container that shares the home. It is asked to stop through its socket; where
/// the socket cannot be reached, it is left alone.
#[test]
#[cfg(target_os = "linux")]
fn a_broker_in_a_container_is_asked_through_its_socket_and_never_signalled() {
    use std::process::Stdio;

    use crate::support::{PROGRAM, until};

    let sandbox = Sandbox::new();
    let contained = ["-rpf", "--mount-proc", PROGRAM, "broker"];
    let broker = sandbox.command_of("unshare", contained).stdin(Stdio::null()).spawn();
    let mut broker = broker.unwrap();
    until("it serves, or namespaces are not allowed", || {
        sandbox.status_is("running") || broker.try_wait().unwrap().is_some()
    });
    if broker.try_wait().unwrap().is_some() {
        println!("skipped: namespaces are not allowed here");
        return;
    }
    let lock = sandbox.broker().unwrap();
    let process = lock.process.clone().unwrap();
    assert_ne!(process.namespace, process::own().namespace);
    sandbox.ok(["peers"]);
    assert!(lock.described().contains("of another container"), "{}", lock.described());
    assert!(!lock.ask_to_stop() && !lock.kill(), "it is not signalled");

    // Its socket cannot be reached: nothing can be asked, and nothing is done.
    let socket = sandbox.socket();
    let away = socket.with_extension("away");
    std::fs::rename(&socket, &away).unwrap();
    let (_, error) = sandbox.fails(["kill-broker"]);
    assert!(error.contains("of another container"), "{error}");
    let (_, error) = sandbox.fails(["peers"]);
    assert!(error.contains("of another container"), "{error}");
    assert!(broker.try_wait().unwrap().is_none(), "it was ended");

    std::fs::rename(&away, &socket).unwrap();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    until("it ends as it was asked to", || broker.try_wait().unwrap().is_some());
}
