//! Who may act for whom, and what a lost commit undoes: each of these was broken once without any test
//! that failed.

use crate::broker::testing::{NOTHING, World};

fn unlimited() -> World {
    World::with(|limits| (limits.messages_per_minute, limits.max_unread) = (0, 0))
}

#[test]
fn a_session_confirms_its_own_mail_alone() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    let id = world.send(&ann, &bob, "hello");
    world.take(&bob);
    for other in [&eve, &ann] {
        assert_eq!(world.confirm(other, std::slice::from_ref(&id)), 0);
    }
    let cli = world.cli();
    assert_eq!(world.confirm(&cli, std::slice::from_ref(&id)), 0);
    assert_eq!(world.state_of(&id), "offered by tool");
    assert_eq!(world.confirm(&bob, std::slice::from_ref(&id)), 1);
}

#[test]
fn a_session_reports_pushes_of_its_own_alone() {
    let mut world = unlimited();
    let (ann, bob, eve) = (world.peer("ann"), world.live("bob"), world.live("eve"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.written(&eve, std::slice::from_ref(&id)), 0);
    assert_eq!(world.written(&bob, &[id]), 1);
}

#[test]
fn the_same_key_of_another_caller_is_another_request() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    let first = world.send_once(&ann, "bob", "hello", "key").unwrap();
    let other = world.send_once(&eve, "bob", "hello", "key").unwrap();
    assert_ne!(first.id, other.id);
    let cli = world.cli();
    let third = world.send_once(&cli, "bob", "hello", "key").unwrap();
    assert!(third.id != first.id && third.id != other.id);
    assert_eq!(world.send_once(&ann, "bob", "hello", "key").unwrap().id, first.id);
    // So it is for all other writes.
    world.send(&bob, &ann, "for ann");
    let taken = world.take_once(&ann, "take").unwrap();
    assert_eq!(taken.messages.len(), 1);
    let taken = world.take_once(&eve, "take").unwrap();
    assert_eq!(taken.messages.len(), 0);
}

#[test]
fn what_a_lost_commit_would_have_pushed_is_pushed_by_the_next() {
    let mut world = unlimited();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let ids: Vec<_> = (0..300).map(|n| world.send(&ann, &bob, &n.to_string())).collect();
    let first = world.pushed(&bob);
    assert_eq!(first.len(), 256);
    world.lose_next();
    world.try_written(&bob, &ids[..256]).unwrap_err();
    assert_eq!(world.pushed(&bob), NOTHING);
    world.written(&bob, &ids[..256]);
    let rest: Vec<String> = (256..300).map(|n| n.to_string()).collect();
    assert_eq!(world.pushed(&bob), rest);
}

#[test]
fn a_push_of_a_lost_send_leaves_the_place_to_the_next() {
    for channel in
        [crate::broker::testing::Channel::Presumed, crate::broker::testing::Channel::Proven]
    {
        let mut world = unlimited();
        let (ann, bob) = (world.peer("ann"), world.live_over("bob", channel));
        for _ in 0..300 {
            world.lose_next();
            world.try_send(&ann, "bob", "lost").unwrap_err();
        }
        let id = world.send(&ann, &bob, "kept");
        assert_eq!(world.pushed(&bob), ["kept"]);
        assert_eq!(world.state_of(&id), "offered by channel");
    }
}
