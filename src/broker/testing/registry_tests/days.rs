//! What takes days: names and sessions whose clients have ended.

use std::time::Duration;

use crate::broker::testing::{ErrorCode, Start, TestPeer, World, ended};
use crate::protocol::ApiError;
use crate::protocol::peers::{ListPeers, PeerList};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Registers a live session in a directory, whose client process has ended.
fn begin(world: &mut World, session: &str, directory: &str) -> TestPeer {
    begin_with(world, session, Start::at(directory))
}

fn begin_with(world: &mut World, session: &str, start: Start) -> TestPeer {
    let peer = world.start(start.session(session).client(ended(7)));
    world.open_stream(&peer);
    peer
}

fn list_all(world: &mut World) -> PeerList {
    let cli = world.cli();
    world.list(&cli, &ListPeers { all: true, ..ListPeers::default() }).unwrap()
}

fn refusal(world: &mut World, name: &str) -> ApiError {
    world.resolve(name).unwrap_err()
}

#[test]
fn a_name_that_fits_an_ended_session_says_so_and_how_it_returns() {
    let mut world = World::new();
    let shop = begin(&mut world, "uuid-1", "/src/shop");
    world.close_stream(&shop);
    world.advance(Duration::from_secs(2 * 60 * 60));
    for word in ["shop", "SHOP", "@shop", "sho"] {
        let error = refusal(&mut world, word);
        let expected = format!("was {}, which ended 2h ago in /src/shop", shop.id);
        assert!(error.message.contains(&expected), "{}", error.message);
        let hint = error.hint.unwrap();
        assert!(hint.contains(shop.id.as_str()), "{hint}");
        assert!(hint.contains("claude --resume uuid-1"), "{hint}");
        assert_eq!((error.code, &error.candidates[0].id), (ErrorCode::NotFound, &shop.id));
    }
    assert!(refusal(&mut world, "shopping").message.contains("there is no peer"));
}

#[test]
fn the_name_of_an_ended_session_does_not_mean_another_that_begins_with_it() {
    let mut world = World::new();
    let shop = begin(&mut world, "uuid-1", "/src/shop");
    world.close_stream(&shop);
    world.advance(DAY);
    let search = begin(&mut world, "uuid-2", "/src/shop-search");
    assert!(refusal(&mut world, "shop").hint.unwrap().contains("Here now: shop-search."));
    assert_eq!(world.resolve("sho"), Ok(search.id), "a prefix");
    let again = begin(&mut world, "uuid-1", "/src/shop");
    assert_eq!((&again.id, world.resolve("shop")), (&shop.id, Ok(shop.id.clone())));
}

#[test]
fn what_can_be_resumed_is_listed_for_as_long_as_its_client_keeps_it() {
    let mut world = World::new();
    let old = begin(&mut world, "old", "/src/old");
    world.close_stream(&old);
    world.advance(DAY * 20);
    let new: Vec<_> = (0..60)
        .map(|number| {
            world.advance(Duration::from_secs(1));
            let peer = begin(&mut world, &format!("s{number}"), &format!("/src/d{number}"));
            world.close_stream(&peer);
            peer.id
        })
        .collect();
    let listed = list_all(&mut world);
    assert_eq!((listed.ended.len(), listed.more_ended, listed.peers.len()), (50, true, 0));
    let last = &listed.ended[0];
    assert_eq!((&last.id, last.session.as_deref()), (&new[59], Some("s59")));
    world.advance(DAY * 15);
    assert!(list_all(&mut world).ended.iter().all(|one| one.id != old.id));
    world.advance(DAY * 16);
    assert!(list_all(&mut world).ended.is_empty());
    assert!(refusal(&mut world, "d5").message.contains("there is no peer"));
}

#[test]
fn a_directory_gets_the_same_automatic_name_every_day_whichever_starts_first() {
    let mut world = World::new();
    let mut names = Vec::new();
    for (day, order) in [["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]].iter().enumerate() {
        for place in order {
            let directory = format!("/{place}/shop");
            let peer = begin(&mut world, &format!("{place}{day}"), &directory);
            names.push(format!("{place}: {}", peer.name));
            world.close_stream(&peer);
        }
        world.advance(DAY);
    }
    names.sort();
    names.dedup();
    assert_eq!(names, ["a: shop", "b: shop-2"]);
}

#[test]
fn a_directory_keeps_its_automatic_name_from_others_for_two_weeks() {
    let mut world = World::new();
    let first = begin(&mut world, "1", "/a/shop");
    world.close_stream(&first);
    world.advance(DAY * 13);
    let second = begin(&mut world, "2", "/b/shop");
    assert_eq!(second.name, "shop-2");
    world.close_stream(&second);
    world.advance(DAY * 2);
    assert_eq!(begin(&mut world, "3", "/c/shop").name, "shop", "not used for two weeks");
    assert_eq!(begin(&mut world, "4", "/a/shop").name, "shop-3", "it is another's now");
}

#[test]
fn a_name_that_a_person_chose_is_not_given_to_a_place() {
    let mut world = World::new();
    let person = begin_with(&mut world, "1", Start::at("/src/x").titled("Checkout"));
    world.close_stream(&person);
    world.advance(DAY);
    assert_eq!(begin(&mut world, "2", "/src/checkout").name, "checkout-2");
    assert_eq!(world.resolve("checkout"), Ok(person.id.clone()), "it can be resumed");
    let other = begin_with(&mut world, "3", Start::at("/src/y").titled("Checkout"));
    assert_eq!(other.name, "checkout");
    let back = begin(&mut world, "1", "/src/x");
    assert_eq!((back.id, back.name.as_str()), (person.id, "x"));
}

#[test]
fn a_name_that_a_session_gave_itself_is_free_once_it_has_ended() {
    let mut world = World::new();
    let first = begin(&mut world, "1", "/src/a");
    world.rename(&first, "reviewer").unwrap();
    world.close_stream(&first);
    world.advance(DAY);
    assert!(refusal(&mut world, "reviewer").message.contains("which ended 1d ago"));
    let second = begin(&mut world, "2", "/src/reviewer");
    assert_eq!(
        (second.name.as_str(), world.resolve("reviewer")),
        ("reviewer", Ok(second.id.clone()))
    );
    world.close_stream(&second);
    world.advance(DAY);
    let error = refusal(&mut world, "reviewer");
    assert!(
        error.message.starts_with("\"reviewer\" matches 2 sessions that have ended"),
        "{}",
        error.message
    );
    assert_eq!(
        (error.candidates.len(), &error.candidates[0].id),
        (2, &second.id),
        "the last first"
    );
}
