//! What comes near a rule of the registry and must not pass for it: a server that registers once
//! more, a client that still runs, mail that was offered already, a peer that is away.

use std::time::Duration;

use crate::broker::testing::{
    Channel, ErrorCode, NOTHING, Reachability, Scope, Start, World, ended, running,
};
use crate::protocol::messages::MessageState;
use crate::protocol::peers::{ListPeers, SetProfile};

/// Long enough that who has registered and opened no stream counts as away.
const ARRIVED: Duration = Duration::from_secs(10);

fn codex(directory: &str) -> Start {
    Start::at(directory).program("codex")
}

#[test]
fn a_live_server_that_registers_once_more_is_the_peer_that_it_was() {
    let mut world = World::new();
    let peer = world.start(codex("/src/shop"));
    world.open_stream(&peer);
    assert_eq!(world.register_again(&peer).peer.id, peer.id);
}

#[test]
fn a_session_whose_client_has_ended_is_resumed_though_its_stream_is_still_open() {
    let mut world = World::new();
    let first = world.start(Start::at("/src/shop").session("one").client(running(7)));
    world.open_stream(&first);
    world.end_client(&first);
    let resumed = world.start(Start::at("/src/shop").session("one").client(running(8)));
    assert_eq!(resumed.id, first.id);
}

#[test]
fn a_client_that_runs_has_no_successor() {
    let mut world = World::new();
    let first = world.start(codex("/src/shop").client(running(7)));
    let ann = world.peer("ann");
    world.send(&ann, &first, "for the first");
    world.advance(ARRIVED);
    let other = world.start(codex("/src/shop").client(running(8)));
    assert_ne!(other.id, first.id);
    assert_eq!(world.take(&other), NOTHING);
}

#[test]
fn a_successor_says_nothing_of_what_the_one_before_worked_on() {
    let mut world = World::new();
    let first = world.start(codex("/src/shop").client(ended(7)));
    let summary = Some("Fixes the checkout.".to_owned());
    world.set_profile(&first, SetProfile { summary, ..SetProfile::default() }).unwrap();
    world.advance(ARRIVED);
    let next = world.start(codex("/src/shop").client(running(8)));
    assert_eq!(next.id, first.id);
    assert_eq!(world.look(&next).summary, "");
}

#[test]
fn who_takes_over_a_name_gets_what_was_sent_to_it_and_was_never_offered() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let owner = world.start(Start::at("/src/shop").named("shop").client(ended(7)));
    world.advance(Duration::from_secs(120));
    world.try_send(&ann, "shop", "offered to the owner").unwrap();
    assert_eq!(world.take(&owner), ["offered to the owner"]);
    world.try_send(&ann, "shop", "for whoever is called shop").unwrap();
    world.try_send(&ann, owner.id.as_str(), "for the owner by id").unwrap();
    let next = world.start(Start::at("/src/till").named("shop").client(running(8)));
    assert_eq!((next.name.as_str(), next.id == owner.id), ("shop", false));
    assert_eq!(world.take(&next), ["for whoever is called shop"]);
    let kept = ["offered to the owner (repeat)", "for the owner by id"];
    assert_eq!(world.take(&owner), kept);
}

#[test]
fn sessions_without_a_repository_are_no_nearer_to_each_other() {
    let mut world = World::new();
    let me = world.live("me");
    let _older = world.live("older");
    world.advance(Duration::from_secs(60));
    let newer = world.start(Start::at("/src/newer").repo("/src/newer/.git"));
    world.open_stream(&newer);
    let nearest = ListPeers { limit: 1, ..ListPeers::default() };
    let list = world.list(&me, &nearest).unwrap();
    let shown: Vec<_> = list.peers.iter().map(|peer| peer.id.clone()).collect();
    assert_eq!((shown, list.more), (vec![newer.id], 1));
}

#[test]
fn a_message_to_a_scope_passes_over_a_named_peer_that_is_away() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    let away = world.start(Start::at("/src/away").named("away"));
    let sent = world.broadcast(&ann, Scope::Machine, "hello").unwrap();
    let reached: Vec<_> = sent.outcomes.iter().map(|outcome| outcome.to.id.clone()).collect();
    assert_eq!(reached, std::slice::from_ref(&bob.id));
    assert_eq!(world.look(&away).unread, 0);
}

#[test]
fn a_probe_sends_to_no_scope() {
    let mut world = World::new();
    let (_ann, probe) = (world.live("ann"), world.start(Start::at("/").probe()));
    let refused = world.broadcast(&probe, Scope::Machine, "hello").unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
}

#[test]
fn a_list_counts_no_mail_that_is_on_its_way_over_a_proven_channel() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live_over("bob", Channel::Proven));
    world.send(&ann, &bob, "on its way");
    let list = world.list(&ann, &ListPeers::default()).unwrap();
    assert_eq!((list.peers[0].id.clone(), list.peers[0].unread), (bob.id, 0));
}

#[test]
fn a_message_that_is_pushed_behind_others_is_told_as_offered() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    let question = world.send(&ann, &bob, "a question");
    world.reply(&bob, &ann, &question);
    assert_eq!(world.look(&bob).reach, Reachability::ChannelProven);
    let sent = world.try_send(&ann, bob.id.as_str(), "next").unwrap();
    assert_eq!(sent.state, MessageState::Offered);
    assert_eq!(world.state_of(&sent.id), "offered by channel");
}

#[test]
fn a_client_that_cannot_come_back_is_told_as_ended() {
    let mut world = World::new();
    let gone = world.start(codex("/src/shop").client(ended(7)));
    world.advance(ARRIVED);
    assert_eq!(world.look(&gone).reach, Reachability::Ended);
    let away = world.start(codex("/src/till").client(running(8)));
    assert_eq!(world.look(&away).reach, Reachability::Away);
}
