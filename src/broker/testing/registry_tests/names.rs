//! Names: of the place, of the person's choice, of the session's; each with one live owner.

use std::time::Duration;

use crate::broker::testing::{ErrorCode, Start, World};

#[test]
fn a_second_session_in_a_place_gets_a_number() {
    let mut world = World::new();
    let names = ["/a/shop", "/a/shop", "/b/shop"].map(|directory| {
        let peer = world.start(Start::at(directory));
        world.open_stream(&peer);
        peer.name
    });
    assert_eq!(names, ["shop", "shop-2", "shop-3"]);
}

#[test]
fn a_number_that_is_free_again_goes_to_the_next_session_of_the_place() {
    let mut world = World::new();
    let first = world.live_in_ended_client("/a/shop");
    let second = world.start(Start::at("/a/shop"));
    world.open_stream(&second);
    assert_eq!((first.name.as_str(), second.name.as_str()), ("shop", "shop-2"));
    world.close_stream(&first);
    let third = world.start(Start::at("/a/shop"));
    assert_eq!(third.name, "shop");
    assert_eq!(world.name_of(&first), "", "its name was freed");
}

#[test]
fn an_automatic_name_whose_owner_may_reconnect_is_kept_for_it() {
    let mut world = World::new();
    let first = world.live("shop");
    world.close_stream(&first);
    assert_eq!(world.peer("shop").name, "shop-2");
    assert_eq!(world.name_of(&first), "shop");
}

#[test]
fn an_automatic_name_for_which_mail_waits_is_kept() {
    let mut world = World::new();
    let ann = world.peer("ann");
    let first = world.live_in_ended_client("/src/shop");
    world.send(&ann, &first, "hello");
    world.close_stream(&first);
    assert_eq!(world.peer("shop").name, "shop-2");
}

#[test]
fn a_worktree_or_repository_gives_the_name() {
    let mut world = World::new();
    let main = world.start(Start::at("/src/shop/api").repo("/src/shop/.git"));
    let worktree = world.start(Start::at("/src/login").repo("/src/shop/.git"));
    assert_eq!((main.name.as_str(), worktree.name.as_str()), ("shop-api", "shop-login"));
}

#[test]
fn the_persons_choice_goes_before_the_place() {
    let mut world = World::new();
    assert_eq!(world.start(Start::at("/src/shop").named("Front End")).name, "shop", "no name");
    assert_eq!(world.start(Start::at("/src/shop").named("Frontend")).name, "frontend");
    assert_eq!(world.start(Start::at("/src/shop").titled("Checkout Flow")).name, "checkout-flow");
    let both = world.start(Start::at("/src/shop").named("one").titled("two"));
    assert_eq!(both.name, "one");
}

#[test]
fn a_word_that_cannot_be_a_name_is_said_to_be_none() {
    let mut world = World::new();
    let peer = world.start(Start::at("/src/shop").named("no name!"));
    assert_eq!(peer.name, "shop");
    assert!(peer.notes[0].contains("cannot be a name"), "{:?}", peer.notes);
}

#[test]
fn a_name_that_a_live_session_has_is_not_given_twice() {
    let mut world = World::new();
    let first = world.start(Start::at("/a").named("shop"));
    world.open_stream(&first);
    let second = world.start(Start::at("/b").named("shop"));
    assert_eq!((first.name.as_str(), second.name.as_str()), ("shop", "shop-2"));
    assert!(second.notes[0].contains("belongs to another live session"), "{:?}", second.notes);
    assert_eq!(world.resolve("shop"), Ok(first.id));
}

#[test]
fn a_session_that_takes_a_chosen_name_over_gets_the_mail_addressed_to_it_meanwhile() {
    let mut world = World::new();
    let ann = world.live("ann");
    let first = world.start(Start::at("/a").named("shop"));
    world.open_stream(&first);
    world.close_stream(&first);
    let by_name = world.try_send(&ann, "shop", "by name").unwrap().id;
    let by_id = world.send(&ann, &first, "by id");
    let second = world.start(Start::at("/b").named("shop"));
    assert_eq!(second.name, "shop");
    assert_eq!(world.message(&by_name).to.id, second.id);
    assert_eq!(world.message(&by_id).to.id, first.id);
    assert_eq!(world.take(&second), ["by name"]);
    assert!(second.notes[0].contains("kept for that session; you do not get it"));
}

