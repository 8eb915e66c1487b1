//! A message's time runs out: what was offered is unconfirmed then, and what was not has expired.

use std::time::Duration;

use crate::broker::testing::{Channel, Hook, NOTHING, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR_MILLIS: i64 = 365 * 24 * 60 * 60 * 1_000;

#[test]
fn a_message_is_offered_for_a_week_and_no_longer() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(DAY * 6 + Duration::from_secs(23 * 60 * 60));
    assert_eq!(world.state_of(&id), "queued");
    world.advance(Duration::from_secs(60 * 60));
    assert_eq!(world.state_of(&id), "expired");
    assert_eq!((world.look(&bob).unread, world.take(&bob)), (0, vec![]));
}

#[test]
fn what_was_offered_without_evidence_is_unconfirmed_whatever_offered_it() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let (pushed, proven) = (world.live("a"), world.live_over("b", Channel::Proven));
    let (taken, shown) = (world.peer("c"), world.peer("d"));
    let ids = [&pushed, &proven, &taken, &shown].map(|peer| world.send(&ann, peer, "hello"));
    world.take(&taken);
    world.show(&shown, Hook::UserPromptSubmit, "turn");
    world.advance(DAY * 7);
    let states = ids.map(|id| world.state_of(&id));
    let by = |way: &str| format!("unconfirmed by {way}");
    assert_eq!(states, [by("channel"), by("channel"), by("tool"), by("hook")]);
    assert_eq!(world.look(&pushed).unread, 0);
}

#[test]
fn what_is_read_does_not_expire() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.confirm(&bob, std::slice::from_ref(&id));
    world.advance(DAY * 30);
    assert_eq!(world.state_of(&id), "read by tool");
}

#[test]
fn late_evidence_makes_an_unconfirmed_message_read() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let [by_tool, by_reply] = ["one", "two"].map(|text| world.send(&ann, &bob, text));
    world.take(&bob);
    world.advance(DAY * 8);
    assert_eq!(world.state_of(&by_tool), "unconfirmed by tool");
    world.confirm(&bob, std::slice::from_ref(&by_tool));
    world.reply(&bob, &ann, &by_reply);
    assert_eq!(world.state_of(&by_tool), "read by tool");
    assert_eq!(world.state_of(&by_reply), "read by reply");
}

#[test]
fn late_evidence_makes_an_expired_message_read() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(DAY * 8);
    assert_eq!(world.state_of(&id), "expired");
    world.reply(&bob, &ann, &id);
    assert_eq!(world.state_of(&id), "read by reply");
    assert_eq!(world.look(&bob).unread, 0, "it was no backlog any more");
}

#[test]
fn what_has_expired_is_offered_by_no_way() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "hello");
    world.advance(DAY * 8);
    let waiter = world.wait(&bob);
    assert_eq!(world.look_for(&waiter), None);
    assert_eq!(world.time_out(&waiter), NOTHING);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), NOTHING);
    assert_eq!(world.show(&bob, Hook::UserPromptSubmit, "turn"), NOTHING);
    assert_eq!(world.history("bob"), ["ann > bob: hello"], "the text is kept");
}

#[test]
fn a_wall_clock_that_is_set_forward_expires_nothing_and_no_lease() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let eve = world.peer("eve");
    let ids = [world.send(&ann, &bob, "one"), world.send(&ann, &eve, "two")];
    world.set_wall_clock(YEAR_MILLIS);
    world.advance(Duration::from_secs(1));
    assert_eq!(ids.each_ref().map(|id| world.state_of(id)), ["offered by channel", "queued"]);
    assert!(world.lease(&ids[0]).is_some());
    world.advance(DAY * 7);
    assert_eq!(world.state_of(&ids[1]), "expired", "a week is a week all the same");
}

#[test]
fn a_wall_clock_that_is_set_back_keeps_nothing_longer() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.set_wall_clock(-YEAR_MILLIS);
    world.advance(DAY * 6);
    assert_eq!(world.state_of(&id), "queued");
    world.advance(DAY);
    assert_eq!(world.state_of(&id), "expired");
}

#[test]
fn a_wall_clock_that_is_set_while_no_broker_runs_expires_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.set_wall_clock(YEAR_MILLIS);
    world.crash();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn a_jump_is_followed_even_if_the_transaction_that_saw_it_is_lost() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.set_wall_clock(YEAR_MILLIS);
    world.advance(Duration::from_secs(1));
    world.lose_next();
    world.try_send(&ann, "bob", "lost").unwrap_err();
    assert_eq!(world.state_of(&id), "queued");
}

#[test]
fn what_expires_with_a_request_that_is_refused_has_expired() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(DAY * 8);
    world.refuse_next();
    world.try_send(&ann, "bob", "refused").unwrap_err();
    assert_eq!(world.count("messages WHERE state = 'expired'"), 1);
    assert_eq!(world.state_of(&id), "expired");
}

#[test]
fn each_message_has_the_time_that_was_given_when_it_was_sent() {
    let mut world = World::with(|limits| limits.time_to_live = DAY);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let short = world.send(&ann, &bob, "short");
    world.set_limits(|limits| limits.time_to_live = DAY * 3);
    let long = world.send(&ann, &bob, "long");
    world.advance(DAY * 2);
    assert_eq!([world.state_of(&short), world.state_of(&long)], ["expired", "queued"]);
    assert_eq!(world.take(&bob), ["long"]);
}
