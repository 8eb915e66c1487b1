//! When a session is woken: mail waits that it has not been woken for, and it is idle.

use std::time::Duration;

use crate::broker::testing::{Channel, Hook, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_session_without_mail_is_not_woken() {
    let mut world = World::new();
    let bob = world.live_over("bob", Channel::Absent);
    assert_eq!(world.wake(&bob), "once signalled");
}

#[test]
fn mail_gathers_for_a_second_before_it_wakes() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "one");
    assert_eq!(world.wake(&bob), "in 1s");
    world.advance(Duration::from_millis(400));
    world.send(&ann, &bob, "two");
    assert_eq!(world.wake(&bob), "in 600ms", "from the first on");
    world.advance(Duration::from_millis(600));
    assert_eq!(world.wake(&bob), "now, for 2");
}

#[test]
fn behind_a_push_that_may_have_woken_it_mail_gathers_for_five_seconds() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.send(&ann, &bob, "hello");
    assert_eq!(world.wake(&bob), "in 5s");
    world.advance(SECOND * 5);
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_proven_channel_wakes_by_itself() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    world.send(&ann, &bob, "hello");
    world.advance(MINUTE * 5);
    assert_eq!(world.wake(&bob), "once signalled");
}

#[test]
fn a_batch_is_one_wake() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send_all(&ann, &bob, &["one", "two"]);
    world.advance(SECOND);
    assert_eq!(world.wake(&bob), "now, for 2");
    assert_eq!(world.wake(&bob), "in 3s", "another is told if this one does not say that it did");
    world.wake_given(&bob);
    assert_eq!(world.wake(&bob), "in 60s");
}

#[test]
fn a_wake_that_was_not_given_is_handed_out_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "hello");
    world.advance(SECOND);
    assert_eq!(world.wake(&bob), "now, for 1");
    world.advance(SECOND * 3);
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_session_that_does_not_become_active_is_left_alone_with_what_came_since() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "one");
    world.advance(SECOND);
    world.wake(&bob);
    world.wake_given(&bob);
    world.send(&ann, &bob, "two");
    assert_eq!(world.wake(&bob), "in 60s");
}

#[test]
fn a_session_that_read_its_mail_is_woken_for_the_next() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    let id = world.send(&ann, &bob, "one");
    world.advance(SECOND);
    world.wake(&bob);
    world.wake_given(&bob);
    world.take(&bob);
    world.confirm(&bob, &[id]);
    world.send(&ann, &bob, "two");
    world.advance(SECOND);
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_wake_that_came_to_nothing_is_repeated_with_pauses_that_grow() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "hello");
    world.advance(SECOND);
    let mut pauses = Vec::new();
    for minutes in [1, 2, 4, 8] {
        assert_eq!(world.wake(&bob), "now, for 1");
        world.wake_given(&bob);
        pauses.push(world.wake(&bob));
        world.advance(MINUTE * minutes);
    }
    assert_eq!(pauses, ["in 60s", "in 120s", "in 240s", "in 480s"]);
}

#[test]
fn a_session_at_work_is_not_woken_and_its_turns_end_is_the_moment() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.hook(&bob, Hook::UserPromptSubmit, "turn");
    world.send(&ann, &bob, "hello");
    world.advance(SECOND * 2);
    assert_eq!(world.wake(&bob), "at work");
    world.quiet_hook(&bob, Hook::Stop, "turn");
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_turn_that_was_interrupted_counts_until_its_time_is_over_or_an_idle_check_ends_it() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.hook(&bob, Hook::UserPromptSubmit, "turn");
    world.send(&ann, &bob, "hello");
    world.advance(SECOND * 299);
    assert_eq!(world.wake(&bob), "at work");
    world.looked(&bob, false);
    world.advance(MINUTE);
    assert_eq!(world.wake(&bob), "at work", "it was seen to go on");
    world.looked(&bob, true);
    assert_eq!(world.wake(&bob), "now, for 1");
    world.hook(&bob, Hook::UserPromptSubmit, "next");
    world.advance(MINUTE * 5);
    assert_eq!(world.wake(&bob), "now, for 1", "nothing was heard for long");
}

#[test]
fn a_session_that_waits_in_a_call_is_not_woken() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    let waiter = world.wait(&bob);
    world.send(&ann, &bob, "hello");
    world.advance(MINUTE);
    assert_eq!(world.wake(&bob), "once signalled");
    world.hang_up(waiter);
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn what_is_on_its_way_by_another_path_is_no_reason_until_its_lease_is_over() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "hello");
    world.take(&bob);
    assert_eq!(world.wake(&bob), "in 30s");
    world.advance(SECOND * 30);
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_turn_that_failed_is_repeated_after_half_an_hour_at_most() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "hello");
    world.advance(SECOND);
    for _ in 0..9 {
        world.wake(&bob);
        world.wake_given(&bob);
        world.quiet_hook(&bob, Hook::StopFailure, "turn");
        world.advance(MINUTE * 30);
    }
    assert_eq!(world.wake(&bob), "now, for 1");
}

#[test]
fn a_wake_is_remembered_by_the_next_broker() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    world.send(&ann, &bob, "hello");
    world.advance(SECOND);
    world.wake(&bob);
    world.wake_given(&bob);
    world.crash();
    world.open_stream(&bob);
    assert_eq!(world.wake(&bob), "in 60s");
}
