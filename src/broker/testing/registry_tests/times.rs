//! What the registry keeps for how long.

use std::time::Duration;

use crate::broker::testing::{
    ErrorCode, Hook, Reachability, Start, TestPeer, World, event, running,
};
use crate::protocol::hook::HookEvent;
use crate::sys::process;

const SECOND: Duration = Duration::from_secs(1);

/// Registers a live session whose client process is known to run: this one.
fn in_this_process(world: &mut World, name: &str) -> TestPeer {
    let start = Start::at(&format!("/src/{name}")).client(process::own());
    let peer = world.start(start);
    world.open_stream(&peer);
    world.quiet_hook(&peer, Hook::SessionStart, "");
    peer
}

#[test]
fn an_automatic_name_is_free_a_minute_after_its_owner_has_ended() {
    let mut world = World::new();
    let first = world.live("shop");
    world.close_stream(&first);
    world.advance(SECOND * 60);
    assert_eq!(world.peer("shop").name, "shop-2");
    world.advance(SECOND);
    assert_eq!(world.peer("shop").name, "shop");
    assert_eq!(world.name_of(&first), "");
}

#[test]
fn a_name_means_its_ended_owner_for_a_minute_and_an_id_for_ever() {
    let mut world = World::new();
    let bob = world.live("bob");
    world.close_stream(&bob);
    world.advance(SECOND * 60);
    assert_eq!(world.resolve("bob"), Ok(bob.id.clone()));
    world.advance(SECOND);
    let refused = world.resolve("bob").unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert_eq!(refused.candidates[0].id, bob.id);
    assert_eq!(world.resolve(bob.id.as_str()), Ok(bob.id.clone()));
}

#[test]
fn a_name_means_its_ended_owner_as_long_as_mail_waits_there() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    world.close_stream(&bob);
    world.send(&ann, &bob, "hello");
    world.advance(SECOND * 3_600);
    assert_eq!(world.resolve("bob"), Ok(bob.id));
}

#[test]
fn a_registration_counts_for_five_seconds_without_its_stream() {
    let mut world = World::new();
    let first = world.peer("bob");
    let in_client = |number| first.start().client(running(number));
    world.advance(Duration::from_millis(4_999));
    assert_ne!(world.start(in_client(900)).id, first.id, "it is about to open its stream");
    world.advance(SECOND * 5);
    assert_eq!(world.start(in_client(901)).id, first.id);
}

#[test]
fn a_restarted_broker_keeps_names_for_ten_seconds() {
    let mut world = World::new();
    let first = world.start(Start::at("/a").named("shop"));
    world.open_stream(&first);
    world.advance(SECOND);
    world.crash();
    world.advance(Duration::from_millis(9_999));
    assert_eq!(world.start(Start::at("/b").named("shop")).name, "shop-2");
    world.advance(Duration::from_millis(1));
    assert_eq!(world.start(Start::at("/c").named("shop")).name, "shop");
}

#[test]
fn a_restarted_broker_gives_its_peers_a_minute_to_return() {
    let mut world = World::new();
    let bob = world.live("bob");
    world.advance(SECOND * 3_600);
    world.crash();
    world.advance(SECOND * 60);
    assert_eq!(world.resolve("bob"), Ok(bob.id));
    world.advance(SECOND);
    assert_eq!(world.resolve("bob").unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_peer_that_was_made_by_mistake_leaves_its_mail_to_the_one_that_its_client_process_shows() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let old = world.live("old");
    world.close_stream(&old);
    let mistake = world.live("mistake");
    let id = world.send(&ann, &mistake, "hello");
    let hook = HookEvent {
        session: old.session(),
        source: "resume".to_owned(),
        room: 0,
        ..event(&mistake, Hook::SessionStart, "")
    };
    world.try_hook(hook).unwrap();
    assert_eq!(world.message(&id).to.id, old.id);
    assert_eq!(world.resolve("mistake").unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_peer_that_is_older_than_half_a_minute_was_not_made_by_mistake() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let old = world.live("old");
    world.close_stream(&old);
    let newer = world.live("newer");
    let id = world.send(&ann, &newer, "hello");
    world.advance(SECOND * 30);
    let hook = HookEvent {
        session: old.session(),
        source: "resume".to_owned(),
        room: 0,
        ..event(&newer, Hook::SessionStart, "")
    };
    world.try_hook(hook).unwrap();
    assert_eq!(world.message(&id).to.id, newer.id);
}

#[test]
fn a_session_whose_server_has_ended_is_live_by_its_hooks_as_long_as_its_client_runs() {
    let mut world = World::new();
    let bob = in_this_process(&mut world, "bob");
    world.close_stream(&bob);
    assert_eq!(world.look(&bob).reach, Reachability::Hooks);
    assert!(world.look(&bob).live);
    world.quiet_hook(&bob, Hook::SessionEnd, "");
    assert_eq!(world.look(&bob).reach, Reachability::Away);
}

#[test]
fn a_person_is_told_once_that_the_server_is_gone_and_not_before_it_could_come_back() {
    let mut world = World::new();
    let bob = in_this_process(&mut world, "bob");
    world.close_stream(&bob);
    let mut told = |wait| {
        world.advance(wait);
        world.hook(&bob, Hook::PostToolUse, "turn").mail.server_gone
    };
    assert_eq!([told(SECOND * 3), told(SECOND), told(SECOND)], [false, true, false]);
}

#[test]
fn hooks_that_do_not_follow_a_tools_answer_are_no_way_to_a_session_any_more() {
    let mut world = World::new();
    let bob = in_this_process(&mut world, "bob");
    assert_eq!(world.look(&bob).reach, Reachability::Hooks);
    world.tool_answered(&bob);
    world.advance(SECOND * 5);
    assert_eq!(world.look(&bob).reach, Reachability::Hooks);
    world.advance(SECOND);
    assert_eq!(world.look(&bob).reach, Reachability::ChannelPresumed);
    world.quiet_hook(&bob, Hook::PostToolUse, "turn");
    assert_eq!(world.look(&bob).reach, Reachability::Hooks, "one spoke again");
}

#[test]
fn a_probe_whose_doctor_died_is_removed_by_the_next() {
    let mut world = World::new();
    let first = world.start(Start::at("/").probe());
    world.send(&first, &first, "trip");
    world.advance(SECOND * 61);
    let second = world.start(Start::at("/").probe());
    assert_eq!(world.count("messages"), 0);
    assert_eq!(world.try_take(&first, 0).unwrap_err().code, ErrorCode::UnknownSession);
    assert_eq!(world.unregister(&second), Ok(0));
}
