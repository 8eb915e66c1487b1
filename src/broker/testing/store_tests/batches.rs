//! A batch: one transaction, and a savepoint for each of its messages.

use super::*;

#[test]
fn the_messages_of_a_batch_are_offered_in_order_around_what_is_refused() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let items = [("k1", "bob", "one"), ("k2", "nobody", "two"), ("k3", "bob", "three")];
    let outcomes = world.send_batch(&ann, &items, false).unwrap();
    let codes: Vec<_> = outcomes.iter().map(|one| one.as_ref().err().map(|e| e.code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::NotFound), None]);
    assert_eq!(world.pushed(&bob), ["one", "three"]);
    assert_eq!(world.history("bob"), ["ann > bob: one", "ann > bob: three"]);
    assert!(world.counts_are_right());
}

#[test]
fn what_fails_in_the_middle_of_a_batch_is_undone_alone() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    // It is found out only when the row is inserted, behind everything that a refusal must undo.
    world.fail_inserts_of("two");
    let items = [("k1", "bob", "one"), ("k2", "bob", "two"), ("k3", "bob", "three")];
    let outcomes = world.send_batch(&ann, &items, false).unwrap();
    let accepted: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, [true, false, true]);
    assert_eq!(world.pushed(&bob), ["one", "three"]);
    assert_eq!(world.count("messages"), 2);
    assert!(world.counts_are_right());
}

#[test]
fn a_batch_that_is_repeated_stores_only_what_is_new_and_costs_no_allowance() {
    let mut world = World::with(|limits| limits.burst = 3);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let items = [("k1", "bob", "one"), ("k2", "bob", "two"), ("k3", "bob", "three")];
    let first = world.send_batch(&ann, &items[..2], false).unwrap();
    let again = world.send_batch(&ann, &items, true).unwrap();
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(first.as_ref().unwrap().id, again.as_ref().unwrap().id);
    }
    assert_eq!(world.pushed(&bob), ["one", "two", "three"]);
    let other = world.send_batch(&ann, &[("k1", "bob", "another text")], false).unwrap();
    assert_eq!(other[0].as_ref().unwrap_err().code, ErrorCode::KeyReused);
    let twice =
        world.send_batch(&bob, &[("k1", "ann", "one"), ("k1", "ann", "one")], false).unwrap();
    assert_eq!(twice[0].as_ref().unwrap().id, twice[1].as_ref().unwrap().id);
    assert_eq!(world.count("messages"), 4);
}

#[test]
fn a_limit_that_is_reached_within_a_batch_refuses_the_rest_of_it() {
    let mut world = World::with(|limits| limits.burst = 2);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let items = [("k1", "bob", "one"), ("k2", "bob", "two"), ("k3", "bob", "three")];
    let outcomes = world.send_batch(&ann, &items, false).unwrap();
    assert_eq!(outcomes[2].as_ref().unwrap_err().code, ErrorCode::RateLimited);
    assert_eq!(world.pushed(&bob), ["one", "two"]);
}

#[test]
fn a_batch_whose_commit_is_lost_leaves_nothing_and_can_be_repeated() {
    let mut world = World::with(|limits| limits.burst = 2);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let items = [("k1", "bob", "one"), ("k2", "bob", "two")];
    for lose in [World::refuse_next, World::lose_next] {
        lose(&mut world);
        world.send_batch(&ann, &items, false).unwrap_err();
        assert_eq!((world.pushed(&bob), world.count("messages")), (vec![], 0));
    }
    assert!(world.send_batch(&ann, &items, true).unwrap().iter().all(Result::is_ok));
    assert_eq!(world.pushed(&bob), ["one", "two"]);
}

#[test]
fn what_a_batch_was_refused_at_first_is_not_accepted_behind_what_followed_it() {
    let mut world = World::with(|limits| limits.burst = 2);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let items = [
        ("k1", "bob", "one"),
        ("k2", "late", "two"),
        ("k3", "bob", "three"),
        ("k4", "late", "four"),
    ];
    world.send_batch(&ann, &items, false).unwrap();
    let late = world.live("late");
    let again = world.send_batch(&ann, &items, true).unwrap();
    let codes: Vec<_> = again.iter().map(|one| one.as_ref().err().map(|e| e.code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::OutOfOrder), None, None]);
    assert_eq!(world.pushed(&late), ["four"], "it stood behind all that was accepted");
    assert_eq!(world.pushed(&bob), ["one", "three"]);
    // What was undone cost no allowance.
    world.send(&ann, &late, "five");
}

#[test]
fn each_message_of_a_batch_is_answered_as_if_it_was_sent_alone() {
    for channel in [Channel::Absent, Channel::Presumed, Channel::Proven] {
        let answers = |in_one: bool| {
            let mut world = World::with(|limits| {
                (limits.messages_per_minute, limits.max_unread) = (0, 90);
            });
            let (ann, bob) = (world.live("ann"), world.live_over("bob", channel));
            world.peer("eve");
            world.send(&bob, &ann, "a message to the sender");
            let keys: Vec<String> = (0..120).map(|number| format!("key {number}")).collect();
            let to = |number: usize| match number % 5 {
                0 => "eve",
                1 => bob.id.as_str(),
                2 if number % 20 == 2 => "nobody",
                _ => "bob",
            };
            let all: Vec<_> =
                keys.iter().enumerate().map(|(at, key)| (key.as_str(), to(at), "hello")).collect();
            let outcomes = if in_one {
                world.send_batch(&ann, &all, false).unwrap()
            } else {
                all.iter().map(|(key, to, text)| world.send_once(&ann, to, text, key)).collect()
            };
            assert!(world.counts_are_right());
            assert_eq!(world.look(&bob).unread, world.backlog_of(&bob));
            outcomes
                .into_iter()
                .map(|one| format!("{:?}", one.map_err(|e| e.code)))
                .collect::<Vec<_>>()
        };
        let (alone, in_one) = (answers(false), answers(true));
        // The ids of messages that were sent alone hold the same numbers; refused ones use none up.
        assert_eq!(alone.len(), in_one.len());
        for (alone, in_one) in alone.iter().zip(&in_one) {
            let without_id =
                |answer: &str| answer.split_once("state").map(|(_, rest)| rest.to_owned());
            assert_eq!(without_id(alone), without_id(in_one));
        }
    }
}