#[test]
fn what_the_former_owner_of_a_name_was_offered_stays_with_it() {
    let mut world = World::new();
    let ann = world.live("ann");
    let first = world.start(Start::at("/a").named("shop"));
    world.open_stream(&first);
    let id = world.try_send(&ann, "shop", "hello").unwrap().id;
    world.close_stream(&first);
    let second = world.start(Start::at("/b").named("shop"));
    assert_eq!(second.name, "shop");
    assert_eq!(world.message(&id).to.id, first.id);
}

#[test]
fn what_waited_for_a_name_and_was_then_offered_to_its_owner_stays_with_it() {
    let mut world = World::new();
    let ann = world.live("ann");
    let first = world.start(Start::at("/a").named("shop"));
    world.open_stream(&first);
    world.close_stream(&first);
    let id = world.try_send(&ann, "shop", "hello").unwrap().id;
    assert_eq!(world.state_of(&id), "queued");
    world.open_stream(&first);
    assert_eq!(world.pushed(&first), ["hello"]);
    world.close_stream(&first);
    let second = world.start(Start::at("/b").named("shop"));
    assert_eq!(second.name, "shop");
    assert_eq!(world.message(&id).to.id, first.id);
}

#[test]
fn a_session_can_name_itself_but_not_take_what_is_anothers() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    assert_eq!(world.rename(&ann, "Reviewer").unwrap().peer.name.as_deref(), Some("reviewer"));
    assert_eq!(world.rename(&bob, "reviewer").unwrap_err().code, ErrorCode::NameTaken);
    for word in ["cli", "two words", "", "abcdefg1"] {
        assert_eq!(world.rename(&bob, word).unwrap_err().code, ErrorCode::BadRequest, "{word:?}");
    }
    assert_eq!(world.name_of(&bob), "bob");
}

#[test]
fn a_name_that_looks_like_anothers_is_taken() {
    let mut world = World::new();
    let (ann, bob) = (world.live("ann"), world.live("bob"));
    world.rename(&ann, "pаypal").unwrap_err();
    world.rename(&ann, "сор").unwrap();
    assert_eq!(world.rename(&bob, "cop").unwrap_err().code, ErrorCode::NameTaken);
}

#[test]
fn a_session_does_not_take_the_name_that_a_person_chose_for_one_that_ended() {
    let mut world = World::new();
    let first = world.start(Start::at("/a").titled("Checkout"));
    world.open_stream(&first);
    world.close_stream(&first);
    let bob = world.live("bob");
    assert_eq!(world.rename(&bob, "checkout").unwrap_err().code, ErrorCode::NameTaken);
    let other = world.start(Start::at("/b").titled("Checkout"));
    assert_eq!(other.name, "checkout", "another person's choice is as good");
}

#[test]
fn a_session_that_registers_again_keeps_its_name() {
    let mut world = World::new();
    let bob = world.live("bob");
    world.rename(&bob, "reviewer").unwrap();
    world.close_stream(&bob);
    assert_eq!(world.register_again(&bob).peer.name.as_deref(), Some("reviewer"));
    let next = world.start(bob.start());
    assert_eq!((next.id, next.name.as_str()), (bob.id, "reviewer"));
}

#[test]
fn no_name_passes_to_another_while_sessions_return_to_a_broker_that_began_anew() {
    let mut world = World::new();
    let first = world.start(Start::at("/a").named("shop"));
    world.open_stream(&first);
    world.advance(Duration::from_secs(1));
    world.crash();
    let second = world.start(Start::at("/b").named("shop"));
    assert_eq!(second.name, "shop-2");
    world.open_stream(&first);
    assert_eq!(world.name_of(&first), "shop");
}
