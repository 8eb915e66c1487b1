//! Limits: each refusal names what is wrong, and leaves nothing half-done.

use std::time::Duration;

use crate::broker::testing::{ErrorCode, World};
use crate::protocol::MessageId;

#[test]
fn an_empty_message_is_refused() {
    let mut world = World::new();
    let (ann, _) = (world.peer("ann"), world.peer("bob"));
    for text in ["", "  \n"] {
        assert_eq!(world.try_send(&ann, "bob", text).unwrap_err().code, ErrorCode::BadRequest);
    }
    assert_eq!(world.count("messages"), 0);
}

#[test]
fn a_message_may_have_as_many_bytes_as_the_limit_and_not_one_more() {
    let mut world = World::with(|limits| limits.max_message_bytes = 10);
    let (ann, _) = (world.peer("ann"), world.peer("bob"));
    world.try_send(&ann, "bob", "ééééé").unwrap();
    let refused = world.try_send(&ann, "bob", "ééééé!").unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
    assert!(refused.message.contains("has 11 bytes, 10 are allowed"), "{}", refused.message);
    assert_eq!(world.count("messages"), 1);
}

#[test]
fn a_full_mailbox_takes_no_more_until_something_is_read() {
    let mut world = World::with(|limits| limits.max_unread = 2);
    let (ann, eve, bob) = (world.peer("ann"), world.peer("eve"), world.peer("bob"));
    let id = world.send(&ann, &bob, "one");
    world.send(&eve, &bob, "two");
    world.take(&bob);
    assert_eq!(world.try_send(&ann, "bob", "no").unwrap_err().code, ErrorCode::MailboxFull);
    world.confirm(&bob, &[id]);
    world.send(&ann, &bob, "three");
    assert_eq!(world.take(&bob), ["two (repeat)", "three"]);
}

#[test]
fn one_sender_fills_half_of_a_mailbox_and_others_get_in() {
    let mut world =
        World::with(|limits| (limits.messages_per_minute, limits.max_unread) = (0, 100));
    let (ann, eve, bob) = (world.peer("ann"), world.peer("eve"), world.peer("bob"));
    for _ in 0..50 {
        world.send(&ann, &bob, "more");
    }
    let refused = world.try_send(&ann, "bob", "no").unwrap_err();
    assert_eq!(refused.code, ErrorCode::MailboxFull);
    assert!(refused.message.contains("50 unread messages, 50 of them from you"), "{refused}");
    assert!(refused.hint.unwrap().contains("CLAUDE_PEERS_MAX_UNREAD"));
    for _ in 0..40 {
        world.send(&eve, &bob, "more");
    }
    // The last tenth is for those that have few messages in it.
    let refused = world.try_send(&eve, "bob", "no").unwrap_err();
    assert_eq!(refused.code, ErrorCode::MailboxFull);
    let joe = world.peer("joe");
    for _ in 0..5 {
        world.send(&joe, &bob, "hello");
    }
    assert_eq!(world.try_send(&joe, "bob", "no").unwrap_err().code, ErrorCode::MailboxFull);
    // In another mailbox nothing has changed.
    world.send(&ann, &eve, "hello");
}

#[test]
fn a_share_of_a_mailbox_is_its_senders_again_once_it_is_read() {
    let mut world =
        World::with(|limits| (limits.messages_per_minute, limits.max_unread) = (0, 100));
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids: Vec<_> = (0..50).map(|_| world.send(&ann, &bob, "more")).collect();
    world.try_send(&ann, "bob", "no").unwrap_err();
    world.confirm(&bob, &ids[..1]);
    world.send(&ann, &bob, "there is room");
}

#[test]
fn many_senders_together_have_a_rate_to_one_recipient() {
    let mut world = World::with(|limits| (limits.burst, limits.max_unread) = (1, 0));
    let bob = world.peer("bob");
    let senders: Vec<_> = (0..51).map(|number| world.peer(&format!("s{number}"))).collect();
    for sender in &senders[..50] {
        world.send(sender, &bob, "hello");
    }
    let refused = world.try_send(&senders[50], "bob", "hello").unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.message.contains("from all peers together: 1200 a minute"), "{refused}");
    world.advance(Duration::from_secs(1));
    world.send(&senders[50], &bob, "hello");
}

#[test]
fn what_expired_makes_room_in_a_full_mailbox() {
    let mut world = World::with(|limits| limits.max_unread = 1);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "one");
    world.advance(Duration::from_secs(8 * 24 * 60 * 60));
    world.send(&ann, &bob, "two");
    assert_eq!(world.take(&bob), ["two"]);
}

#[test]
fn a_burst_may_be_sent_at_once_and_then_one_a_second() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    for _ in 0..20 {
        world.send(&ann, &bob, "thanks");
    }
    let refused = world.try_send(&ann, "bob", "thanks").unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.hint.unwrap().contains("wait 1 s"));
    world.advance(Duration::from_millis(999));
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::RateLimited);
    world.advance(Duration::from_millis(1));
    world.send(&ann, &bob, "thanks");
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::RateLimited);
}

#[test]
fn the_allowance_grows_to_a_burst_and_no_further() {
    let mut world = World::with(|limits| limits.burst = 3);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.advance(Duration::from_secs(60 * 60));
    for _ in 0..3 {
        world.send(&ann, &bob, "thanks");
    }
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::RateLimited);
}

#[test]
fn each_pair_has_an_allowance_of_its_own() {
    let mut world = World::with(|limits| limits.burst = 1);
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    world.send(&ann, &bob, "one");
    world.send(&bob, &ann, "two");
    world.send(&ann, &eve, "three");
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::RateLimited);
}

#[test]
fn the_rate_limit_goes_by_the_monotonic_clock() {
    let mut world = World::with(|limits| limits.burst = 1);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "one");
    world.set_wall_clock(60 * 60 * 1_000);
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::RateLimited);
}

#[test]
fn what_is_refused_for_another_reason_costs_no_allowance() {
    let mut world = World::with(|limits| limits.burst = 1);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.try_send(&ann, "bob", "").unwrap_err();
    world.try_reply(&ann, &bob, &MessageId::from_text("m99")).unwrap_err();
    world.send(&ann, &bob, "one");
}

#[test]
fn zero_is_no_limit() {
    let mut world = World::with(|limits| {
        (limits.messages_per_minute, limits.max_unread, limits.max_summary_chars) = (0, 0, 0);
    });
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    for _ in 0..50 {
        world.send(&ann, &bob, "thanks");
    }
    assert_eq!(world.look(&bob).unread, 50);
}

#[test]
fn other_limits_hold_from_the_next_message_on() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "one");
    world.set_limits(|limits| limits.max_unread = 1);
    assert_eq!(world.try_send(&ann, "bob", "x").unwrap_err().code, ErrorCode::MailboxFull);
    world.set_limits(|limits| limits.max_unread = 2);
    world.send(&ann, &bob, "two");
}

#[test]
fn a_take_stops_before_it_is_too_large_and_gives_at_least_one() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let text = "x".repeat(1_000);
    let ids = world.send_all(&ann, &bob, &[&text, &text, &text]);
    // What is around a text in a result counts as well.
    let taken = world.try_take(&bob, 2_000).unwrap();
    assert_eq!((taken.messages.len(), taken.remaining), (1, 2));
    let taken = world.try_take(&bob, 2_600).unwrap();
    assert_eq!((taken.messages.len(), taken.remaining), (2, 1));
    assert_eq!(world.state_of(&ids[2]), "queued");
    let taken = world.try_take(&bob, 1).unwrap();
    assert_eq!((taken.messages.len(), taken.remaining), (1, 2));
}
