//! What is found in the history: by words, times, states, threads and the beginnings of ids; and what is
//! deleted from it.

use std::time::Duration;

use crate::broker::mailbox::{self, PruneStep};
use crate::broker::testing::{ErrorCode, World};
use crate::protocol::MessageId;
use crate::protocol::history::Pruned;
use crate::protocol::messages::{ListMessages, MessageList};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn index(world: &mut World) {
    while world.write(mailbox::index::advance).unwrap() > 0 {}
}

fn list(world: &mut World, request: &ListMessages) -> MessageList {
    world
        .store
        .read(|tx| {
            let caller = crate::broker::http::identity::Identity::Owner.authenticate(tx)?;
            mailbox::list_messages(tx, &caller, request)
        })
        .unwrap()
}

fn texts(world: &mut World, request: &ListMessages) -> Vec<String> {
    list(world, request).messages.into_iter().map(|message| message.text).collect()
}

fn search(world: &mut World, words: &str) -> Vec<String> {
    texts(world, &ListMessages { search: Some(words.to_owned()), ..ListMessages::default() })
}

#[test]
fn messages_are_found_by_their_words_in_every_script() {
    let mut world = World::with(|limits| limits.messages_per_minute = 0);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let all = [
        "GET /orders returns a cursor_now",
        "the Café orders are late",
        "支払いのテストが失敗しました",
        "ทดสอบระบบ",
        "NOT here OR there",
    ];
    world.send_all(&ann, &bob, &all);
    assert!(search(&mut world, "orders").is_empty(), "nothing is indexed");
    index(&mut world);
    for (words, found) in [
        ("orders", &[0, 1][..]),
        ("ORDERS cursor", &[0]),
        ("orders cur", &[0]),
        ("cur orders", &[]),
        ("cafe", &[1]),
        ("\"orders are\"", &[1]),
        ("\"are orders\"", &[]),
        ("cursor_now", &[0]),
        ("支払い", &[2]),
        ("払い", &[2]),
        ("い払", &[]),
        ("ระบบ", &[3]),
        ("not OR there", &[4]),
        ("words:orders", &[]),
        ("missing", &[]),
    ] {
        let expected: Vec<&str> = found.iter().map(|index| all[*index]).collect();
        assert_eq!(search(&mut world, words), expected, "{words}");
    }
    let nothing = ListMessages { search: Some("-> *".to_owned()), ..ListMessages::default() };
    assert_eq!(world.list_messages(&nothing).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn what_is_sent_later_is_found_once_it_is_indexed_and_not_twice() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "one fish");
    index(&mut world);
    world.send(&ann, &bob, "two fish");
    assert_eq!(world.store.read(mailbox::index::left).unwrap(), 1);
    index(&mut world);
    index(&mut world);
    assert_eq!(search(&mut world, "fish"), ["one fish", "two fish"]);
    assert_eq!(world.store.read(mailbox::index::left).unwrap(), 0);
    world.write(|tx| mailbox::index::drop_index(tx.db)).unwrap();
    assert!(search(&mut world, "fish").is_empty());
    index(&mut world);
    assert_eq!(search(&mut world, "fish"), ["one fish", "two fish"]);
}

#[test]
fn a_damaged_index_costs_nothing_but_the_index() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    world.send(&ann, &bob, "one fish");
    index(&mut world);
    let damage = "UPDATE message_words_data SET block = x'ffffffffffff' WHERE id > 1";
    assert!(world.store.database().execute(damage, []).unwrap() > 0);
    world.store.database().execute_batch("PRAGMA writable_schema = RESET").unwrap();
    let request = ListMessages { search: Some("fish".to_owned()), ..ListMessages::default() };
    assert_eq!(world.list_messages(&request).unwrap_err().code, ErrorCode::Storage);
    world.write(|tx| mailbox::index::drop_index(tx.db)).unwrap();
    index(&mut world);
    assert_eq!(search(&mut world, "fish"), ["one fish"]);
}

