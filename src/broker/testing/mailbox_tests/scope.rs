//! A message to many: one for each live session of a scope but the sender.

use crate::broker::testing::{ErrorCode, Scope, Start, TestPeer, World};

/// Three live sessions, two of them in one repository.
fn three(world: &mut World) -> [TestPeer; 3] {
    let starts = [
        Start::at("/src/shop").repo("/src/shop/.git"),
        Start::at("/src/login").repo("/src/shop/.git"),
        Start::at("/src/other"),
    ];
    starts.map(|start| {
        let peer = world.start(start);
        world.open_stream(&peer);
        peer
    })
}

#[test]
fn all_live_sessions_of_a_scope_get_it_and_the_sender_does_not() {
    let mut world = World::new();
    let [shop, login, other] = three(&mut world);
    world.peer("away");
    let sent = world.broadcast(&shop, Scope::Machine, "hello").unwrap();
    assert_eq!(sent.outcomes.len(), 2);
    let pushed = [&shop, &login, &other].map(|peer| world.pushed(peer).len());
    assert_eq!(pushed, [0, 1, 1]);
}

#[test]
fn a_scope_ends_at_its_repository() {
    let mut world = World::new();
    let [shop, login, other] = three(&mut world);
    let sent = world.broadcast(&shop, Scope::Repo, "hello").unwrap();
    assert_eq!(sent.outcomes[0].to.id, login.id);
    assert_eq!((sent.outcomes.len(), world.pushed(&other).len()), (1, 0));
}

#[test]
fn a_scope_without_other_live_peers_is_refused() {
    let mut world = World::new();
    let [shop, ..] = three(&mut world);
    let refused = world.broadcast(&shop, Scope::Directory, "hello").unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[test]
fn too_many_recipients_are_refused_before_anything_is_stored() {
    let mut world = World::with(|limits| limits.max_recipients = 1);
    let [shop, ..] = three(&mut world);
    let refused = world.broadcast(&shop, Scope::Machine, "hello").unwrap_err();
    assert_eq!((refused.code, world.count("messages")), (ErrorCode::TooLarge, 0));
}

#[test]
fn a_full_mailbox_does_not_keep_the_message_from_the_others() {
    let mut world = World::with(|limits| limits.max_unread = 1);
    let [shop, login, other] = three(&mut world);
    world.send(&shop, &login, "first");
    let sent = world.broadcast(&shop, Scope::Machine, "hello").unwrap();
    let code = |peer: &TestPeer| {
        let mut outcomes = sent.outcomes.iter();
        let outcome = outcomes.find(|outcome| outcome.to.id == peer.id).unwrap();
        (outcome.refusal.as_ref().map(|error| error.code), outcome.id.is_some())
    };
    assert_eq!(code(&login), (Some(ErrorCode::MailboxFull), false));
    assert_eq!(code(&other), (None, true));
    assert_eq!(world.pushed(&other), ["hello"]);
}

#[test]
fn each_recipient_costs_its_pair_an_allowance() {
    let mut world = World::with(|limits| limits.burst = 1);
    let [shop, login, _] = three(&mut world);
    world.broadcast(&shop, Scope::Repo, "hello").unwrap();
    let refused = world.try_send(&shop, login.id.as_str(), "more").unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
}
