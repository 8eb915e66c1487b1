//! Tests of the queue of sends.

use super::*;
use crate::protocol::MessageId;
use crate::protocol::scope::Scope;

type Sent1 = oneshot::Receiver<Outcome<Sent>>;

fn message(text: &str) -> SendMessage {
    SendMessage {
        to: "reader".to_owned(),
        text: text.to_owned(),
        reply_to: None,
        from_session: None,
        wait: false,
    }
}

fn add(state: &mut State, message: SendMessage) -> Sent1 {
    let (outcome, sent) = oneshot::channel();
    state.push(What::Message(message, outcome));
    sent
}

fn add_scope(state: &mut State) -> oneshot::Receiver<Outcome<SentToScope>> {
    let (outcome, sent) = oneshot::channel();
    let request = SendToScope {
        scope: Scope::Machine,
        text: "all".to_owned(),
        directory: None,
        repo: None,
        from_session: None,
    };
    state.push(What::Scope(request, outcome));
    sent
}

/// The texts of each turn, in order.
fn turns(state: &mut State) -> Vec<Vec<String>> {
    std::iter::from_fn(|| state.take_turn(MAX_BATCH_MESSAGES))
        .map(|turn| match turn {
            Turn::One(message, _) => vec![message.text],
            Turn::Batch(messages, _) => messages.into_iter().map(|m| m.text).collect(),
            Turn::Scope(request, _) => vec![format!("scope {}", request.text)],
        })
        .collect()
}

#[test]
fn what_waits_goes_together_and_what_goes_alone_keeps_its_place() {
    let mut state = State::default();
    let mut sent: Vec<Sent1> =
        ["1", "2"].map(|text| add(&mut state, message(text))).into_iter().collect();
    let scope = add_scope(&mut state);
    sent.push(add(&mut state, message("3")));
    sent.push(add(&mut state, SendMessage { wait: true, ..message("4") }));
    let last = add_scope(&mut state);
    sent.push(add(&mut state, message("5")));
    let wanted: [&[&str]; 5] = [&["1", "2"], &["scope all"], &["3", "4"], &["scope all"], &["5"]];
    assert_eq!(turns(&mut state), wanted);
    drop((sent, scope, last));
    let sent = ["8", "9"].map(|text| add(&mut state, message(text)));
    assert!(matches!(state.take_turn(1), Some(Turn::One(message, _)) if message.text == "8"));
    assert_eq!(turns(&mut state), [["9"]]);
    drop(sent);
}

#[test]
fn a_batch_has_a_bound_in_messages_and_in_bytes() {
    let mut state = State::default();
    let mut sent: Vec<Sent1> = Vec::new();
    let texts: Vec<String> = (0..=2 * MAX_BATCH_MESSAGES).map(|n| n.to_string()).collect();
    sent.extend(texts.iter().map(|text| add(&mut state, message(text))));
    let taken = turns(&mut state);
    assert_eq!(
        taken.iter().map(Vec::len).collect::<Vec<_>>(),
        [MAX_BATCH_MESSAGES, MAX_BATCH_MESSAGES, 1]
    );
    assert_eq!(taken.concat(), texts);

    // A quote takes two bytes in JSON, a control character six.
    let large = "\u{1}".repeat(BATCH_BYTES / 6 / 3);
    sent.extend((0..3).map(|_| add(&mut state, message(&large))));
    let huge = "x".repeat(BATCH_BYTES + 1);
    sent.push(add(&mut state, message(&huge)));
    sent.push(add(&mut state, message("last")));
    let taken = turns(&mut state);
    assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 1]);
    drop(sent);
}

#[test]
fn the_size_of_a_message_is_not_less_than_its_json() {
    let mut message = message("\u{1}\"\\\n\u{7f}é🦀");
    message.to = "\t".repeat(100);
    message.reply_to = Some(MessageId::from_text("\"\"\""));
    message.wait = true;
    let key = crate::sys::random::idempotency_key(crate::sys::clock::now());
    let batched = crate::protocol::messages::BatchedMessage { key, message };
    let json = serde_json::to_vec(&batched).unwrap();
    assert!(json_size(&batched.message) > json.len());
}

#[test]
fn a_cancelled_call_is_not_sent_and_takes_no_other_with_it() {
    let mut state = State::default();
    let kept = ["1", "2", "3"].map(|text| add(&mut state, message(text)));
    drop(add(&mut state, message("cancelled")));
    let last = add(&mut state, message("4"));
    assert_eq!(turns(&mut state), [["1", "2", "3", "4"]]);
    drop((kept, last));
}

#[test]
fn what_waited_while_the_broker_was_out_of_reach_does_not_wait_again() {
    let mut state = State::default();
    let mut before = add(&mut state, message("before"));
    state.unreachable = Some(Instant::now() + Duration::from_nanos(1));
    std::thread::sleep(Duration::from_millis(1));
    let after = add(&mut state, message("after"));
    assert_eq!(turns(&mut state), [["after"]]);
    let words = before.try_recv().unwrap().unwrap_err();
    assert!(words.contains("Nothing was sent") && words.contains("earlier message"), "{words}");
    drop(after);
}

#[test]
fn a_send_is_withdrawn_as_long_as_it_waits() {
    let mut state = State::default();
    let (outcome, _kept) = oneshot::channel();
    let first = state.push(What::Message(message("first"), outcome));
    let (outcome, _kept) = oneshot::channel();
    let second = state.push(What::Message(message("second"), outcome));
    let turn = state.take_turn(1);
    assert!(matches!(turn, Some(Turn::One(..))));
    assert!(!state.withdraw(first), "it is under way");
    assert!(state.withdraw(second) && !state.withdraw(second));
    assert!(turns(&mut state).is_empty());
}
