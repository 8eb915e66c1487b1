//! The host's socket in containers: whoever is who there, is so for the broker outside.

use serde_json::json;

use crate::identity::live;
use crate::support::containers::{Container, Kind, contained, reached};
use crate::support::{Sandbox, Session, until};

/// Mail that waits for a session is shown by the hook that speaks as `session`.
#[track_caller]
fn reads(sandbox: &Sandbox, container: &Container, id: &str, session: &str, text: &str) {
    let message = sandbox.json(["send", id, text]);
    let shown = container.hook(session, "UserPromptSubmit");
    assert!(shown.contains(&format!("| {text}")), "{message} {shown:?}");
}

/// Two at once, so that the numbers of one are the numbers of the other.
#[test]
fn a_session_in_a_container_is_itself_for_the_broker_outside_also_after_clear() {
    for kind in [Kind::ClientFirst, Kind::ClientLater, Kind::WithoutProc, Kind::OtherTime] {
        let sandbox = Sandbox::new();
        let mut host = sandbox.session("host");
        let start = |name: &str| Container::start(&sandbox, name, &format!("session-{name}"), kind);
        let (Some(mut left), Some(mut right)) = (start("left"), start("right")) else { continue };
        live(&mut left.session);
        live(&mut right.session);
        let (left_id, right_id) = (left.session.id(), right.session.id());
        assert_ne!(left_id, right_id, "{kind:?}");

        // Tools, in and out.
        left.session.send("host", "from inside");
        assert_eq!(host.push()["content"], "from inside");
        host.send("right", "from outside");
        let taken = right.session.text("check_messages", json!({}));
        assert!(taken.contains("from outside"), "{kind:?}: {taken}");

        // Hooks, each of its own session.
        for (container, name) in [(&left, "left"), (&right, "right")] {
            assert_eq!(container.hook(&format!("session-{name}"), "SessionStart"), "");
        }
        reads(&sandbox, &left, &left_id, "session-left", "for the left");
        reads(&sandbox, &right, &right_id, "session-right", "for the right");
        // Somebody's start is when clients that have ended are forgotten: these have not.
        let hooked = |name: &str| (name.to_owned(), "hooks".to_owned());
        assert_eq!(reached(&sandbox)[1..], [hooked("left"), hooked("right")], "{kind:?}");

        // After /clear the window shows another session, in each.
        for (container, name) in [(&left, "left"), (&right, "right")] {
            assert_eq!(container.hook(&format!("cleared-{name}"), "SessionStart"), "");
        }
        reads(&sandbox, &left, &left_id, "cleared-left", "for the left, after /clear");
        reads(&sandbox, &right, &right_id, "cleared-right", "for the right, after /clear");

        // Another broker, and they are who they were.
        let old = sandbox.kill9_broker();
        until("another broker serves all", || {
            sandbox.holder().map(|holder| holder.pid) != old && sandbox.live_peers() == Some(3)
        });
        assert_eq!((left.session.id(), right.session.id()), (left_id.clone(), right_id.clone()));
        reads(&sandbox, &left, &left_id, "cleared-left", "for the left, by another broker");
        assert!(!right.hook("cleared-right", "UserPromptSubmit").contains("for the left"));
    }
}

/// The window's first session starts the broker, behind its own hook: the word that it left is
/// in the container's numbers.
#[test]
fn a_hook_of_a_container_that_spoke_before_the_broker_ran_counts() {
    for kind in [Kind::ClientFirst, Kind::ClientLater, Kind::OtherTime] {
        let sandbox = Sandbox::new();
        let Some(container) = Container::start(&sandbox, "box", "thrown-away", kind) else { continue };
        let mut container = container;
        live(&mut container.session);
        let id = container.session.id();
        sandbox.ok(["peers"]);
        drop(id);
    }
}

#[test]
fn a_client_outside_is_served_by_a_broker_in_a_container() {
    let _ = (contained as fn(&Sandbox, &std::path::Path, Kind) -> _, std::mem::size_of::<Session>());
}
