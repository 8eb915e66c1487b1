//! What a sender is told: of its own messages, of the recipient, and of a call that it repeats.

use std::time::Duration;

use crate::broker::testing::{Channel, ErrorCode, Reachability, World};

#[test]
fn a_sender_is_told_state_reach_and_backlog_of_its_recipient() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let cases = [
        (Channel::Absent, "queued", Reachability::Tools, 1),
        (Channel::Presumed, "offered", Reachability::ChannelPresumed, 1),
        (Channel::Proven, "offered", Reachability::ChannelProven, 0),
    ];
    for (channel, state, reach, unread) in cases {
        let bob = world.live_over("bob", channel);
        let sent = world.try_send(&ann, bob.id.as_str(), "hello").unwrap();
        assert_eq!((sent.state.as_str(), sent.to.reach, sent.to.unread), (state, reach, unread));
    }
}

#[test]
fn a_sender_is_told_that_mail_waits_for_itself() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&bob, &ann, "one");
    assert_eq!(world.try_send(&ann, "bob", "two").unwrap().waiting, 1);
}

#[test]
fn a_take_names_the_callers_own_messages_that_are_unread() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two", "three"]);
    world.confirm(&bob, &ids[1..2]);
    let taken = world.try_take(&ann, 0).unwrap();
    let own: Vec<_> = taken.own_unread.into_iter().map(|own| own.id).collect();
    assert_eq!((own, taken.own_unread_total), (vec![ids[2].clone(), ids[0].clone()], 2));
}

#[test]
fn the_sender_is_stamped_as_it_was_when_it_sent() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.rename(&ann, "renamed").unwrap();
    let delivery = world.try_take(&bob, 0).unwrap().messages.remove(0);
    assert_eq!((delivery.from_id, delivery.from_name.as_deref()), (ann.id, Some("ann")));
}

#[test]
fn a_repeated_call_with_its_key_gets_the_same_message_as_it_stands_and_sends_nothing_more() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let first = world.send_once(&ann, "bob", "hello", "key").unwrap();
    let again = world.send_once(&ann, "bob", "hello", "key").unwrap();
    assert_eq!(format!("{again:?}"), format!("{first:?}"));
    world.advance(Duration::from_secs(1));
    world.take(&bob);
    let again = world.send_once(&ann, "bob", "hello", "key").unwrap();
    assert_eq!((again.id, again.sent_at), (first.id, first.sent_at));
    assert_eq!((again.state.as_str(), again.to.unread), ("offered", 0));
    assert_eq!(world.count("messages"), 1);
}

#[test]
fn a_key_of_a_message_is_refused_for_another_kind_of_request_and_the_reverse() {
    let mut world = World::new();
    let (ann, _) = (world.peer("ann"), world.peer("bob"));
    world.send_once(&ann, "bob", "hello", "key").unwrap();
    assert_eq!(world.take_once(&ann, "key").unwrap_err().code, ErrorCode::KeyReused);
    world.take_once(&ann, "other").unwrap();
    let refused = world.send_once(&ann, "bob", "hello", "other").unwrap_err();
    assert_eq!(refused.code, ErrorCode::KeyReused);
    assert_eq!(world.count("messages"), 1);
}

#[test]
fn old_keys_are_forgotten_in_steps() {
    let mut world = World::with(|limits| limits.messages_per_minute = 0);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let day = Duration::from_secs(24 * 60 * 60);
    for number in 0..450 {
        world.send_once(&ann, "bob", "hello", &format!("key {number}")).unwrap();
    }
    world.advance(day);
    world.confirm(&bob, &[]);
    assert_eq!(
        world.count("messages WHERE key IS NOT NULL"),
        450,
        "the first mark stands behind them"
    );
    world.send_once(&ann, "bob", "hello", "young").unwrap();
    world.advance(day);
    for left in [251, 51, 1, 1] {
        // A request that writes: one that reads waits for nothing that it does not see.
        world.confirm(&bob, &[]);
        assert_eq!(world.count("messages WHERE key IS NOT NULL"), left);
        world.advance(Duration::from_secs(1));
    }
    world.crash();
    world.confirm(&bob, &[]);
    assert_eq!(world.count("messages WHERE fingerprint IS NOT NULL"), 1);
    world.send_once(&ann, "bob", "hello", "key 449").unwrap();
    world.send_once(&ann, "bob", "hello", "young").unwrap();
    assert_eq!(
        world.count("messages"),
        452,
        "a key of which there is no trace, and one that is known"
    );
}

