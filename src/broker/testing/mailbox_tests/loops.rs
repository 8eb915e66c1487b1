//! The loop guard: who goes round in circles is slowed and stopped, who works together is not.

use std::time::Duration;

use crate::broker::testing::{ErrorCode, Hook, NOTHING, Outcome, TestPeer, World};
use crate::protocol::ApiError;

/// Two sessions whose hooks report, with a limit of ten messages.
fn pair() -> (World, TestPeer, TestPeer) {
    let mut world = World::with(|limits| limits.loop_messages = 10);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    for peer in [&ann, &bob] {
        world.quiet_hook(peer, Hook::UserPromptSubmit, "first");
        world.quiet_hook(peer, Hook::Stop, "first");
    }
    (world, ann, bob)
}

/// Has both thank each other, as often as is accepted, with a pause before each message. Returns how
/// many were accepted, and the refusal of the next.
fn thank(
    world: &mut World,
    (ann, bob): (&TestPeer, &TestPeer),
    pause: Duration,
    most: usize,
) -> (usize, Option<ApiError>) {
    for count in 0..most {
        world.advance(pause);
        let (from, to) = if count % 2 == 0 { (ann, bob) } else { (bob, ann) };
        if let Err(error) = world.try_send(from, to.id.as_str(), "Thank you!") {
            return (count, Some(error));
        }
    }
    (most, None)
}

const SECOND: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(21);

#[test]
fn thanks_without_end_are_slowed_and_then_stopped_and_both_are_told() {
    let (mut world, ann, bob) = pair();
    let (count, error) = thank(&mut world, (&ann, &bob), SECOND, 100);
    let error = error.unwrap();
    assert_eq!((count, error.code), (6, ErrorCode::RateLimited));
    assert!(error.message.contains("looks like a loop"), "{error}");
    assert!(error.hint.unwrap().contains("wait 19 s"));
    let (count, error) = thank(&mut world, (&ann, &bob), PATIENT, 100);
    let error = error.unwrap();
    assert_eq!((count, error.code), (5, ErrorCode::RateLimited));
    assert!(error.message.contains("was stopped after 10 short messages"), "{error}");
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("tell your user") && hint.contains("CLAUDE_PEERS_LOOP_MESSAGES"),
        "{hint}"
    );
    for peer in [&ann, &bob] {
        let told = world.take(peer).pop().unwrap();
        assert!(told.starts_with("claude-peers stopped your exchange with"), "{told}");
        assert!(told.contains("Tell your user"), "{told}");
        // And so is the person who looks into the history.
        assert!(
            world.history(&peer.name).iter().any(|line| line.contains("stopped your exchange"))
        );
    }
    // Neither may go on, in any order, and others are not concerned.
    for (from, to) in [(&ann, &bob), (&bob, &ann), (&bob, &ann)] {
        world.try_send(from, to.id.as_str(), "Really, thank you!").unwrap_err();
        world.try_send(from, to.id.as_str(), &"long ".repeat(200)).unwrap_err();
    }
    let eve = world.peer("eve");
    world.send(&ann, &eve, "Thank you!");
}

#[test]
fn a_prompt_of_a_person_lets_them_go_on() {
    let (mut world, ann, bob) = pair();
    thank(&mut world, (&ann, &bob), PATIENT, 100);
    world.try_send(&ann, "bob", "Thank you!").unwrap_err();
    world.quiet_hook(&bob, Hook::UserPromptSubmit, "second");
    assert_eq!(thank(&mut world, (&ann, &bob), PATIENT, 10).0, 10);
}

#[test]
fn a_message_from_the_command_line_is_a_person() {
    let (mut world, ann, bob) = pair();
    thank(&mut world, (&ann, &bob), PATIENT, 100);
    let cli = world.cli();
    world.send(&cli, &ann, "Go on, you two.");
    world.send(&ann, &bob, "We may go on.");
}

#[test]
fn a_push_or_a_wake_is_no_person() {
    let (mut world, ann, bob) = pair();
    thank(&mut world, (&ann, &bob), PATIENT, 9);
    // The ninth was by ann.
    world.advance(PATIENT);
    let id = world.send(&bob, &ann, "Thank you!");
    world.advance(PATIENT);
    world.send(&ann, &bob, "the last");
    world.prompt_with(&ann, &[id]);
    world.try_send(&bob, "ann", "Thank you!").unwrap_err();
    world.advance(Duration::from_secs(5));
    assert!(world.wake(&bob).starts_with("now, for "));
    world.wake_given(&bob);
    world.quiet_hook(&bob, Hook::UserPromptSubmit, "woken");
    world.try_send(&bob, "ann", "Thank you!").unwrap_err();
}

#[test]
fn sessions_at_work_exchange_as_much_as_they_like() {
    let (mut world, ann, bob) = pair();
    for round in 0..200 {
        for (from, to) in [(&ann, &bob), (&bob, &ann)] {
            world.advance(SECOND);
            for _ in 0..3 {
                world.quiet_hook(from, Hook::PostToolUse, "work");
            }
            world.send(from, to, &format!("done with part {round}"));
        }
    }
    // One that writes much does so without tools, too.
    for _ in 0..100 {
        world.advance(SECOND);
        world.send(&ann, &bob, &"a finding ".repeat(60));
        world.send(&bob, &ann, "next");
    }
}

#[test]
fn messages_in_one_direction_are_no_loop() {
    let (mut world, ann, bob) = pair();
    for _ in 0..100 {
        world.advance(SECOND);
        world.send(&ann, &bob, "progress");
    }
}

#[test]
fn a_long_pause_begins_anew() {
    let (mut world, ann, bob) = pair();
    thank(&mut world, (&ann, &bob), PATIENT, 100);
    // The refused message came 21 s after the last one that was accepted.
    world.advance(Duration::from_secs(578));
    world.try_send(&ann, "bob", "Thank you!").unwrap_err();
    world.advance(Duration::from_secs(1));
    world.send(&ann, &bob, "Thank you!");
}

#[test]
fn without_hooks_the_limit_is_five_times_as_high() {
    let mut world = World::with(|limits| limits.loop_messages = 10);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    // The first message is no answer.
    assert_eq!(thank(&mut world, (&ann, &bob), PATIENT, 100).0, 51);
}

#[test]
fn zero_turns_it_off_and_so_do_no_rate_limits() {
    for (loops, rate) in [(0, 60), (10, 0)] {
        let mut world = World::with(|limits| {
            (limits.loop_messages, limits.messages_per_minute) = (loops, rate);
        });
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        assert_eq!(thank(&mut world, (&ann, &bob), SECOND, 200), (200, None));
        assert_eq!(world.take(&ann).iter().filter(|line| line.contains("stopped")).count(), 0);
    }
}

#[test]
fn what_is_not_stored_does_not_count() {
    let (mut world, ann, bob) = pair();
    assert_eq!(thank(&mut world, (&ann, &bob), PATIENT, 10).0, 10);
    world.advance(PATIENT);
    for outcome in [Outcome::Refused, Outcome::Lost] {
        assert_eq!(world.send_together(&[(outcome, &ann, &bob, "Thank you!")]), [false]);
    }
    world.send(&ann, &bob, "the last");
    assert_ne!(world.take(&ann), NOTHING);
    world.try_send(&bob, "ann", "no").unwrap_err();
}
