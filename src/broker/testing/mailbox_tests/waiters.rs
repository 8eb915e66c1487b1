//! Waiters: what they reserve, what they get, and what becomes of it without them.

use crate::broker::testing::{Channel, ErrorCode, Hook, NOTHING, World};

#[test]
fn a_message_to_a_peer_that_waits_is_kept_for_the_waiter() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let waiter = world.wait(&bob);
    assert_eq!(world.look_for(&waiter), None);
    let sent = world.try_send(&ann, "bob", "hello").unwrap();
    assert!(sent.awaited);
    assert_eq!(world.pushed(&bob), NOTHING);
    assert_eq!(world.hook(&bob, Hook::PostToolUse, "turn").lines(), NOTHING);
    assert_eq!(world.look_for(&waiter).unwrap(), ["hello"]);
    assert_eq!(world.state_of(&sent.id), "offered by tool");
}

#[test]
fn a_waiter_that_got_its_mail_reserves_nothing_more() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let waiter = world.wait(&bob);
    world.send(&ann, &bob, "one");
    world.look_for(&waiter);
    assert!(!world.waits(&bob));
    world.send(&ann, &bob, "two");
    assert_eq!(world.pushed(&bob), ["two"]);
}

#[test]
fn what_a_waiter_reserved_is_offered_in_other_ways_if_it_hangs_up() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let waiter = world.wait(&bob);
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.state_of(&id), "queued");
    world.hang_up(waiter);
    assert_eq!(world.pushed(&bob), ["hello"]);
}

#[test]
fn what_a_waiter_reserved_is_pushed_after_a_crash() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.wait(&bob);
    world.send(&ann, &bob, "hello");
    world.crash();
    assert!(!world.waits(&bob));
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["hello"]);
}

#[test]
fn a_waiter_is_not_woken_for_what_a_lease_binds_and_gets_it_when_its_time_is_over() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, &[id]);
    let waiter = world.wait(&bob);
    assert_eq!(world.look_for(&waiter), None);
    assert_eq!(world.time_out(&waiter), ["hello (pushed)"]);
    assert!(!world.waits(&bob));
}

#[test]
fn a_reply_goes_to_the_waiter_whose_question_it_names() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let (one, two) = (world.send(&ann, &bob, "one?"), world.send(&ann, &bob, "two?"));
    let (first, second) = (world.wait_for_reply(&ann, &one), world.wait_for_reply(&ann, &two));
    let reply = world.reply(&bob, &ann, &two);
    assert_eq!(world.pushed(&ann), NOTHING);
    assert_eq!(world.look_for(&first), None);
    assert_eq!(world.look_for(&second).unwrap(), ["a reply"]);
    assert_eq!(world.state_of(&reply), "offered by tool");
    assert_eq!(world.state_of(&two), "read by reply");
}

#[test]
fn a_reply_that_names_no_question_goes_to_the_only_waiter_for_its_sender() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.live("ann"), world.peer("bob"), world.peer("eve"));
    let id = world.send(&ann, &bob, "well?");
    let waiter = world.wait_for_reply(&ann, &id);
    world.send(&eve, &ann, "from eve");
    assert_eq!(world.pushed(&ann), ["from eve"]);
    world.send(&bob, &ann, "from bob");
    assert_eq!(world.pushed(&ann), NOTHING);
    assert_eq!(world.look_for(&waiter).unwrap(), ["from bob"]);
}

#[test]
fn a_reply_that_names_no_question_goes_to_no_waiter_where_several_wait() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let (one, two) = (world.send(&ann, &bob, "one?"), world.send(&ann, &bob, "two?"));
    let (first, second) = (world.wait_for_reply(&ann, &one), world.wait_for_reply(&ann, &two));
    world.send(&bob, &ann, "which?");
    assert_eq!(world.pushed(&ann), ["which?"]);
    assert_eq!((world.look_for(&first), world.look_for(&second)), (None, None));
    world.hang_up(first);
    assert_eq!(world.look_for(&second), None, "and stays so");
}

#[test]
fn what_was_written_before_the_question_is_no_reply() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&bob, &ann, "earlier");
    let id = world.send(&ann, &bob, "well?");
    let waiter = world.wait_for_reply(&ann, &id);
    assert_eq!(world.look_for(&waiter), None);
    assert_eq!(world.time_out(&waiter), NOTHING);
}

#[test]
fn a_reply_that_came_before_its_waiter_is_found() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "well?");
    let reply = world.reply(&bob, &ann, &id);
    world.written(&ann, &[reply]);
    let waiter = world.wait_for_reply(&ann, &id);
    assert_eq!(world.look_for(&waiter).unwrap(), ["a reply (pushed)"]);
}

#[test]
fn a_reply_is_reserved_for_an_expected_waiter() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let id = world.ask(&ann, &bob, "well?").unwrap().id;
    world.reply(&bob, &ann, &id);
    assert_eq!(world.pushed(&ann), NOTHING);
    let waiter = world.wait_for_reply(&ann, &id);
    assert!(!world.stop_expecting(&id), "it came");
    assert_eq!(world.look_for(&waiter).unwrap(), ["a reply"]);
    assert!(!world.waits(&ann));
}

#[test]
fn a_reply_is_pushed_if_the_expected_waiter_does_not_come() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let id = world.ask(&ann, &bob, "well?").unwrap().id;
    assert!(world.stop_expecting(&id));
    world.reply(&bob, &ann, &id);
    assert_eq!(world.pushed(&ann), ["a reply"]);
}

#[test]
fn a_take_leaves_another_calls_reply_alone() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    let id = world.send(&ann, &bob, "well?");
    let waiter = world.wait_for_reply(&ann, &id);
    world.reply(&bob, &ann, &id);
    world.send(&eve, &ann, "by the way");
    assert_eq!(world.take(&ann), ["by the way"]);
    assert_eq!(world.look_for(&waiter).unwrap(), ["a reply"]);
}

#[test]
fn what_one_command_line_waited_for_is_kept_from_the_others_until_it_is_shown() {
    let mut world = World::new();
    let (cli, bob) = (world.cli(), world.peer("bob"));
    let id = world.send(&cli, &bob, "well?");
    let waiter = world.wait_for_reply(&cli, &id);
    let reply = world.reply(&bob, &cli, &id);
    assert_eq!(world.look_for(&waiter).unwrap(), ["a reply"]);
    assert_eq!(world.take(&cli), NOTHING);
    world.confirm(&cli, std::slice::from_ref(&reply));
    assert_eq!(world.state_of(&reply), "read by cli");
}

#[test]
fn a_reply_stays_in_the_inbox_where_no_command_line_waits_any_more() {
    let mut world = World::new();
    let (cli, bob) = (world.cli(), world.peer("bob"));
    let id = world.send(&cli, &bob, "well?");
    let waiter = world.wait_for_reply(&cli, &id);
    assert_eq!(world.time_out(&waiter), NOTHING);
    world.reply(&bob, &cli, &id);
    assert_eq!(world.take(&cli), ["a reply"]);
}

#[test]
fn only_its_sender_can_wait_for_the_reply_to_a_message() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "well?");
    let refused = world.try_wait_for_reply(&bob, &id).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert!(!world.waits(&bob));
}

#[test]
fn a_waiter_for_any_mail_leaves_a_reply_to_the_one_that_waits_for_it() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "well?");
    let (any, reply) = (world.wait(&ann), world.wait_for_reply(&ann, &id));
    world.reply(&bob, &ann, &id);
    assert_eq!(world.look_for(&any), None);
    assert_eq!(world.look_for(&reply).unwrap(), ["a reply"]);
}
