//! Which stream is pushed what, in which order, and how often.

use crate::broker::live::push_state::PUSH_WINDOW as WINDOW;
use crate::broker::testing::{Channel, NOTHING, World};
use crate::protocol::stream::{ByeReason, Event};

#[test]
fn what_waits_is_pushed_in_order_behind_the_word_that_the_stream_is_open() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send_all(&ann, &bob, &["one", "two", "three"]);
    world.open_stream(&bob);
    let events = world.events(&bob);
    assert!(matches!(&events[0], Event::Ready { peer } if peer.id == bob.id));
    let texts: Vec<_> = events[1..]
        .iter()
        .map(|event| match event {
            Event::Message { delivery } => delivery.text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, ["one", "two", "three"]);
}

#[test]
fn no_more_is_under_way_to_a_stream_than_its_window_takes() {
    let mut world = World::with(|limits| limits.burst = 1_000);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let texts: Vec<String> = (0..WINDOW + 6).map(|number| number.to_string()).collect();
    let ids: Vec<_> = texts.iter().map(|text| world.send(&ann, &bob, text)).collect();
    assert_eq!(world.pushed(&bob), texts[..WINDOW]);
    assert_eq!(world.state_of(&ids[WINDOW]), "queued");
    world.written(&bob, &ids[..2]);
    assert_eq!(world.pushed(&bob), texts[WINDOW..WINDOW + 2], "a receipt makes room");
    world.written(&bob, &ids[2..WINDOW]);
    assert_eq!(world.pushed(&bob), texts[WINDOW + 2..]);
}

#[test]
fn what_waits_for_room_is_pushed_before_what_comes_later() {
    let mut world = World::with(|limits| limits.burst = 1_000);
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let ids: Vec<_> = (0..=WINDOW).map(|n| world.send(&ann, &bob, &n.to_string())).collect();
    world.pushed(&bob);
    world.written(&bob, &ids[..1]);
    world.send(&ann, &bob, "late");
    world.written(&bob, &ids[1..2]);
    assert_eq!(world.pushed(&bob), [WINDOW.to_string(), "late".to_owned()]);
}

#[test]
fn no_id_is_pushed_twice_to_one_instance_that_has_written_it() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, &[id]);
    world.close_stream(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), NOTHING);
}

#[test]
fn what_an_instance_has_not_written_it_is_pushed_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two"]);
    world.written(&bob, &ids[..1]);
    world.close_stream(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["two"], "as it knows each id itself, no repeat");
}

#[test]
fn a_later_instance_is_told_that_it_is_a_repeat() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.written(&bob, &[id]);
    world.close_stream(&bob);
    let next = world.start(bob.start());
    world.open_stream(&next);
    assert_eq!(world.pushed(&next), ["hello (repeat)"]);
}

#[test]
fn a_crash_of_the_broker_costs_the_same_instance_a_reconnect_and_no_message() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two", "three"]);
    world.written(&bob, &ids[..1]);
    world.crash();
    assert_eq!(world.state_of(&ids[2]), "offered by channel");
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["two", "three"]);
}

#[test]
fn of_two_servers_of_one_session_the_newest_is_pushed_to() {
    let mut world = World::new();
    let (ann, first) = (world.peer("ann"), world.live("bob"));
    let second = world.start(first.start());
    world.open_stream(&second);
    assert_eq!(first.id, second.id);
    world.send(&ann, &first, "hello");
    assert_eq!((world.pushed(&first).len(), world.pushed(&second)), (0, vec!["hello".to_owned()]));
}

#[test]
fn of_two_servers_of_one_session_the_proven_one_is_pushed_to() {
    let mut world = World::new();
    let (ann, first) = (world.peer("ann"), world.live_over("bob", Channel::Proven));
    let second = world.start(first.start().channel(Channel::Presumed));
    world.open_stream(&second);
    world.send(&ann, &first, "hello");
    assert_eq!((world.pushed(&first), world.pushed(&second).len()), (vec!["hello".to_owned()], 0));
}

#[test]
fn what_one_server_of_a_session_was_pushed_the_other_is_not_while_both_are_there() {
    let mut world = World::new();
    let (ann, first) = (world.peer("ann"), world.live("bob"));
    world.send(&ann, &first, "hello");
    let second = world.start(first.start());
    world.open_stream(&second);
    assert_eq!(world.pushed(&second), NOTHING);
    world.close_stream(&first);
    assert_eq!(world.pushed(&second), ["hello (repeat)"], "now it takes over");
}

#[test]
fn what_a_presumed_server_was_pushed_a_proven_one_is_pushed_as_well() {
    let mut world = World::new();
    let (ann, first) = (world.peer("ann"), world.live("bob"));
    world.send(&ann, &first, "hello");
    let second = world.start(first.start().channel(Channel::Proven));
    world.open_stream(&second);
    assert_eq!(world.pushed(&second), ["hello (repeat)"]);
}

#[test]
fn an_older_stream_of_the_instance_is_told_to_end_and_its_end_ends_nothing() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let older = world.reopen_stream(&bob);
    let bye = Event::Bye { reason: ByeReason::Replaced };
    assert_eq!(format!("{:?}", older.last().unwrap()), format!("{bye:?}"));
    assert!(world.look(&bob).live);
    world.send(&ann, &bob, "hello");
    assert_eq!(world.pushed(&bob), ["hello"]);
}

#[test]
fn a_peer_is_live_exactly_as_long_as_one_of_its_streams_is_open() {
    let mut world = World::new();
    let bob = world.peer("bob");
    assert!(!world.look(&bob).live);
    world.open_stream(&bob);
    let second = world.start(bob.start());
    world.open_stream(&second);
    world.close_stream(&bob);
    assert!(world.look(&bob).live);
    world.close_stream(&second);
    assert!(!world.look(&bob).live);
}

#[test]
fn a_receiver_reports_what_it_was_pushed_and_nothing_else() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.peer("ann"), world.live("bob"), world.live("eve"));
    let id = world.send(&ann, &bob, "hello");
    assert_eq!(world.written(&eve, std::slice::from_ref(&id)), 0);
    world.close_stream(&bob);
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["hello"]);
}

#[test]
fn messages_of_one_sender_arrive_in_the_order_in_which_they_were_accepted() {
    let mut world = World::new();
    let (ann, eve, bob) = (world.live("ann"), world.live("eve"), world.peer("bob"));
    world.send(&ann, &bob, "a1");
    world.send(&eve, &bob, "e1");
    world.send(&ann, &bob, "a2");
    assert_eq!(world.take(&bob), ["a1", "e1", "a2"]);
    world.open_stream(&bob);
    world.close_stream(&bob);
    let next = world.start(bob.start());
    world.send(&eve, &bob, "e2");
    world.open_stream(&next);
    assert_eq!(world.pushed(&next), ["a1 (repeat)", "e1 (repeat)", "a2 (repeat)", "e2"]);
}

#[test]
fn a_server_whose_channel_is_proven_is_pushed_what_waits_before_what_comes_next() {
    let mut world = World::new();
    let (ann, first) = (world.peer("ann"), world.live("bob"));
    world.send(&ann, &first, "one");
    let second = world.start(first.start());
    world.open_stream(&second);
    let two = world.send(&ann, &first, "two");
    world.reply(&second, &ann, &two);
    world.send(&ann, &first, "three");
    assert_eq!(world.pushed(&second), ["two", "one (repeat)", "three"]);
}
