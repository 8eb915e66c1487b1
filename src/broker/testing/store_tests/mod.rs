//! The store: what a transaction that ends badly leaves behind, which is nothing.

mod batches;
mod lane;
mod pages;
mod syncs;
mod upgrade;

use crate::broker::live::push_state::PUSH_WINDOW;
use crate::broker::testing::{
    Channel, ErrorCode, Hook, NOTHING, Outcome, SCHEMA_VERSION, Scope, TestPeer, World, event,
    running, upgraded,
};
use crate::protocol::hook::HookEvent;
use Outcome::{Committed, Lost, Refused};

#[test]
fn a_send_that_is_rolled_back_leaves_no_message_and_pushes_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.refuse_next();
    world.try_send(&ann, "bob", "refused").unwrap_err();
    assert_eq!((world.pushed(&bob), world.look(&bob).unread), (vec![], 0));
    assert_eq!((world.count("messages"), world.count("offers")), (0, 0));
    world.send(&ann, &bob, "accepted");
    assert_eq!(world.pushed(&bob), ["accepted"]);
}

#[test]
fn a_send_that_is_rolled_back_does_not_keep_what_waits_from_the_stream() {
    let mut world = World::with(|limits| limits.burst = 1_000);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let ids: Vec<_> = (0..=PUSH_WINDOW).map(|n| world.send(&ann, &bob, &n.to_string())).collect();
    world.pushed(&bob);
    world.refuse_next();
    world.try_written(&bob, &ids[..1]).unwrap_err();
    assert_eq!(world.pushed(&bob), NOTHING);
    world.written(&bob, &ids[..1]);
    assert_eq!(world.pushed(&bob), [PUSH_WINDOW.to_string()]);
}

#[test]
fn a_question_that_is_rolled_back_waits_for_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    world.refuse_next();
    world.ask(&ann, &bob, "well?").unwrap_err();
    assert!(!world.waits(&ann));
    world.send(&bob, &ann, "hello");
    assert_eq!(world.pushed(&ann), ["hello"]);
}

#[test]
fn a_question_whose_commit_fails_waits_for_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    world.lose_next();
    assert_eq!(world.ask(&ann, &bob, "well?").unwrap_err().code, ErrorCode::Storage);
    assert!(!world.waits(&ann));
}

#[test]
fn a_broadcast_that_is_rolled_back_is_pushed_to_no_peer() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.live("ann"), world.live("bob"), world.live("eve"));
    world.refuse_next();
    world.broadcast(&ann, Scope::Machine, "hello").unwrap_err();
    assert_eq!((world.pushed(&bob), world.pushed(&eve)), (vec![], vec![]));
    assert_eq!(world.count("messages"), 0);
}

#[test]
fn a_take_that_is_rolled_back_took_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.refuse_next();
    world.try_take(&bob, 0).unwrap_err();
    assert_eq!((world.state_of(&id), world.lease(&id)), ("queued".to_owned(), None));
    assert_eq!(world.take(&bob), ["hello"], "no repeat");
}

#[test]
fn a_confirmation_that_is_rolled_back_confirms_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.take(&bob);
    for lose in [World::refuse_next, World::lose_next] {
        lose(&mut world);
        world.try_confirm(&bob, std::slice::from_ref(&id)).unwrap_err();
        assert_eq!(world.state_of(&id), "offered by tool");
    }
    assert!(world.counts_are_right());
}

#[test]
fn a_key_whose_request_was_rolled_back_is_free() {
    let mut world = World::new();
    let (ann, _) = (world.peer("ann"), world.peer("bob"));
    for lose in [World::refuse_next, World::lose_next] {
        lose(&mut world);
        world.send_once(&ann, "bob", "hello", "key").unwrap_err();
    }
    world.send_once(&ann, "bob", "hello", "key").unwrap();
    assert_eq!((world.count("messages"), world.count("messages WHERE key = 'key'")), (1, 1));
}

