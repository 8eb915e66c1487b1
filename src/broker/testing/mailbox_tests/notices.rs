//! Notices: the broker tells a sender that messages of its ended unread.

use std::time::Duration;

use crate::broker::testing::{ErrorCode, NOTHING, World};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[test]
fn a_sender_is_told_that_its_message_was_never_offered() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(WEEK);
    world.look(&bob);
    let told = world.pushed(&ann);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!("bob ({})", bob.id)), "{told:?}");
    assert!(told[0].contains(&format!("(expired): {id}.")), "{told:?}");
}

#[test]
fn a_sender_is_told_that_it_is_not_known_whether_its_message_was_read() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(WEEK);
    world.look(&bob);
    assert!(world.pushed(&ann)[0].contains(&format!("(unconfirmed): {id}.")));
}

#[test]
fn what_ends_together_is_one_notice_for_each_recipient() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.live("ann"), world.peer("bob"), world.peer("eve"));
    world.send_all(&ann, &bob, &["one", "two"]);
    world.send(&ann, &eve, "three");
    world.advance(WEEK);
    world.look(&bob);
    let told = world.pushed(&ann);
    let of = |count: &str, name: &str| {
        told.iter().filter(|text| text.contains(count) && text.contains(name)).count()
    };
    assert_eq!((told.len(), of("2 messages", "bob"), of("a message", "eve")), (2, 1, 1));
}

#[test]
fn a_notice_waits_for_a_sender_that_is_away_and_is_no_backlog() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.advance(WEEK);
    assert_eq!(world.look(&ann).unread, 0);
    assert_eq!(world.take(&ann).len(), 1);
}

#[test]
fn a_notice_cannot_be_answered_and_ends_without_another() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.advance(WEEK);
    let notice = world.try_take(&ann, 0).unwrap().messages.remove(0);
    assert_eq!(notice.from_name.as_deref(), Some("claude-peers broker"));
    let refused = world.try_send(&ann, notice.from_id.as_str(), "thanks").unwrap_err();
    assert_eq!(refused.code, ErrorCode::BadRequest);
    world.advance(WEEK);
    assert_eq!(world.state_of(&notice.id), "unconfirmed by tool");
    assert_eq!(world.take(&ann), NOTHING);
}

#[test]
fn a_message_that_was_read_causes_no_notice() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.confirm(&bob, &[id]);
    world.advance(WEEK);
    world.look(&bob);
    assert_eq!(world.pushed(&ann), NOTHING);
    assert_eq!(world.count("messages"), 1);
}

#[test]
fn a_notice_survives_a_crash_like_any_message() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.advance(WEEK);
    world.look(&bob);
    world.crash();
    world.open_stream(&ann);
    assert_eq!(world.pushed(&ann).len(), 1);
    assert_eq!(world.count("messages WHERE sender = 'broker'"), 1);
}
