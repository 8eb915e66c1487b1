//! Databases of earlier schemas: what they held goes on as it was.

use crate::broker::core::idempotency::IdempotencyKey;
use crate::broker::testing::{Channel, Start, TestPeer, World};
use crate::protocol::MessageId;

/// The ids of messages of before, which hold a time.
const IDS: [&str; 3] = ["m0gwab1aaaaa", "m0gwab2bbbbb", "m0gwab3ccccc"];

fn ids() -> [MessageId; 3] {
    IDS.map(MessageId::from_text)
}

/// A world whose database was of schema 5: one message was read, one pushed, one waits.
fn upgraded(more: &str) -> (World, TestPeer, TestPeer) {
    let [read, offered, queued] = IDS;
    let mut world = World::upgraded(
        5,
        &format!(
            "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at) VALUES
                 ('ann00001', 'session', 'ann', 'environment', 1, 1),
                 ('bob00002', 'session', 'bob', 'environment', 1, 1);
             INSERT INTO keys (key, peer, bound_at) VALUES
                 ('session:a', 'ann00001', 1), ('session:b', 'bob00002', 1);
             INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state, offered_at, offered_via, read_at, read_via) VALUES
                 ('{read}', 'ann00001', 'bob00002', 'read', 1, 9999999999999, 'read', 1, 'tool', 1, 'tool'),
                 ('{offered}', 'ann00001', 'bob00002', 'offered', 1, 9999999999999, 'offered', 1, 'channel', NULL, NULL),
                 ('{queued}', 'ann00001', 'bob00002', 'queued', 1, 9999999999999, 'queued', NULL, NULL, NULL, NULL);
             INSERT INTO offers (message, receiver, via, offered_at, written_at) VALUES (2, 'an earlier one', 'channel', 1, 1);
             {more}"
        ),
    );
    let ann = world.start(Start::at("/src/ann").session("a"));
    let bob = world.start(Start::at("/src/bob").session("b"));
    assert_eq!((ann.name.as_str(), bob.name.as_str()), ("ann", "bob"));
    (world, ann, bob)
}

#[test]
fn a_message_of_before_is_found_by_its_id() {
    let (mut world, ann, bob) = upgraded("");
    let [read, offered, queued] = ids();
    let states = |world: &mut World| ids().map(|id| world.state_of(&id));
    assert_eq!(states(&mut world), ["read by tool", "offered by channel", "queued"]);
    assert_eq!(world.confirm(&bob, &[read, queued.clone()]), 1);
    world.reply(&bob, &ann, &offered);
    assert_eq!(states(&mut world), ["read by tool", "read by reply", "read by tool"]);
    assert!(world.try_reply(&ann, &bob, &queued).is_err(), "it was not sent to ann");
    assert!(world.counts_are_right());
}

#[test]
fn messages_of_before_and_new_ones_are_pushed_in_order_and_none_twice() {
    let (mut world, ann, bob) = upgraded("");
    let new = world.send(&ann, &bob, "new");
    assert_eq!(new.seq(), Some(4));
    world.open_stream(&bob);
    assert_eq!(world.pushed(&bob), ["offered (repeat)", "queued", "new"]);
    let [_, offered, queued] = ids();
    let pushed = [offered, queued, new];
    assert_eq!(world.written(&bob, &pushed), 3);
    assert_eq!(world.written(&bob, &pushed), 0, "they are written already");
    world.reopen_stream(&bob);
    assert_eq!(world.pushed(&bob), Vec::<String>::new());
    let other = world.start(bob.start());
    world.open_stream(&other);
    world.close_stream(&bob);
    let repeated = ["offered (repeat)", "queued (repeat)", "new (repeat)"];
    assert_eq!(world.pushed(&other), repeated);
    assert_eq!(
        world.history("bob"),
        ["ann > bob: read", "ann > bob: offered", "ann > bob: queued", "ann > bob: new"]
    );
}

#[test]
fn unread_messages_of_before_are_counted_with_new_ones() {
    let (mut world, ann, bob) = upgraded("");
    assert_eq!(world.look(&bob).unread, 2);
    world.send(&ann, &bob, "new");
    assert_eq!(world.try_send(&ann, "bob", "newer").unwrap().to.unread, 4);
    world.confirm(&bob, &ids());
    assert_eq!(world.look(&bob).unread, 2);
    assert!(world.counts_are_right());
}

#[test]
fn a_key_of_before_still_gets_its_answer() {
    let key = IdempotencyKey::new("key", &[b"bob", b"hello"]);
    let (_, fingerprint) = key.columns();
    let answer = r#"{"id":"m0gwab3ccccc","state":"queued","sent_at":"2026-01-01T00:00:00Z","to":{"id":"bob00002","name":"bob","kind":"session","live":false,"reach":"away","since":"2026-01-01T00:00:00Z","summary":"","cwd":"/src/bob","repo":null,"client_name":"","client_version":"","one_shot":false,"unread":1,"oldest_unread":null},"awaited":false,"waiting":0,"from":null}"#;
    let (mut world, ..) = upgraded(&format!(
        "INSERT INTO answers (caller, key, fingerprint, answered_at, body)
         VALUES ('cli', 'key', {fingerprint}, 9999999999999, '{answer}');"
    ));
    let cli = world.cli();
    let [.., queued] = ids();
    assert_eq!(world.send_once(&cli, "bob", "hello", "key").unwrap().id, queued);
    assert_eq!(world.count("messages"), 3);
}

#[test]
fn a_proven_channel_of_before_is_leased_its_messages() {
    let (mut world, _, bob) = upgraded("");
    let other = world.start(bob.start().channel(Channel::Proven));
    world.open_stream(&other);
    let [_, offered, queued] = ids();
    assert!([offered, queued].iter().all(|id| world.lease(id).is_some()));
    assert_eq!(world.look(&bob).unread, 0, "it is no backlog");
}