#[test]
fn a_request_that_is_refused_does_not_undo_its_neighbours() {
    let mut world = World::new();
    let (ann, eve, bob) = (world.peer("ann"), world.peer("eve"), world.live("bob"));
    let accepted = world.send_together(&[
        (Committed, &ann, &bob, "one"),
        (Refused, &eve, &bob, "two"),
        (Committed, &ann, &bob, "three"),
    ]);
    assert_eq!(accepted, [true, false, true]);
    assert_eq!(world.pushed(&bob), ["one", "three"]);
    assert_eq!(world.history("bob"), ["ann > bob: one", "ann > bob: three"]);
}

#[test]
fn a_commit_that_fails_is_no_request_accepted_and_nothing_pushed() {
    let mut world = World::new();
    let (ann, eve, bob) = (world.peer("ann"), world.peer("eve"), world.live("bob"));
    let together = [(Committed, &ann, &bob, "one"), (Lost, &eve, &bob, "two")];
    assert_eq!(world.send_together(&together), [false, false]);
    assert_eq!((world.pushed(&bob), world.count("messages")), (vec![], 0));
    world.send(&ann, &bob, "three");
    assert_eq!(world.pushed(&bob), ["three"]);
}

#[test]
fn what_was_acknowledged_survives_a_crash_of_the_broker() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live_over("bob", Channel::Absent));
    let ids = world.send_all(&ann, &bob, &["one", "two", "three"]);
    world.take(&bob);
    world.confirm(&bob, &ids[..1]);
    world.crash();
    let states: Vec<_> = ids.iter().map(|id| world.state_of(id)).collect();
    assert_eq!(states, ["read by tool", "offered by tool", "offered by tool"]);
    assert_eq!(world.take(&bob), ["two (repeat)", "three (repeat)"]);
    assert!(world.counts_are_right());
}

#[test]
fn the_count_of_unread_messages_follows_every_way_out_of_the_mailbox() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two", "three", "four"]);
    world.confirm(&bob, &ids[..1]);
    world.reply(&bob, &ann, &ids[1]);
    assert_eq!(world.look(&bob).unread, 2);
    world.advance(std::time::Duration::from_secs(8 * 24 * 60 * 60));
    assert_eq!(world.look(&bob).unread, 0);
    world.confirm(&bob, &ids);
    assert!(world.counts_are_right());
}

#[test]
fn the_count_of_unread_messages_is_right_whatever_happens_to_many_of_them() {
    let mut world = World::with(|limits| {
        (limits.messages_per_minute, limits.max_unread) = (0, 0);
    });
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
    let mut unread = Vec::new();
    // What is done is spread evenly over these numbers (SplitMix64).
    let mut state = 0u64;
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((number ^ (number >> 27)) % below as u64).unwrap()
    };
    for step in 0..600 {
        match random(10) {
            0 => {
                world.refuse_next();
                world.try_send(&ann, "bob", "refused").unwrap_err();
            }
            1 => {
                world.lose_next();
                world.try_send(&ann, "bob", "lost").unwrap_err();
            }
            2 if !unread.is_empty() => {
                let id = unread.remove(random(unread.len()));
                assert_eq!(world.confirm(&bob, &[id]), 1);
            }
            3 if step % 50 == 0 => world.crash(),
            _ => {
                let sent = world.try_send(&ann, "bob", "hello").unwrap();
                unread.push(sent.id);
                assert_eq!(sent.to.unread, unread.len() as u64, "step {step}");
            }
        }
        assert!(world.counts_are_right(), "step {step}");
    }
    assert!(unread.len() > 200);
    assert_eq!(world.look(&bob).unread, unread.len() as u64);
    world.confirm(&bob, &unread);
    assert_eq!((world.look(&bob).unread, world.count("peers WHERE unread <> 0")), (0, 0));
}

