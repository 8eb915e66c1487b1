//! What overtakes, what comes twice, and what is not marked.

use super::*;

/// "two" and "three" of Ann, both shown to Bob; "three" is sent at `later`.
fn two_and_three(later: u64, showings: [Event; 2]) -> Vec<Rule> {
    let mut events = good();
    events[7] = stored("m2", "two", "offered", Some("hook"));
    events.extend([sent(later, "three", "m3"), stored("m3", "three", "offered", Some("hook"))]);
    events.push(look(200, Way::Hook, true));
    events.extend(showings);
    rules(events)
}

#[test]
fn messages_of_one_sender_do_not_overtake() {
    let two = |began| shown(began, Way::Hook, "m2", "two");
    let three = |began| shown(began, Way::Hook, "m3", "three");
    assert!(two_and_three(150, [two(200), three(300)]).is_empty());
    assert_eq!(two_and_three(150, [three(200), two(300)]), [Rule::Overtaken]);
    // In one output, their order there counts.
    assert!(two_and_three(150, [two(200), three(200)]).is_empty());
    assert_eq!(two_and_three(150, [three(200), two(200)]), [Rule::Overtaken]);
    // Sends or outputs that overlap have no order.
    assert!(two_and_three(103, [three(200), two(300)]).is_empty());
    assert!(two_and_three(150, [three(200), two(203)]).is_empty());
    // It was offered before, to a receiver that did not show it.
    assert!(two_and_three(150, [three(200), repeated(300, Way::Hook, "m2", "two")]).is_empty());
    // On one output, the order of the lines counts.
    let push = |id, text| shown(400, Way::Push, id, text);
    assert!(two_and_three(150, [push("m2", "two"), push("m3", "three")]).is_empty());
    assert_eq!(two_and_three(150, [push("m3", "three"), push("m2", "two")]), [Rule::Overtaken]);
}

#[test]
fn sends_of_one_session_are_in_the_order_of_the_calls() {
    let place = |place, event| match event {
        Event::Send(send) => Event::Send(Send { place: Some(("s".to_owned(), place)), ..send }),
        other => other,
    };
    let mut events = good();
    events[3] = place(1, events[3].clone());
    events[7] = stored("m2", "two", "offered", Some("hook"));
    events.extend([place(2, sent(100, "three", "m3")), look(200, Way::Hook, true)]);
    events.push(stored("m3", "three", "offered", Some("hook")));
    events.push(shown(200, Way::Hook, "m3", "three"));
    events.push(shown(300, Way::Hook, "m2", "two"));
    assert_eq!(rules(events.clone()), [Rule::Overtaken]);
    // A question of Bob may be answered before older mail.
    let (from, to) = ("bob".to_owned(), "ann".to_owned());
    events.push(Event::Send(Send { from, to, waits: true, ..send(50, "?") }));
    assert!(rules(events).is_empty());
}

#[test]
fn an_instance_is_pushed_no_id_twice() {
    with([shown(200, Way::Push, "m1", "one")], &[Rule::PushedTwice]);
    with([repeated(200, Way::Push, "m1", "one")], &[Rule::PushedTwice]);
    let mut other = showing(200, Way::Push, "m1", "one");
    (other.receiver, other.message.repeat) = ("i2".to_owned(), true);
    with([began(150, "i2"), Event::Shown(other)], &[]);
}

#[test]
fn an_instance_is_not_pushed_what_its_tool_has_shown() {
    let mut events = good();
    events[7] = stored("m2", "two", "offered", Some("tool"));
    events.push(shown(200, Way::Tool, "m2", "two"));
    assert!(rules(events.clone()).is_empty());
    events.push(repeated(300, Way::Push, "m2", "two"));
    assert_eq!(rules(events), [Rule::PushedBehindTool]);
}

#[test]
fn a_repeat_is_marked() {
    with([shown(200, Way::Tool, "m1", "one")], &[Rule::Unmarked]);
    with([shown(200, Way::Inbox, "m1", "one")], &[Rule::Unmarked]);
    with([repeated(200, Way::Tool, "m1", "one")], &[]);
    with([shown(200, Way::Hook, "m1", "one")], &[Rule::Unmarked]);
    let twice = |second| [repeated(200, Way::Tool, "m1", "one"), second];
    with(twice(shown(300, Way::Hook, "m1", "one")), &[Rule::Unmarked]);
    // They overlap: either may have been the first.
    let mut events = good();
    events[7] = stored("m2", "two", "offered", Some("tool"));
    events.extend([shown(200, Way::Tool, "m2", "two"), shown(203, Way::Hook, "m2", "two")]);
    assert!(rules(events).is_empty());
    // What the next instance is pushed is a repeat, unless it was sent before the other was shown.
    let push = |instance: &str| {
        let mut shown = showing(300, Way::Push, "m1", "one");
        (shown.receiver, shown.span.began) = (instance.to_owned(), 0);
        Event::Shown(shown)
    };
    with([began(150, "i2"), push("i2")], &[Rule::Unmarked]);
    with([began(15, "i2"), push("i2")], &[]);
}

#[test]
fn nothing_is_marked_as_pushed_that_was_not() {
    let marked = |id, text| {
        let mut shown = showing(200, Way::Tool, id, text);
        shown.message.already_pushed = true;
        Event::Shown(shown)
    };
    with([marked("m1", "one")], &[]);
    let mut events = good();
    events[7] = stored("m2", "two", "offered", Some("tool"));
    events.push(marked("m2", "two"));
    assert_eq!(rules(events), [Rule::FalselyMarked]);
}
