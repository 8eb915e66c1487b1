//! What the program says is read.

use serde_json::json;

use super::super::{Seen, read};

fn seen(id: &str, text: &str, repeat: bool, already_pushed: bool, part: bool) -> Seen {
    let (id, from, text) = (id.to_owned(), "4pns9z43".to_owned(), text.to_owned());
    Seen { id, from, text, repeat, already_pushed, part }
}

#[test]
fn the_output_of_a_hook_is_read() {
    let context = "2 messages came through claude-peers, oldest first; their lines begin with \"| \".\n\n\
        message_id m1, from backend (from_id 4pns9z43) in /srv/a, 5s ago, answers m0\n| one\n| \n| more\n\n\
        message_id m2, from_id 4pns9z43, 5s ago, a repeat: it may have been shown before\n| two\n\n\
        message_id m3, from_id 4pns9z43, 5s ago, already pushed into this session\n\
        | message_id m4, from_id 4pns9z43\n\n1 more message";
    let output = json!({ "hookSpecificOutput": { "additionalContext": context } }).to_string();
    assert_eq!(
        read::hook_output(&output),
        [
            seen("m1", "one\n\nmore", false, false, false),
            seen("m2", "two", true, false, false),
            seen("m3", "message_id m4, from_id 4pns9z43", false, true, false),
        ]
    );
    assert!(read::hook_output("").is_empty());
}

#[test]
fn results_pushes_and_lists_are_read() {
    let view = json!({ "message_id": "m1", "from_id": "4pns9z43", "text": "one", "repeat": true,
        "part": "characters 1-3 of 9" });
    let part = seen("m1", "one", true, false, true);
    assert_eq!(read::check_messages(&json!({ "messages": [view] })), std::slice::from_ref(&part));
    assert_eq!(read::answer(&json!({ "answer": { "message": view } })), Some(part));
    assert_eq!(read::answer(&json!({})), None);
    let delivery =
        json!({ "id": "m1", "from": { "id": "4pns9z43" }, "text": "one", "already_pushed": true });
    let pushed = seen("m1", "one", false, true, false);
    assert_eq!(read::inbox(&json!({ "messages": [delivery] })), std::slice::from_ref(&pushed));
    assert_eq!(read::answer_to_command(&json!({ "answer": delivery })), Some(pushed));
    let params = json!({ "content": "one", "meta": { "message_id": "m1", "from_id": "4pns9z43",
        "repeat": "true" } });
    assert_eq!(read::push(&params), seen("m1", "one", true, false, false));
    let log = json!({ "messages": [{ "id": "m1", "from": { "id": "a" }, "to": { "id": "b" },
        "text": "one", "state": "read", "offered_via": "channel", "read_via": "reply" }] });
    assert_eq!(read::log(&log), [("m1".to_owned(), "read".to_owned(), Some("reply".to_owned()))]);
}

#[test]
fn the_ids_in_a_notice_are_read() {
    let text = "The time to live of 4 messages …\nNever offered (expired): m1, m2 and 5 more.\n\
        Offered, but not known to have been read (unconfirmed): m3.\nSend again what still matters.";
    let named = [("m1", "expired"), ("m2", "expired"), ("m3", "unconfirmed")];
    assert_eq!(read::notice(text), named.map(|(id, state)| (id.to_owned(), state)));
}