#[test]
fn the_history_is_read_on_from_where_an_answer_ended() {
    let mut world = World::with(|limits| limits.messages_per_minute = 0);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let all: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
    for text in &all {
        world.send(&ann, &bob, text);
    }
    index(&mut world);
    for request in [
        ListMessages { limit: 7, ..ListMessages::default() },
        ListMessages { limit: 7, peer: Some("bob".to_owned()), ..ListMessages::default() },
        ListMessages { limit: 7, search: Some("message".to_owned()), ..ListMessages::default() },
    ] {
        let (mut read, mut before) = (Vec::new(), None);
        loop {
            let page = list(&mut world, &ListMessages { before, ..request.clone() });
            read.splice(..0, page.messages.into_iter().map(|message| message.text));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(read, all, "{request:?}");
    }
}

#[test]
fn messages_are_found_by_time_and_state() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let began = world.now();
    let mut ids = Vec::new();
    for hour in 0..4 {
        ids.push(world.send(&ann, &bob, &format!("hour {hour}")));
        world.advance(Duration::from_secs(3_600));
    }
    world.take(&bob);
    world.confirm(&bob, &ids[..2]);
    let hour = |hour: i64| Some(began.shifted(hour * 3_600_000));
    for (since, until, state, expected) in [
        (hour(1), None, None, &[1, 2, 3][..]),
        (None, hour(1), None, &[0]),
        (hour(1), hour(3), None, &[1, 2]),
        (hour(9), None, None, &[]),
        (None, None, Some("read"), &[0, 1]),
        (hour(1), None, Some("read,expired"), &[1]),
        (None, None, Some("queued, offered"), &[2, 3]),
    ] {
        let state = state.map(str::to_owned);
        let request = ListMessages { since, until, state, ..ListMessages::default() };
        let expected: Vec<String> = expected.iter().map(|hour| format!("hour {hour}")).collect();
        assert_eq!(texts(&mut world, &request), expected, "{request:?}");
    }
    let unknown = ListMessages { state: Some("lost".to_owned()), ..ListMessages::default() };
    assert_eq!(world.list_messages(&unknown).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn a_thread_is_all_that_is_linked_by_answers() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let question = world.send(&ann, &bob, "question");
    world.send(&ann, &bob, "something else");
    let answer = world.reply(&bob, &ann, &question);
    let thanks = world.reply(&ann, &bob, &answer);
    let second = world.reply(&bob, &ann, &question);
    index(&mut world);
    let expected = [question, answer, thanks, second];
    for id in &expected {
        let request = ListMessages { thread: Some(id.clone()), ..ListMessages::default() };
        let found = list(&mut world, &request).messages.into_iter().map(|message| message.id);
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_message_is_found_by_the_beginning_of_its_id() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two"]);
    let by = |id: &str| ListMessages { id: Some(MessageId::from_text(id)), ..Default::default() };
    assert_eq!(texts(&mut world, &by(&ids[1].as_str()[..7])), ["two"]);
    assert_eq!(texts(&mut world, &by(&ids[1].as_str()[..9])), ["two"]);
    let ambiguous = world.list_messages(&by("ma")).unwrap_err();
    assert_eq!(ambiguous.code, ErrorCode::Ambiguous);
    assert!(ids.iter().all(|id| ambiguous.hint.as_deref().unwrap().contains(id.as_str())));
    for unknown in ["mz", "m", "", "ma'", "x"] {
        assert_eq!(world.list_messages(&by(unknown)).unwrap_err().code, ErrorCode::NotFound);
    }
}

fn prune(world: &mut World, age: Duration, dry_run: bool) -> Pruned {
    let age = i64::try_from(age.as_millis()).unwrap();
    let mut step = PruneStep { before: world.now().shifted(-age), after: 0, done: false };
    let mut pruned = Pruned::default();
    while !step.done {
        let so_far = pruned.clone();
        (step, pruned) = if dry_run {
            world.store.read(|tx| mailbox::prune_count(tx, step, so_far)).unwrap()
        } else {
            world.write(move |tx| mailbox::prune_step(tx, step, so_far)).unwrap()
        };
    }
    pruned
}

#[test]
fn old_messages_are_deleted_and_none_that_is_unread() {
    let mut world = World::with(|limits| limits.time_to_live = 400 * DAY);
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let old = world.send_all(&ann, &bob, &["read", "offered", "queued"]);
    world.take(&bob);
    world.confirm(&bob, &old[..1]);
    index(&mut world);
    world.advance(100 * DAY);
    let new = world.send(&ann, &bob, "new");
    world.confirm(&bob, std::slice::from_ref(&new));
    let expected = Pruned { messages: 1, never_read: 0, unread_kept: 2 };
    assert_eq!(prune(&mut world, 90 * DAY, true), expected);
    assert_eq!(texts(&mut world, &ListMessages::default()).len(), 4, "nothing was deleted");
    assert_eq!(prune(&mut world, 90 * DAY, false), expected);
    assert_eq!(texts(&mut world, &ListMessages::default()), ["offered", "queued", "new"]);
    assert!(search(&mut world, "read").is_empty());
    assert_eq!(world.count("offers WHERE message = 1"), 0);
    assert!(world.counts_are_right());
    // What was deleted can be named all the same to go on from there.
    let before = ListMessages { before: Some(old[0].clone()), ..ListMessages::default() };
    assert!(texts(&mut world, &before).is_empty());
}

#[test]
fn no_number_comes_twice_though_all_old_messages_are_deleted() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two"]);
    world.take(&bob);
    world.confirm(&bob, &ids);
    world.advance(100 * DAY);
    assert_eq!(prune(&mut world, DAY, false).messages, 1, "the newest keeps its number");
    world.crash();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let next = world.send(&ann, &bob, "three");
    assert!(next.seq() > ids[1].seq());
}
