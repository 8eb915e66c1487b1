//! How many pages a request writes to the database's log: each of them is written before its answer.

use crate::broker::testing::{Channel, World};
use crate::config::Limits;

/// The text of an ordinary message.
const TEXT: &str = "The build is green again: the flaky test waited for the wrong thing. Look!";

fn unlimited() -> World {
    let without = |limits: &mut Limits| (limits.messages_per_minute, limits.max_unread) = (0, 0);
    World::with(without).in_file()
}

/// Returns the pages of each of many sends of one peer to another.
fn pages_of_sends(world: &mut World, channel: Channel) -> Vec<u64> {
    let (ann, bob) = (world.peer("ann"), world.live_over("bob", channel));
    world.send(&ann, &bob, "the first");
    let send = |number: u64| {
        let key = format!("{:012x}{number:032x}", 1_800_000_000_000 + number);
        let mut id = None;
        let pages = world.pages(|world| {
            id = Some(world.send_once(&ann, "bob", TEXT, &key).unwrap().id);
        });
        world.written(&bob, &[id.unwrap()]);
        pages
    };
    (0..500).map(send).collect()
}

fn average(pages: &[u64]) -> f64 {
    let sum: u32 = pages.iter().map(|pages| u32::try_from(*pages).unwrap()).sum();
    f64::from(sum) / f64::from(u32::try_from(pages.len()).unwrap())
}

fn most(pages: &[u64]) -> u64 {
    let mut sorted = pages.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn a_plain_send_writes_three_pages_and_seldom_more() {
    let mut world = unlimited();
    let pages = pages_of_sends(&mut world, Channel::Presumed);
    assert_eq!(most(&pages), 3, "{pages:?}");
    assert!(average(&pages) <= 3.5, "{}: {pages:?}", average(&pages));
}

#[test]
fn a_send_over_a_proven_channel_writes_one_page_more_for_its_lease() {
    let mut world = unlimited();
    let pages = pages_of_sends(&mut world, Channel::Proven);
    assert_eq!(most(&pages), 4, "{pages:?}");
    assert!(average(&pages) <= 4.6, "{}: {pages:?}", average(&pages));
}
