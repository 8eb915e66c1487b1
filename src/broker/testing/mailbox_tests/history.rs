//! The history: it is put together of messages that are unread and of those that are not any more.

use crate::broker::testing::{ErrorCode, World};
use crate::protocol::MessageId;
use crate::protocol::messages::ListMessages;

/// Sends 60 messages between three peers, every third of which is read. Returns sender, recipient and
/// text of each, oldest first.
fn talk(world: &mut World) -> Vec<(usize, usize, String)> {
    let peers = [world.peer("ann"), world.live("bob"), world.live("eve")];
    let mut all = Vec::new();
    for number in 0..60 {
        let (from, to) = (number % 3, (number % 3 + 1 + number % 2) % 3);
        let text = format!("message {number}");
        let id = world.send(&peers[from], &peers[to], &text);
        if number % 3 == 0 {
            world.confirm(&peers[to], &[id]);
        }
        all.push((from, to, text));
    }
    all
}

fn texts(world: &mut World, request: &ListMessages) -> Vec<String> {
    world.list_messages(request).unwrap().into_iter().map(|message| message.text).collect()
}

#[test]
fn the_newest_that_fit_are_listed_oldest_first() {
    let mut world = World::with(|limits| limits.messages_per_minute = 0);
    let all = talk(&mut world);
    for limit in [1, 7, 20, 100] {
        for (peer, name) in ["ann", "bob", "eve"].into_iter().enumerate() {
            for sent in [true, false] {
                let fits = |(from, to, _): &&(usize, usize, String)| {
                    *from == peer || (!sent && *to == peer)
                };
                let mut expected: Vec<_> =
                    all.iter().filter(fits).map(|(.., text)| text.clone()).collect();
                expected.drain(..expected.len().saturating_sub(limit as usize));
                let request = ListMessages {
                    peer: Some(name.to_owned()),
                    sent,
                    limit,
                    ..ListMessages::default()
                };
                assert_eq!(texts(&mut world, &request), expected, "{name}, sent: {sent}, {limit}");
            }
        }
        let last = all.len().saturating_sub(limit as usize);
        let expected: Vec<_> = all[last..].iter().map(|(.., text)| text.clone()).collect();
        assert_eq!(texts(&mut world, &ListMessages { limit, ..ListMessages::default() }), expected);
    }
}

#[test]
fn one_message_is_listed_by_its_whole_id() {
    let mut world = World::new();
    let (ann, bob) = (world.peer("ann"), world.peer("bob"));
    let ids = world.send_all(&ann, &bob, &["one", "two"]);
    assert_eq!(world.message(&ids[1]).text, "two");
    // The number of a message, and other characters behind it.
    let other = MessageId::from_seq(2, [7; 8]);
    for unknown in [other, MessageId::from_text("m1"), MessageId::from_text("")] {
        let request = ListMessages { id: Some(unknown.clone()), ..ListMessages::default() };
        assert_eq!(
            world.list_messages(&request).unwrap_err().code,
            ErrorCode::NotFound,
            "{unknown}"
        );
    }
    let of_another = ListMessages {
        id: Some(ids[0].clone()),
        peer: Some("cli".to_owned()),
        ..ListMessages::default()
    };
    assert_eq!(world.list_messages(&of_another).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn no_message_of_a_probe_is_in_the_history() {
    let mut world = World::new();
    let probe = world.start(crate::broker::testing::Start::at("/").probe());
    let id = world.send(&probe, &probe, "a probe's");
    assert!(id.seq().unwrap() < 0);
    assert_eq!(world.take(&probe), ["a probe's"]);
    let request = ListMessages { id: Some(id), ..ListMessages::default() };
    assert_eq!(world.list_messages(&request).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(texts(&mut world, &ListMessages::default()), Vec::<String>::new());
}