#[test]
fn old_answers_are_forgotten() {
    let mut world = World::new();
    let (_, bob) = (world.peer("ann"), world.peer("bob"));
    world.take_once(&bob, "key").unwrap();
    for left in [1, 1, 0] {
        world.confirm(&bob, &[]);
        assert_eq!(world.count("answers"), left);
        world.advance(Duration::from_secs(24 * 60 * 60));
    }
}

#[test]
fn a_repeated_call_gets_the_same_answer_from_the_next_broker() {
    let mut world = World::new();
    let (ann, _) = (world.peer("ann"), world.peer("bob"));
    let first = world.send_once(&ann, "bob", "hello", "key").unwrap();
    world.crash();
    assert_eq!(world.send_once(&ann, "bob", "hello", "key").unwrap().id, first.id);
    assert_eq!(world.count("messages"), 1);
}

#[test]
fn a_repeated_call_costs_no_allowance() {
    let mut world = World::with(|limits| limits.burst = 1);
    let (ann, _) = (world.peer("ann"), world.peer("bob"));
    let first = world.send_once(&ann, "bob", "hello", "key").unwrap();
    assert_eq!(world.send_once(&ann, "bob", "hello", "key").unwrap().id, first.id);
}

#[test]
fn a_key_of_another_request_is_refused_and_a_key_of_another_caller_is_another() {
    let mut world = World::new();
    let (ann, bob, _) = (world.peer("ann"), world.peer("bob"), world.peer("eve"));
    world.send_once(&ann, "eve", "hello", "key").unwrap();
    let refused = world.send_once(&ann, "eve", "something else", "key").unwrap_err();
    assert_eq!(refused.code, ErrorCode::KeyReused);
    world.send_once(&bob, "eve", "hello", "key").unwrap();
    assert_eq!(world.count("messages"), 2);
}

#[test]
fn a_refusal_is_not_stored() {
    let mut world = World::with(|limits| limits.max_unread = 1);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "one");
    world.send_once(&ann, "bob", "two", "key").unwrap_err();
    world.confirm(&bob, &[id]);
    world.send_once(&ann, "bob", "two", "key").unwrap();
    assert_eq!(world.take(&bob), ["two"]);
}

#[test]
fn an_answer_is_kept_for_a_day_at_least() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    for hour in 0..30 {
        let key = format!("key {hour}");
        world.send_once(&ann, "bob", &key, &key).unwrap();
        world.advance(Duration::from_secs(60 * 60));
        let old = format!("key {}", hour.max(23) - 23);
        world.send_once(&ann, "bob", &old, &old).unwrap();
        world.confirm(&bob, &[]);
    }
    assert_eq!(world.count("messages"), 30);
}

#[test]
fn no_id_is_given_twice() {
    let mut world = World::new();
    world.next_ids(&["aaaaaaa1", "aaaaaaa1", "bbbbbbb2"]);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    assert_eq!((ann.id.as_str(), bob.id.as_str()), ("aaaaaaa1", "bbbbbbb2"));
    let one = world.send(&ann, &bob, "one");
    for lose in [World::refuse_next, World::lose_next] {
        lose(&mut world);
        world.try_send(&ann, "bob", "lost").unwrap_err();
    }
    world.crash();
    let two = world.send(&ann, &bob, "two");
    assert_eq!((one.seq(), two.seq()), (Some(1), Some(2)));
    assert_eq!(world.message(&two).text, "two");
}