#[test]
fn a_database_of_every_earlier_schema_becomes_one_of_this_with_all_that_it_held() {
    for version in 1..SCHEMA_VERSION {
        let database = upgraded(
            version,
            "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at) VALUES
                 ('ann00001', 'session', 'ann', 'automatic', 1, 1),
                 ('bob00002', 'session', 'bob', 'environment', 1, 1);
             INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state) VALUES
                 ('m1', 'ann00001', 'bob00002', 'read', 1, 9, 'read'),
                 ('m2', 'ann00001', 'bob00002', 'queued', 1, 9, 'queued');",
        );
        let (texts, unread): (String, i64) = database
            .query_row(
                "SELECT group_concat(text), (SELECT unread FROM peers WHERE name = 'bob')
                 FROM messages",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!((texts.as_str(), unread), ("read,queued", 1), "from schema {version}");
    }
}

/// What is in memory changes at the commit and not before it.
mod memory {
    use super::*;

    #[test]
    fn a_reply_that_is_rolled_back_proves_no_channel() {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.live("bob"));
        let id = world.send(&ann, &bob, "hello");
        world.refuse_next();
        world.try_reply(&bob, &ann, &id).unwrap_err();
        let next = world.send(&ann, &bob, "more");
        assert_eq!(world.lease(&next), None);
    }

    #[test]
    fn a_look_that_is_rolled_back_leaves_its_waiter_waiting() {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.live("bob"));
        let waiter = world.wait(&bob);
        world.send(&ann, &bob, "hello");
        for lose in [World::refuse_next, World::lose_next] {
            lose(&mut world);
            world.try_look_for(&waiter).unwrap_err();
            assert_eq!((world.waits(&bob), world.pushed(&bob)), (true, vec![]));
        }
        assert_eq!(world.look_for(&waiter).unwrap(), ["hello"]);
    }

    #[test]
    fn a_receipt_that_is_rolled_back_makes_no_room() {
        let mut world = World::with(|limits| limits.burst = 1_000);
        let (ann, bob) = (world.peer("ann"), world.live("bob"));
        let ids: Vec<_> =
            (0..PUSH_WINDOW).map(|n| world.send(&ann, &bob, &n.to_string())).collect();
        world.pushed(&bob);
        world.refuse_next();
        world.try_written(&bob, &ids[..1]).unwrap_err();
        world.send(&ann, &bob, "one too many");
        assert_eq!(world.pushed(&bob), NOTHING);
    }

    #[test]
    fn a_stream_whose_opening_is_rolled_back_is_not_open() {
        let mut world = World::new();
        let bob = world.peer("bob");
        for lose in [World::refuse_next, World::lose_next] {
            lose(&mut world);
            world.try_open_stream(&bob).unwrap_err();
            assert!(!world.look(&bob).live);
        }
    }

    #[test]
    fn a_hook_that_is_rolled_back_is_no_turn() {
        let mut world = World::new();
        let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Absent));
        world.send(&ann, &bob, "hello");
        world.advance(std::time::Duration::from_secs(1));
        world.refuse_next();
        world.try_hook(quiet(&bob)).unwrap_err();
        assert_eq!(world.wake(&bob), "now, for 1");
    }

    #[test]
    fn a_send_that_is_rolled_back_costs_no_allowance() {
        let mut world = World::with(|limits| limits.burst = 1);
        let (ann, bob) = (world.peer("ann"), world.peer("bob"));
        world.refuse_next();
        world.try_send(&ann, "bob", "refused").unwrap_err();
        world.send(&ann, &bob, "accepted");
    }

    #[test]
    fn a_registration_that_is_rolled_back_is_not_about_to_arrive() {
        let mut world = World::new();
        let bob = world.live("bob");
        world.close_stream(&bob);
        world.advance(std::time::Duration::from_secs(10));
        world.refuse_next();
        world.try_start(bob.start()).unwrap_err();
        let other = world.start(bob.start().client(running(900)));
        assert_eq!(other.id, bob.id);
    }
}

/// A prompt's hook that shows nothing.
fn quiet(peer: &TestPeer) -> HookEvent {
    HookEvent { room: 0, ..event(peer, Hook::UserPromptSubmit, "turn") }
}
