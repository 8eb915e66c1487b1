//! Which commits are synced: what a note causes may be more than a note.

use std::time::Duration;

use crate::broker::live::push_state::PUSH_WINDOW as WINDOW;
use crate::broker::testing::World;

#[test]
fn a_note_waits_and_is_not_synced() {
    let mut world = World::new().in_file();
    world.peer("ann");
    assert_eq!(world.store.note(), None);
}

#[test]
fn a_note_at_which_messages_end_is_written_at_once_and_synced() {
    let mut world = World::with(|limits| limits.time_to_live = Duration::from_secs(60)).in_file();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let id = world.send(&ann, &bob, "hello");
    world.advance(Duration::from_secs(61));
    assert_eq!(world.store.note(), Some(true), "its sender is told of the end");
    assert_eq!(world.state_of(&id), "expired");
}

#[test]
fn a_note_that_may_push_what_waits_for_room_is_written_at_once_and_synced() {
    let mut world = World::with(|limits| limits.burst = 1_000).in_file();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    for number in 0..=WINDOW {
        world.send(&ann, &bob, &number.to_string());
    }
    assert_eq!(world.store.note(), Some(true));
}

#[test]
fn what_comes_behind_a_note_is_synced() {
    let mut world = World::new().in_file();
    world.peer("ann");
    assert_eq!(world.store.unsynced(), Some(false));
    assert_eq!(world.store.synced(), Some(true));
    assert_eq!(world.store.unsynced(), Some(false));
    assert_eq!(world.store.level(), 2, "whoever commits next without a word is synced");
}
