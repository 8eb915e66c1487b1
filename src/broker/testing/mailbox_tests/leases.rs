//! Leases: from which receivers they keep a message, and until when.

use std::time::Duration;

use crate::broker::testing::{Channel, Hook, NOTHING, World};

#[test]
fn a_presumed_push_leaves_a_message_to_all_others() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    // Its receipt may be under way.
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "one").lines(), ["hello (repeat)"]);
    world.written(&bob, &[id]);
    assert_eq!(
        world.hook(&bob, Hook::UserPromptSubmit, "two").lines(),
        ["hello (repeat) (pushed)"]
    );
}

#[test]
fn a_proven_push_keeps_a_message_from_hooks() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), NOTHING);
    assert_eq!(world.state_of(&id), "offered by channel");
}

#[test]
fn a_take_wins_over_the_lease_of_a_push() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.take(&bob), ["hello"], "it may not be out yet");
    world.written(&bob, std::slice::from_ref(&id));
    assert_eq!(world.take(&bob), ["hello (repeat) (pushed)"]);
    assert_eq!(world.state_of(&id), "offered by tool");
}

#[test]
fn the_lease_of_an_instance_without_a_stream_does_not_bind() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    world.close_stream(&bob);
    assert!(world.lease(&id).is_some());
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), ["hello (repeat)"]);
}

#[test]
fn the_lease_of_an_instance_does_not_bind_after_a_crash() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    world.send(&ann, &bob, "hello");
    world.crash();
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), ["hello (repeat)"]);
}

#[test]
fn what_a_tool_took_is_kept_from_hooks_and_pushes_while_its_server_is_there() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.take(&bob), ["hello"]);
    assert_eq!(world.hook(&bob, Hook::PostToolUse, "turn").lines(), NOTHING);
    let second = world.start(bob.start().channel(Channel::Presumed));
    world.open_stream(&second);
    assert_eq!(world.pushed(&second), NOTHING);
    assert_eq!(world.state_of(&id), "offered by tool");
}

#[test]
fn what_a_tool_took_is_not_pushed_to_its_own_server() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.take(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), NOTHING);
}

#[test]
fn what_a_tool_took_is_offered_again_once_its_server_is_gone() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "hello");
    world.take(&bob);
    world.close_stream(&bob);
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), ["hello (repeat)"]);
}

#[test]
fn what_a_tool_took_it_may_take_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, &[id]);
    assert_eq!(world.take(&bob), ["hello (pushed)"]);
    assert_eq!(world.take(&bob), ["hello (repeat) (pushed)"]);
}

#[test]
fn what_a_hook_showed_is_not_pushed_meanwhile() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), NOTHING);
}

#[test]
fn the_lease_of_a_hook_survives_a_crash_of_the_broker() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    world.crash();
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), NOTHING);
    world.hook(&bob, Hook::PostToolUse, "turn");
    assert_eq!(world.state_of(&id), "read by hook");
}

#[test]
fn a_turn_is_shown_a_message_once() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "turn"), ["hello"]);
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "turn"), NOTHING);
}

#[test]
fn an_event_of_another_turn_ends_the_lease_at_once() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "one"), ["hello"]);
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "two"), ["hello (repeat)"]);
}

#[test]
fn what_a_failed_turn_was_shown_is_offered_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    assert!(world.lease(&id).is_some());
    assert_eq!(world.hook(&bob, Hook::StopFailure, "turn").lines(), NOTHING, "it was shown it");
    assert_eq!(world.lease(&id), None);
    assert_eq!(world.state_of(&id), "offered by hook");
}

#[test]
fn a_hook_does_not_end_the_lease_of_a_push_or_a_tool() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let pushed = world.send(&ann, &bob, "one");
    world.hook(&bob, Hook::UserPromptSubmit, "turn");
    assert!(world.lease(&pushed).is_some());
    world.take(&bob);
    world.hook(&bob, Hook::UserPromptSubmit, "next");
    assert!(world.lease(&pushed).is_some());
    assert_eq!(world.state_of(&pushed), "offered by tool");
}

#[test]
fn a_take_wins_over_the_lease_of_a_hook() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    assert_eq!(world.take(&bob), ["hello (repeat)"]);
    assert_eq!(world.state_of(&id), "offered by tool");
}

#[test]
fn the_lease_of_a_push_lasts_for_a_minute() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, std::slice::from_ref(&id));
    assert_eq!(world.lease(&id), Some(Duration::from_secs(60)));
    world.advance(Duration::from_millis(59_999));
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), NOTHING);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.look(&bob).unread, 1, "it is backlog now");
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), ["hello (pushed)"]);
}

#[test]
fn the_lease_of_a_tool_lasts_for_half_a_minute() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    let id = world.send(&ann, &bob, "hello");
    world.take(&bob);
    assert_eq!(world.lease(&id), Some(Duration::from_secs(30)));
    world.advance(Duration::from_millis(29_999));
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), NOTHING);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), ["hello (repeat)"]);
}

#[test]
fn the_lease_of_a_hook_lasts_for_a_minute() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    assert_eq!(world.lease(&id), Some(Duration::from_secs(60)));
    world.advance(Duration::from_secs(60));
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["hello (repeat)"]);
}

#[test]
fn evidence_counts_after_the_lease_as_well() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two"]);
    world.show(&bob, Hook::UserPromptSubmit, "turn");
    world.advance(Duration::from_secs(600));
    world.confirm(&bob, &ids[..1]);
    world.hook(&bob, Hook::PostToolUse, "turn");
    assert_eq!(world.state_of(&ids[0]), "read by tool");
    assert_eq!(world.state_of(&ids[1]), "read by hook");
}

#[test]
fn a_waiter_is_given_what_no_lease_binds_any_more() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    world.send(&ann, &bob, "hello");
    let waiter = world.wait(&bob);
    assert_eq!(world.look_for(&waiter), None);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.look_for(&waiter).unwrap(), ["hello"]);
}

#[test]
fn what_a_command_line_waited_for_and_never_showed_is_in_the_inbox_again() {
    let mut world = World::new();
    let (cli, bob) = (world.cli(), world.peer("bob"));
    let id = world.send(&cli, &bob, "well?");
    let waiter = world.wait_for_reply(&cli, &id);
    world.reply(&bob, &cli, &id);
    world.look_for(&waiter);
    world.advance(Duration::from_millis(29_999));
    assert_eq!(world.take(&cli), NOTHING);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.take(&cli), ["a reply (repeat)"]);
}

#[test]
fn a_lapsed_push_is_not_pushed_to_its_instance_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, &[id]);
    world.pushed(&bob);
    world.advance(Duration::from_secs(61));
    world.send(&ann, &bob, "more");
    world.close_stream(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["more"]);
}

#[test]
fn a_push_that_was_repeated_after_a_lost_stream_needs_one_receipt() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.close_stream(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["hello"]);
    world.written(&bob, &[id]);
    assert_eq!(world.hook(&bob, Hook::UserPromptSubmit, "turn").lines(), ["hello (pushed)"]);
}
