//! What a call costs does not grow with the mail and the sessions of others, as SQLite's steps and
//! statements tell.

use crate::broker::testing::{Start, World};
use crate::protocol::messages::ListMessages;
use crate::protocol::peers::ListPeers;

fn unlimited() -> World {
    World::with(|limits| (limits.messages_per_minute, limits.max_unread) = (0, 0))
}

/// Has `count` messages of others wait in a mailbox.
fn fill(world: &mut World, count: usize) {
    let (others, bob) = (world.peer("others"), world.peer("bob"));
    for _ in 0..count {
        world.send(&others, &bob, "hello");
    }
}

#[test]
fn a_check_for_mail_does_not_read_the_unread_messages_of_others() {
    let steps_with = |count: usize| {
        let mut world = unlimited();
        let (ann, eve) = (world.peer("ann"), world.peer("eve"));
        world.send(&ann, &eve, "hello");
        fill(&mut world, count);
        let own = world.try_take(&ann, 0).unwrap();
        assert_eq!(own.own_unread_total, 1);
        world.steps(|world| {
            world.take(&ann);
        })
    };
    let (few, many) = (steps_with(10), steps_with(1_000));
    assert!(many < few + 200, "{few} steps, and {many} with many others");
}

#[test]
fn what_a_peer_sent_is_listed_without_the_unread_messages_of_others() {
    let steps_with = |count: usize| {
        let mut world = unlimited();
        let (ann, eve) = (world.peer("ann"), world.peer("eve"));
        world.send(&ann, &eve, "hello");
        fill(&mut world, count);
        let request =
            ListMessages { peer: Some("ann".to_owned()), sent: true, ..ListMessages::default() };
        assert_eq!(world.list_messages(&request).unwrap().len(), 1);
        world.steps(|world| {
            world.list_messages(&request).unwrap();
        })
    };
    let (few, many) = (steps_with(10), steps_with(1_000));
    assert!(many < few + 200, "{few} steps, and {many} with many others");
}

#[test]
fn a_lost_commit_makes_messages_unread_again_for_their_sender() {
    let mut world = unlimited();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.try_take(&ann, 0).unwrap().own_unread_total, 1);
    world.lose_next();
    world.try_confirm(&bob, std::slice::from_ref(&id)).unwrap_err();
    assert_eq!(world.try_take(&ann, 0).unwrap().own_unread_total, 1);
    world.confirm(&bob, &[id]);
    assert_eq!(world.try_take(&ann, 0).unwrap().own_unread_total, 0);
    // After a restart it is read from the database.
    world.send(&ann, &bob, "again");
    world.crash();
    assert_eq!(world.try_take(&ann, 0).unwrap().own_unread_total, 1);
}

#[test]
fn a_name_in_a_crowded_directory_costs_little_more_than_the_first() {
    let mut world = unlimited();
    let mut costs = Vec::new();
    for _ in 0..300 {
        let steps = world.steps(|world| {
            world.live_in_ended_client("/src/shop");
        });
        costs.push(steps);
    }
    let (at_64, last) = (costs[64], costs[299]);
    assert!(last < 2 * at_64, "{at_64} steps for the 65th, {last} for the last");
    assert!(last < 20_000, "{last} steps for the last");
}

#[test]
fn names_in_a_crowded_directory_are_all_different() {
    let mut world = unlimited();
    let mut names: Vec<String> =
        (0..120).map(|_| world.live_in_ended_client("/src/shop").name).collect();
    assert_eq!(names[..3], ["shop", "shop-2", "shop-3"]);
    assert_eq!(names[31], "shop-32");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 120);
}

#[test]
fn names_that_look_alike_are_found_whichever_was_first() {
    let mut world = World::new();
    let ascii = world.peer("peace");
    world.open_stream(&ascii);
    world.rename(&ascii, "peace").unwrap();
    let other = world.live("other");
    // Of Cyrillic letters.
    let error = world.rename(&other, "\u{440}\u{435}\u{430}\u{441}\u{435}").unwrap_err();
    assert!(error.message.contains("looks like peace"), "{error}");
    world.crash();
    world.open_stream(&ascii);
    world.open_stream(&other);
    let error = world.rename(&other, "\u{440}\u{435}\u{430}\u{441}\u{435}").unwrap_err();
    assert!(error.message.contains("looks like peace"), "{error}");
}

#[test]
fn a_list_looks_at_each_stream_once() {
    let looked_with = |count: u32| {
        let mut world = unlimited();
        let me = world.live("me");
        for number in 0..count {
            let peer = world.start(Start::at("/src/shop").session(&format!("s{number}")));
            world.open_stream(&peer);
            world.quiet_hook(&peer, crate::broker::testing::Hook::SessionStart, "t");
        }
        let before = world.looked_at();
        let list = world.list(&me, &ListPeers::default()).unwrap();
        assert_eq!(list.peers.len(), count as usize);
        world.looked_at() - before
    };
    let (few, many) = (looked_with(10), looked_with(100));
    assert!(many <= 12 * few, "{few} for 10 peers, {many} for 100");
}

#[test]
fn names_of_sessions_that_have_left_are_given_again_in_a_crowded_directory() {
    let mut world = unlimited();
    for round in 0..3 {
        let names: Vec<String> =
            (0..40).map(|_| world.start(Start::at("/src/shop")).name).collect();
        assert!(names.iter().all(|name| name.starts_with("shop")), "{round}: {names:?}");
        world.advance(std::time::Duration::from_secs(3_600));
    }
}
