//! Hook events that have nothing to say: they write nothing, and lose nothing that matters.

use std::time::Duration;

use crate::broker::testing::{Channel, Hook, NOTHING, TestPeer, World, event};
use crate::protocol::hook::HookEvent;

/// The events of a turn.
const TURN: [Hook; 4] = [Hook::UserPromptSubmit, Hook::PostToolUse, Hook::PostToolUse, Hook::Stop];

fn begin(world: &mut World, peer: &TestPeer) {
    let start = HookEvent { source: "startup".to_owned(), ..event(peer, Hook::SessionStart, "") };
    world.try_hook(start).unwrap();
}

/// Returns a world, another peer, and one with a client process whose session began ten seconds ago.
fn ten_seconds_into_a_session() -> (World, TestPeer, TestPeer) {
    let mut world = World::new();
    let (other, bob) = (world.peer("other"), world.live_over("bob", Channel::Absent));
    begin(&mut world, &bob);
    world.advance(Duration::from_secs(10));
    (world, other, bob)
}

#[test]
fn without_mail_no_page_is_written_and_no_transaction_begun() {
    let mut world = World::new().in_file();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    begin(&mut world, &bob);
    let quiet = |world: &mut World, turn: &str| {
        let pages = world.pages(|world| {
            let statements = world.statements(|world| {
                for hook in TURN.into_iter().chain([Hook::Notification]) {
                    assert_eq!(world.hook(&bob, hook, turn).lines(), NOTHING);
                    world.advance(Duration::from_secs(60));
                }
            });
            let begun = |statement: &&String| !statement.trim_start().starts_with("SELECT");
            assert_eq!(statements.iter().find(begun), None);
        });
        assert_eq!(pages, 0);
    };
    quiet(&mut world, "one");
    // And after mail, once it is read.
    world.send(&ann, &bob, "hello");
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "two"), ["hello"]);
    assert_eq!(world.show(&bob, Hook::PostToolUse, "two"), NOTHING);
    quiet(&mut world, "two");
}

#[test]
fn mail_that_is_not_the_hooks_business_costs_no_page() {
    let mut world = World::new().in_file();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    begin(&mut world, &bob);
    let proof = world.send(&ann, &bob, "proves the channel");
    world.reply(&bob, &ann, &proof);
    let id = world.send(&ann, &bob, "pushed, under a lease");
    world.written(&bob, std::slice::from_ref(&id));
    let pages = world.pages(|world| {
        for hook in TURN {
            assert_eq!(world.hook(&bob, hook, "turn").lines(), NOTHING);
        }
    });
    assert_eq!((pages, world.state_of(&id)), (0, "offered by channel".to_owned()));
}

#[test]
fn a_session_without_a_server_is_no_reason_for_a_write_either() {
    let mut world = World::new().in_file();
    let bob = world.live_over("bob", Channel::Absent);
    let other = HookEvent {
        session: "unknown".to_owned(),
        client: Some(super::super::running(77)),
        ..event(&bob, Hook::PostToolUse, "turn")
    };
    world.try_hook(other.clone()).unwrap();
    assert_eq!(world.count("clients WHERE session = 'unknown'"), 1);
    assert_eq!(world.pages(|world| drop(world.try_hook(other.clone()).unwrap())), 0);
    // Another session in the same process is one.
    let next = HookEvent { session: "another".to_owned(), ..other };
    assert!(world.pages(|world| drop(world.try_hook(next.clone()).unwrap())) > 0);
    assert_eq!(world.count("clients WHERE session = 'another'"), 1);
}

#[test]
fn a_session_that_was_woken_is_active_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    begin(&mut world, &bob);
    let id = world.send(&ann, &bob, "hello");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.wake(&bob), "now, for 1");
    world.wake_given(&bob);
    world.confirm(&bob, &[id]);
    assert_eq!(world.count("peers WHERE woken_at IS NOT NULL"), 1);
    world.quiet_hook(&bob, Hook::UserPromptSubmit, "turn");
    assert_eq!(world.count("peers WHERE woken_at IS NOT NULL"), 0);
}

#[test]
fn a_spooled_event_that_is_older_than_what_was_only_kept_in_memory_has_no_effect() {
    let (mut world, other, bob) = ten_seconds_into_a_session();
    let client = bob.client().unwrap();
    let second = Duration::from_secs(1);
    world.quiet_hook(&bob, Hook::PostToolUse, "turn");
    world.advance(second);
    for restart in [|_: &mut World| {}, World::restart] {
        restart(&mut world);
        world.drain(&client, &other.session(), 5 * second);
        assert!(world.peer_to_wake(&bob).is_some(), "the client process shows it still");
    }
}

#[test]
fn a_broker_that_is_killed_knows_which_session_began_last() {
    let (mut world, other, bob) = ten_seconds_into_a_session();
    let client = bob.client().unwrap();
    let second = Duration::from_secs(1);
    // In between, another session began, and that event is in the spool. Then the first was resumed.
    let resume = HookEvent { source: "resume".to_owned(), ..event(&bob, Hook::SessionStart, "") };
    world.try_hook(resume).unwrap();
    world.advance(second);
    world.quiet_hook(&bob, Hook::PostToolUse, "turn");
    world.crash();
    world.drain(&client, &other.session(), 5 * second);
    assert!(world.peer_to_wake(&bob).is_some());
    // One that began later counts.
    world.drain(&client, &other.session(), Duration::ZERO);
    assert!(world.peer_to_wake(&bob).is_none());
}
