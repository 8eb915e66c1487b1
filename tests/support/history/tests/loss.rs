//! What is lost, doubled, invented, altered, or shown to another.

use super::*;

#[test]
fn what_was_acknowledged_and_is_nowhere_is_lost() {
    let mut events = good();
    events.pop();
    assert_eq!(rules(events.clone()), [Rule::Lost]);
    // It was shown, or its end was reported.
    events.push(shown(200, Way::Tool, "m2", "two"));
    events.push(stored("m2", "two", "offered", Some("tool")));
    assert!(rules(events).is_empty());
    where_one_is(7, notice(300, "n1", "Never offered (expired): m2."), &[]);
    // Nobody has seen it, and it is read; but by an output that was lost, it may be.
    where_one_is(7, stored("m2", "two", "read", Some("hook")), &[Rule::Lost, Rule::Overstated]);
    let mut events = good();
    events[7] = stored("m2", "two", "read", Some("hook"));
    events.push(look(200, Way::Hook, false));
    assert!(rules(events).is_empty());
}

#[test]
fn what_was_shown_and_is_not_stored_is_gone() {
    let mut events = good();
    events.remove(6);
    assert_eq!(rules(events.clone()), [Rule::Gone]);
    // What nobody was told to be stored was shown, and is not.
    let unknown = Event::Send(Send { answer: None, ..send(200, "three") });
    with([unknown.clone(), shown(220, Way::Tool, "m3", "three")], &[Rule::Gone]);
    let stored = stored("m3", "three", "offered", Some("tool"));
    with([unknown, shown(220, Way::Tool, "m3", "three"), stored], &[]);
    // A harness that does not know the store cannot tell.
    events.push(shown(200, Way::Tool, "m2", "two"));
    events.remove(6);
    assert!(check(&History { events, is_store_known: false }).is_empty());
}

#[test]
fn one_send_has_one_id() {
    with([stored("m3", "two", "queued", None)], &[Rule::Twice]);
    // A retry with the same key is the same message, with another key it is not.
    let with_key = |began, key: &str, id: &str| {
        let answer = Answer::Accepted { id: id.to_owned(), state: None };
        let key = Some(key.to_owned());
        Event::Send(Send { key, answer: Some((began + 5, answer)), ..send(began, "three") })
    };
    let in_store = |id| stored(id, "three", "queued", None);
    with([with_key(200, "k1", "m3"), with_key(220, "k1", "m3"), in_store("m3")], &[]);
    let both = [in_store("m3"), in_store("m4")];
    let retried = [with_key(200, "k1", "m3"), with_key(220, "k1", "m4")];
    with(retried.into_iter().chain(both.clone()), &[Rule::Twice]);
    let separate = [with_key(200, "k1", "m3"), with_key(220, "k2", "m4")];
    with(separate.into_iter().chain(both), &[]);
    let shared = [with_key(200, "k1", "m3"), with_key(220, "k2", "m3"), in_store("m3")];
    with(shared, &[Rule::SharedId]);
}

#[test]
fn what_was_refused_is_nowhere() {
    let refused = |code: Option<&str>| {
        let code = code.map(str::to_owned);
        let answer = code.map_or(Answer::Unknown, |code| Answer::Refused { code });
        Event::Send(Send { answer: Some((205, answer)), ..send(200, "three") })
    };
    with([refused(Some("rate_limited"))], &[]);
    let in_store = stored("m3", "three", "queued", None);
    with([refused(Some("rate_limited")), in_store.clone()], &[Rule::RefusedIsStored]);
    // Of what nobody knows, both is possible.
    with([refused(None), in_store], &[]);
    with([refused(None)], &[]);
}

#[test]
fn what_is_shown_is_what_was_sent() {
    with([shown(200, Way::Hook, "m9", "nine")], &[Rule::Invented]);
    let again = |change: &dyn Fn(&mut Shown)| {
        let mut shown = showing(200, Way::Hook, "m1", "one");
        shown.message.repeat = true;
        change(&mut shown);
        [Event::Shown(shown)]
    };
    with(again(&|shown| shown.message.text = "onx".to_owned()), &[Rule::Altered]);
    with(again(&|shown| shown.message.from = "eve".to_owned()), &[Rule::WrongSender]);
    with(again(&|shown| shown.peer = "eve".to_owned()), &[Rule::Foreign]);
    let part = |shown: &mut Shown| {
        (shown.message.text, shown.message.part) = ("on".to_owned(), true);
    };
    with(again(&part), &[]);
}
