//! Hooks as receivers: how much they show, what they tell, and what their events prove.

use crate::broker::testing::{Hook, NOTHING, World, event};
use crate::protocol::hook::HookEvent;

#[test]
fn a_hook_of_a_session_without_a_peer_shows_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    let stranger = HookEvent {
        session: "unknown".to_owned(),
        client: None,
        ..event(&bob, Hook::UserPromptSubmit, "turn")
    };
    assert_eq!(world.try_hook(stranger).unwrap().lines(), NOTHING);
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn a_hook_shows_whole_messages_as_far_as_they_fit_and_counts_the_rest() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids = world.send_all(&ann, &bob, &["one", &"x".repeat(5_000), "three"]);
    let prompt = HookEvent { room: 1_000, ..event(&bob, Hook::UserPromptSubmit, "turn") };
    let shown = world.try_hook(prompt).unwrap();
    assert_eq!((shown.lines(), shown.mail.remaining), (vec!["one".to_owned()], 2));
    assert_eq!(world.state_of(&ids[1]), "queued");
    assert_eq!(world.state_of(&ids[2]), "queued", "the order is kept");
}

#[test]
fn a_turn_is_told_once_that_more_waits() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, &"x".repeat(5_000));
    let mut remaining = |turn: &str| {
        let event = HookEvent { room: 1_000, ..event(&bob, Hook::PostToolUse, turn) };
        world.try_hook(event).unwrap().mail.remaining
    };
    assert_eq!([remaining("one"), remaining("one"), remaining("two")], [1, 0, 1]);
}

#[test]
fn a_hook_without_room_shows_nothing_and_leaves_the_message_as_it_was() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    let event = HookEvent { room: 0, ..event(&bob, Hook::UserPromptSubmit, "turn") };
    assert_eq!(world.try_hook(event).unwrap().lines(), NOTHING);
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn the_end_of_a_session_shows_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.hook(&bob, Hook::SessionEnd, "turn").lines(), NOTHING);
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn the_same_event_is_no_evidence_of_what_another_hook_showed_at_it() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    let at = |occasion: &str| HookEvent {
        occasion: occasion.to_owned(),
        ..event(&bob, Hook::PostToolUse, "turn")
    };
    let shown = world.try_hook(at("tool 1")).unwrap();
    world.hook_written(&shown);
    world.try_hook(at("tool 1")).unwrap();
    assert_eq!(world.state_of(&id), "offered by hook");
    world.try_hook(at("tool 2")).unwrap();
    assert_eq!(world.state_of(&id), "read by hook");
}

#[test]
fn a_tool_that_began_before_the_message_was_shown_proves_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    let long = HookEvent { lasted: 60_000, ..event(&bob, Hook::PostToolUse, "turn") };
    world.try_hook(long).unwrap();
    assert_eq!(world.state_of(&id), "offered by hook");
}

#[test]
fn a_prompt_of_the_same_turn_proves_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::SessionStart, "turn");
    for hook in [Hook::UserPromptSubmit, Hook::Notification, Hook::StopFailure] {
        world.hook(&bob, hook, "turn");
        assert_eq!(world.state_of(&id), "offered by hook", "{hook:?}");
    }
}

#[test]
fn where_turns_have_no_names_a_prompt_ends_the_one_before() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, ""), ["hello"]);
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, ""), ["hello (repeat)"]);
    assert_eq!(world.state_of(&id), "offered by hook");
    assert_eq!(world.show(&bob, Hook::PostToolUse, ""), NOTHING);
    assert_eq!(world.state_of(&id), "read by hook");
}

#[test]
fn a_hook_that_was_killed_before_its_output_shows_the_message_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "one").lines(), ["hello"]);
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "two"), ["hello (repeat)"]);
    world.hook(&bob, Hook::Stop, "two");
    assert_eq!(world.state_of(&id), "read by hook");
}

#[test]
fn a_receipt_for_another_turn_is_none() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    let one = world.hook(&bob, Hook::UserPromptSubmit, "one");
    world.hook(&bob, Hook::UserPromptSubmit, "two");
    assert_eq!(world.hook_written(&one), 0);
}

#[test]
fn what_arrives_in_a_turn_is_shown_by_its_next_tool_and_read_by_the_one_after() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.hook(&bob, Hook::UserPromptSubmit, "turn");
    let one = world.send(&ann, &bob, "one");
    assert_eq!(world.show(&bob, Hook::PostToolUse, "turn"), ["one"]);
    let two = world.send(&ann, &bob, "two");
    assert_eq!(world.show(&bob, Hook::PostToolUse, "turn"), ["two"]);
    assert_eq!(world.state_of(&one), "read by hook");
    assert_eq!(world.state_of(&two), "offered by hook");
}
