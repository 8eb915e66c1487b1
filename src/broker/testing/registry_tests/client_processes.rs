//! Client processes: each shows one session at a time, and its hooks report which.

use crate::broker::testing::{Hook, NOTHING, TestPeer, World, event, running};
use crate::protocol::hook::HookEvent;

#[test]
fn a_client_process_that_resumes_a_session_is_attached_to_that_sessions_peer() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let old = world.live("old");
    world.close_stream(&old);
    world.send(&ann, &old, "for the old one");
    let newer = world.live("new");
    world.hook(&newer, Hook::SessionStart, "");
    world.pushed(&newer);
    world.try_hook(resume(&old, &newer)).unwrap();
    assert!(world.look(&old).live);
    assert!(!world.look(&newer).live);
    assert_eq!(world.pushed(&newer), ["for the old one"]);
}

/// The hook of a client process that shows another session now.
fn resume(to: &TestPeer, shown_by: &TestPeer) -> HookEvent {
    HookEvent {
        session: to.session(),
        source: "resume".to_owned(),
        room: 0,
        ..event(shown_by, Hook::SessionStart, "")
    }
}

#[test]
fn what_was_pushed_for_the_former_session_stays_that_ones() {
    let mut world = World::new();
    let (ann, old) = (world.peer("ann"), world.live("old"));
    world.close_stream(&old);
    let newer = world.live("new");
    world.hook(&newer, Hook::SessionStart, "");
    let id = world.send(&ann, &newer, "for the new one");
    world.try_hook(resume(&old, &newer)).unwrap();
    assert_eq!(world.message(&id).to.id, newer.id);
    assert_eq!(world.state_of(&id), "offered by channel");
    assert_eq!(world.written(&newer, &[id]), 0, "it is another conversation's");
}

#[test]
fn a_session_that_another_client_process_shows_is_not_taken_from_it() {
    let mut world = World::new();
    let (ann, first) = (world.peer("ann"), world.live("first"));
    world.hook(&first, Hook::SessionStart, "");
    let second = world.live("second");
    world.hook(&second, Hook::SessionStart, "");
    world.try_hook(resume(&first, &second)).unwrap();
    world.send(&ann, &first, "hello");
    assert_eq!(world.pushed(&first), ["hello"]);
    assert_eq!(world.pushed(&second), NOTHING);
}

#[test]
fn a_cleared_conversation_is_the_same_peer_under_another_session_id() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.hook(&bob, Hook::SessionStart, "");
    let cleared = HookEvent {
        session: "after the clear".to_owned(),
        source: "clear".to_owned(),
        ..event(&bob, Hook::SessionStart, "")
    };
    world.try_hook(cleared).unwrap();
    world.send(&ann, &bob, "hello");
    let again = world.start(bob.start().session("after the clear"));
    assert_eq!(again.id, bob.id);
}

#[test]
fn an_unknown_session_that_is_resumed_is_a_new_peer() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.hook(&bob, Hook::SessionStart, "");
    world
        .try_hook(HookEvent { session: "older than the broker".to_owned(), ..resume(&bob, &bob) })
        .unwrap();
    assert!(!world.look(&bob).live);
    let id = world.send(&ann, &bob, "for bob");
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn a_fork_is_a_peer_of_its_own() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.hook(&bob, Hook::SessionStart, "");
    let fork = world.start(bob.start().session("fork").client(running(900)));
    world.open_stream(&fork);
    assert_ne!(fork.id, bob.id);
    world.send(&ann, &bob, "hello");
    assert_eq!((world.pushed(&fork), world.pushed(&bob)), (vec![], vec!["hello".to_owned()]));
}

#[test]
fn a_server_that_registers_after_its_hook_spoke_is_the_session_that_the_hook_named() {
    let mut world = World::new();
    let first = world.live_in_ended_client("/src/bob");
    world.close_stream(&first);
    let start = first.start().client(running(77));
    let early = HookEvent { client: Some(running(77)), ..event(&first, Hook::SessionStart, "") };
    world.try_hook(early).unwrap();
    let server = world.start(start.session("told wrongly"));
    assert_eq!(server.id, first.id);
}

#[test]
fn a_waiting_hook_wakes_the_session_that_its_client_process_shows_and_no_former_one() {
    let mut world = World::new();
    let old = world.live("old");
    world.close_stream(&old);
    let newer = world.live("new");
    world.hook(&newer, Hook::SessionStart, "");
    assert_eq!(world.peer_to_wake(&newer), Some(newer.id.clone()));
    world.try_hook(resume(&old, &newer)).unwrap();
    assert_eq!(world.peer_to_wake(&newer), None);
}
