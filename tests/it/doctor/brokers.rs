//! Doctor: brokers that are old, of another build, or silent.

use super::{find, follow, is_clean};
use crate::support::{Sandbox, send_signal};
use crate::upgrade::older_broker;

#[test]
fn an_old_broker_that_still_runs_is_reported_and_not_ended() {
    for role in ["fallback", "foreground"] {
        let sandbox = Sandbox::new();
        let mut older = older_broker(&sandbox, role);
        let found = find(&sandbox, "broker", "failure", &["an old broker", "protocol 0"]);
        assert_eq!(older.try_wait().unwrap(), None, "it goes on");
        follow(&sandbox, &found);
        older.wait().unwrap();
        is_clean(&sandbox);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_broker_whose_program_was_replaced_or_is_another_is_reported() {
    use super::is_found_and_fixed;
    use crate::support::{PROGRAM, copy_program, until, write_program};

    let sandbox = Sandbox::new();
    let copy = sandbox.path().join("claude-peers");
    copy_program(&copy);
    let run = || {
        let mut command = sandbox.command_of(&copy, ["broker"]);
        let quiet = std::process::Stdio::null;
        let child = command.stdout(quiet()).stderr(quiet()).spawn().unwrap();
        until("it serves", || sandbox.status_is("running"));
        child
    };
    // A copy is as good as the program itself.
    let mut child = run();
    is_clean(&sandbox);
    // As a package manager does it: another file under the same name.
    copy_program(&sandbox.path().join("new"));
    std::fs::rename(sandbox.path().join("new"), &copy).unwrap();
    is_found_and_fixed(
        &sandbox,
        "broker",
        "warning",
        &["an old broker", "was replaced after it was started"],
    );
    child.wait().unwrap();
    sandbox.ok(["kill-broker"]);

    let mut bytes = std::fs::read(PROGRAM).unwrap();
    bytes.push(0);
    write_program(&copy, bytes);
    let mut child = run();
    is_found_and_fixed(&sandbox, "broker", "warning", &["another build"]);
    child.wait().unwrap();
}

#[test]
fn a_broker_that_hangs_is_reported_and_not_ended() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let broker = sandbox.broker().unwrap();
    send_signal(broker.pid, rustix::process::Signal::STOP);
    let words = ["does not answer", &broker.pid.to_string()];
    let found = find(&sandbox, "broker", "failure", &words);
    assert_eq!(sandbox.broker().unwrap().pid, broker.pid);
    follow(&sandbox, &found);
    is_clean(&sandbox);
}
