//! How many SQL statements a request runs: what a processor does for a message grows with them.

use crate::broker::testing::{Hook, World};

/// Fails if there are more statements than there may be, and then shows them.
#[track_caller]
fn at_most(most: usize, statements: &[String]) {
    let count = statements.len();
    assert!(count <= most, "{count} statements, not {most}:\n{}", statements.join("\n"));
}

#[test]
fn a_plain_send_that_is_pushed() {
    let mut world = World::new();
    let (ann, _bob) = (world.peer("ann"), world.live("bob"));
    world.send_once(&ann, "bob", "hello", "first").unwrap();
    let statements = world.statements(|world| {
        world.send_once(&ann, "bob", "hello", "second").unwrap();
    });
    // Five, the beginning and the commit, and two that switch the fsync off in tests.
    at_most(9, &statements);
}

#[test]
fn a_batch_of_ten() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    world.send(&ann, &bob, "hello");
    let keys: Vec<String> = (0..10).map(|number| format!("key-{number}")).collect();
    let batch: Vec<_> = keys.iter().map(|key| (key.as_str(), "bob", "hello")).collect();
    let statements = world.statements(|world| {
        world.send_batch(&ann, &batch, false).unwrap();
    });
    // A savepoint, the key and the row for each; the caller and the recipient once.
    at_most(10 * 4 + 7, &statements);
}

#[test]
fn a_receipt() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.live("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two"]);
    world.written(&bob, &ids[..1]);
    let statements = world.statements(|world| {
        world.written(&bob, &ids[1..]);
    });
    at_most(6, &statements);
}

#[test]
fn a_hook_event_without_mail() {
    let mut world = World::new();
    let bob = world.live("bob");
    world.hook(&bob, Hook::UserPromptSubmit, "turn");
    let statements = world.statements(|world| {
        world.hook(&bob, Hook::PostToolUse, "turn");
    });
    at_most(2, &statements);
}
