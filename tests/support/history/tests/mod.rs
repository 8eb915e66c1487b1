//! A history that breaks one rule is reported for exactly that rule, and a good one is not.

mod loss;
mod order;
mod reading;
mod states;

use super::{
    Answer, Event, History, Life, Look, Rule, Seen, Send, Shown, Span, Stored, Told, Way, check,
};

fn send(began: u64, text: &str) -> Send {
    Send::new(began, "ann", "bob", text)
}

/// A send whose answer comes at once.
fn sent(began: u64, text: &str, id: &str) -> Event {
    let answer = Answer::Accepted { id: id.to_owned(), state: Some("queued".to_owned()) };
    Event::Send(Send { answer: Some((began + 5, answer)), ..send(began, text) })
}

fn showing(began: u64, way: Way, id: &str, text: &str) -> Shown {
    Shown {
        span: Span { began, ended: began + 5 },
        peer: "bob".to_owned(),
        receiver: if matches!(way, Way::Push | Way::Tool) { "i1" } else { "other" }.to_owned(),
        way,
        message: Seen {
            id: id.to_owned(),
            from: "ann".to_owned(),
            text: text.to_owned(),
            repeat: false,
            already_pushed: false,
            part: false,
        },
    }
}

fn shown(began: u64, way: Way, id: &str, text: &str) -> Event {
    Event::Shown(showing(began, way, id, text))
}

fn repeated(began: u64, way: Way, id: &str, text: &str) -> Event {
    let mut shown = showing(began, way, id, text);
    shown.message.repeat = true;
    Event::Shown(shown)
}

fn told(began: u64, id: &str, state: &str, via: Option<&str>) -> Event {
    let (id, state, via) = (id.to_owned(), state.to_owned(), via.map(str::to_owned));
    Event::Told(Told { span: Span { began, ended: began + 5 }, id, state, via })
}

fn stored(id: &str, text: &str, state: &str, via: Option<&str>) -> Event {
    Event::Stored(Stored {
        span: Span { began: 9_000, ended: 9_005 },
        id: id.to_owned(),
        from: "ann".to_owned(),
        to: "bob".to_owned(),
        text: text.to_owned(),
        state: state.to_owned(),
        via: via.map(str::to_owned),
    })
}

fn notice(began: u64, id: &str, ended: &str) -> Event {
    let mut shown = showing(began, Way::Inbox, id, ended);
    (shown.peer, shown.message.from) = ("ann".to_owned(), "broker".to_owned());
    Event::Shown(shown)
}

fn look(began: u64, way: Way, is_seen: bool) -> Event {
    Event::Look(Look { began, peer: "bob".to_owned(), way, is_seen })
}

fn began(at: u64, instance: &str) -> Event {
    Event::Began(Life { at, peer: "bob".to_owned(), instance: instance.to_owned() })
}

/// Bob's server begins; "one" is sent and pushed, "two" is sent and stays unread.
fn good() -> Vec<Event> {
    vec![
        began(1, "i1"),
        sent(10, "one", "m1"),
        shown(20, Way::Push, "m1", "one"),
        sent(100, "two", "m2"),
        told(30, "m1", "offered", Some("channel")),
        look(1_000, Way::Tool, true),
        stored("m1", "one", "offered", Some("channel")),
        stored("m2", "two", "queued", None),
    ]
}

fn rules(events: Vec<Event>) -> Vec<Rule> {
    let found = check(&History { events, is_store_known: true });
    let mut rules: Vec<Rule> = found.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    for violation in &found {
        assert!(!violation.events.is_empty(), "{violation}");
    }
    rules
}

/// Checks the good history and these events.
#[track_caller]
fn with(more: impl IntoIterator<Item = Event>, expected: &[Rule]) {
    let mut events = good();
    events.extend(more);
    assert_eq!(rules(events), expected);
}

/// Checks the good history, in which one event is another.
#[track_caller]
fn where_one_is(place: usize, event: Event, expected: &[Rule]) {
    let mut events = good();
    events[place] = event;
    assert_eq!(rules(events), expected);
}

#[test]
fn a_good_history_has_no_violations() {
    assert!(rules(Vec::new()).is_empty());
    with([], &[]);
}

#[test]
fn a_violation_prints_its_events() {
    let mut events = good();
    events.pop();
    let found = check(&History { events, is_store_known: true });
    let text = found[0].to_string();
    assert!(text.starts_with("Lost: acknowledged, but") && text.contains("\"two\""), "{text}");
}
