//! The wall clock is set, forward or back, by little or much, at any instant: deadlines stay where they
//! are in real time.

use std::time::Duration;

use proptest::prelude::*;

use crate::broker::testing::{Channel, Hook, NOTHING, World};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR_MILLIS: i64 = 60 * 60 * 1_000;
const YEAR_MILLIS: i64 = 365 * 24 * HOUR_MILLIS;

#[test]
fn what_is_accepted_right_after_the_clock_was_set_back_lives_as_long_as_any() {
    for by in [-YEAR_MILLIS, -8 * HOUR_MILLIS, -29_000, 29_000, 8 * HOUR_MILLIS, YEAR_MILLIS] {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        world.send(&ann, &bob, "before");
        world.set_wall_clock(by);
        let id = world.send(&ann, &bob, "in the same second");
        world.advance(SECOND * 2);
        assert_eq!(world.state_of(&id), "queued", "set by {by} ms");
        world.advance(DAY * 6);
        assert_eq!(world.state_of(&id), "queued", "set by {by} ms");
        world.advance(DAY);
        assert_eq!(world.state_of(&id), "expired", "set by {by} ms");
    }
}

#[test]
fn a_lease_lasts_as_long_as_it_was_given_for_whatever_the_clock_is_set_to() {
    for by in [-YEAR_MILLIS, -8 * HOUR_MILLIS, -29_000, 29_000, 8 * HOUR_MILLIS, YEAR_MILLIS] {
        for first_push in [false, true] {
            let mut world = World::new();
            let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
            if first_push {
                world.send(&ann, &bob, "hello");
            }
            world.set_wall_clock(by);
            if !first_push {
                world.send(&ann, &bob, "hello");
            }
            world.advance(Duration::from_secs(58));
            let shown = world.show(&bob, Hook::UserPromptSubmit, "turn");
            assert_eq!(shown, NOTHING, "set by {by} ms, pushed before: {first_push}");
            world.advance(Duration::from_secs(4));
            let shown = world.show(&bob, Hook::PostToolUse, "turn");
            assert_eq!(shown, ["hello (repeat)"], "set by {by} ms");
        }
    }
}

#[test]
fn steps_below_the_threshold_do_not_add_up() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    world.send(&ann, &bob, "hello");
    for _ in 0..100 {
        world.set_wall_clock(-900);
        world.advance(Duration::from_millis(580));
        assert_eq!(world.show(&bob, Hook::PostToolUse, "turn"), NOTHING);
    }
    world.advance(Duration::from_secs(5));
    assert_eq!(world.show(&bob, Hook::PostToolUse, "turn"), ["hello (repeat)"]);
}

#[test]
fn a_retry_after_a_jump_of_more_than_a_day_sends_nothing_twice() {
    for by in [-YEAR_MILLIS, -25 * HOUR_MILLIS, 25 * HOUR_MILLIS, YEAR_MILLIS] {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        let first = world.send_once(&ann, "bob", "hello", "key").unwrap();
        let taken = world.take_once(&bob, "another key").unwrap();
        world.set_wall_clock(by);
        for step in [SECOND, HOUR, HOUR * 22] {
            world.advance(step);
            assert_eq!(world.send_once(&ann, "bob", "hello", "key").unwrap().id, first.id);
            assert_eq!(
                world.take_once(&bob, "another key").unwrap().messages.len(),
                taken.messages.len()
            );
            world.crash();
        }
        assert_eq!(world.count("messages"), 1, "set by {by} ms");
    }
}

#[test]
fn the_patience_before_another_wake_is_the_same_though_the_clock_was_set() {
    let wake_after = |by: i64| {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        world.send(&ann, &bob, "hello");
        world.advance(SECOND * 10);
        assert_eq!(world.wake(&bob), "now, for 1");
        world.wake_given(&bob);
        world.set_wall_clock(by);
        world.advance(SECOND * 20);
        world.wake(&bob)
    };
    let expected = wake_after(0);
    assert_eq!(wake_after(-8 * HOUR_MILLIS), expected);
    assert_eq!(wake_after(8 * HOUR_MILLIS), expected);
}

#[test]
fn evidence_counts_across_a_jump() {
    for by in [-8 * HOUR_MILLIS, 8 * HOUR_MILLIS] {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        let id = world.send(&ann, &bob, "hello");
        world.advance(SECOND);
        assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "turn"), ["hello"]);
        world.set_wall_clock(by);
        world.advance(SECOND);
        world.show(&bob, Hook::PostToolUse, "turn");
        assert_eq!(world.state_of(&id), "read by hook", "set by {by} ms");
    }
}

#[test]
fn a_clock_before_1970_or_after_9999_is_a_clock_like_any() {
    for by in [i64::MIN / 8, -1_900_000_000_000, 253_402_300_800_000, i64::MAX / 8] {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.live("bob"));
        let before = world.send_once(&ann, "bob", "before", "key").unwrap();
        world.set_wall_clock(by);
        assert_eq!(world.send_once(&ann, "bob", "before", "key").unwrap().id, before.id);
        let id = world.send(&ann, &bob, "after");
        world.crash();
        world.advance(DAY);
        let shown = serde_json::to_string(&world.message(&id)).unwrap();
        assert!(shown.contains("sent_at"), "{shown}");
        world.advance(DAY * 7);
        assert_eq!(world.state_of(&id), "unconfirmed by channel");
    }
}

proptest! {
    /// However the clock is set and whenever a broker dies, a message lives for a week of real time.
    #[test]
    fn a_week_is_a_week(steps in prop::collection::vec((-YEAR_MILLIS..YEAR_MILLIS, 0u64..172_800, any::<bool>()), 1..8)) {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        let mut sent = Vec::new();
        let mut passed = Duration::ZERO;
        for (by, seconds, crash) in steps {
            sent.push((world.send(&ann, &bob, "before"), passed));
            world.set_wall_clock(by);
            sent.push((world.send(&ann, &bob, "after"), passed));
            world.advance(Duration::from_secs(seconds));
            passed += Duration::from_secs(seconds);
            if crash {
                world.crash();
            }
            for (id, at) in &sent {
                let age = passed.saturating_sub(*at);
                // Steps of the clock below a second are not followed.
                if age + SECOND * 15 < DAY * 7 {
                    prop_assert_eq!(world.state_of(id), "queued");
                } else if age > DAY * 7 + SECOND * 15 {
                    prop_assert_eq!(world.state_of(id), "expired");
                }
            }
        }
    }
}
