//! Identity: the same key gets the same peer again, and peers are never merged.

use crate::broker::testing::{Channel, ErrorCode, NOTHING, Start, World, ended, running};

#[test]
fn a_session_that_comes_back_is_the_same_peer_with_its_mail() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let first = world.live_in_ended_client("/src/bob");
    world.close_stream(&first);
    world.send(&ann, &first, "hello");
    let again = world.start(first.start().client(running(500)));
    assert_eq!((&again.id, &again.name), (&first.id, &first.name));
    assert_eq!(world.take(&again), ["hello"]);
}

#[test]
fn the_same_session_in_another_live_client_is_a_new_peer_and_the_mail_stays() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let first = world.live("bob");
    world.send(&ann, &first, "hello");
    let second = world.start(first.start().client(running(500)));
    assert_ne!(first.id, second.id);
    assert!(second.notes[0].contains("is already registered for this session, as bob"));
    assert_eq!(world.take(&second), NOTHING);
    assert_eq!(world.take(&first), ["hello"]);
}

#[test]
fn two_servers_of_one_client_are_one_peer() {
    let mut world = World::new();
    let first = world.live("bob");
    let second = world.start(first.start());
    assert_eq!(first.id, second.id);
    assert_eq!(second.notes, NOTHING);
}

#[test]
fn an_instance_is_known_by_its_session_token() {
    let mut world = World::new();
    let bob = world.live("bob");
    assert_eq!(world.register_again(&bob).peer.id, bob.id);
    let refused = world.register_with_another_secret(&bob).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
}

#[test]
fn an_unknown_session_token_is_refused() {
    let mut world = World::new();
    let bob = world.live("bob");
    let mut other = World::new();
    assert_eq!(other.try_take(&bob, 0).unwrap_err().code, ErrorCode::UnknownSession);
    assert_eq!(world.take(&bob), NOTHING);
}

#[test]
fn a_session_token_counts_for_the_next_broker() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    world.crash();
    world.send(&ann, &bob, "hello");
    assert_eq!(world.take(&bob), ["hello"]);
}

#[test]
fn other_programs_are_known_by_their_process_and_directory() {
    let mut world = World::new();
    let start = Start::at("/src/shop").program("codex").client(running(7));
    let first = world.start(start.clone());
    world.open_stream(&first);
    let beside = world.start(start.clone());
    world.open_stream(&beside);
    assert_ne!(first.id, beside.id, "one process may host several sessions");
    world.close_stream(&first);
    let again = world.start(start);
    assert_eq!(again.id, first.id);
}

#[test]
fn the_next_client_of_a_program_in_a_directory_continues_one_that_has_ended() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let first = world.start(Start::at("/src/shop").program("codex").client(ended(7)));
    world.open_stream(&first);
    world.close_stream(&first);
    world.send(&ann, &first, "hello");
    let successor = world.start(Start::at("/src/shop").program("codex").client(running(8)));
    assert_eq!((&successor.id, successor.name.as_str()), (&first.id, "shop"));
    assert!(successor.notes[0].contains("with its name and its unread mail"));
    assert_eq!(world.take(&successor), ["hello"]);
}

#[test]
fn another_program_or_directory_takes_nothing_over() {
    let mut world = World::new();
    let first = world.start(Start::at("/src/shop").program("codex").client(ended(7)));
    world.open_stream(&first);
    world.close_stream(&first);
    let other = world.start(Start::at("/src/shop").program("opencode").client(running(8)));
    let elsewhere = world.start(Start::at("/src/till").program("codex").client(running(9)));
    assert_ne!(other.id, first.id);
    assert_ne!(elsewhere.id, first.id);
}

#[test]
fn two_ended_peers_with_mail_have_no_successor() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let left = [5, 6].map(|number| {
        let peer = world.start(Start::at("/src/shop").program("codex").client(running(number)));
        world.open_stream(&peer);
        world.send(&ann, &peer, "hello");
        peer
    });
    for peer in &left {
        world.close_stream(peer);
        world.end_client(peer);
    }
    let next = world.start(Start::at("/src/shop").program("codex").client(running(8)));
    assert!(left.iter().all(|peer| peer.id != next.id));
}

#[test]
fn a_proven_channel_stays_proven_when_its_instance_registers_again() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", Channel::Presumed));
    let id = world.send(&ann, &bob, "hello");
    world.prompt_with(&bob, &[id]);
    world.register_again(&bob);
    world.close_stream(&bob);
    world.open_stream(&bob);
    let next = world.send(&ann, &bob, "more");
    assert!(world.lease(&next).is_some());
}

#[test]
fn a_probe_writes_to_itself_only_and_leaves_no_trace() {
    let mut world = World::new();
    let bob = world.live("bob");
    let probe = world.start(Start::at("/").probe());
    assert_eq!(world.try_send(&probe, "bob", "hello").unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(
        world.try_send(&bob, probe.id.as_str(), "hello").unwrap_err().code,
        ErrorCode::NotFound
    );
    world.send(&probe, &probe, "trip");
    assert_eq!(world.take(&probe), ["trip"]);
    assert_eq!(world.unregister(&probe), Ok(1));
    assert_eq!((world.count("messages"), world.count("offers")), (0, 0));
    assert_eq!(world.unregister(&bob).unwrap_err().code, ErrorCode::Forbidden);
}

#[test]
fn a_session_token_that_is_too_short_is_refused() {
    let mut world = World::new();
    assert_eq!(world.register_without_secret().unwrap_err().code, ErrorCode::BadRequest);
    assert_eq!(world.count("receivers"), 0);
}
