//! States that go back, and states that are not true.

use super::*;

#[test]
fn states_go_forward() {
    let rules_of = |first: (&str, Option<&str>), second: (&str, Option<&str>)| {
        let mut events = good();
        events.pop();
        events.extend([look(150, Way::Hook, false), look(150, Way::Inbox, false)]);
        events.extend([told(200, "m2", first.0, first.1), told(300, "m2", second.0, second.1)]);
        let found = check(&History { events, is_store_known: false });
        found.iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    let states = ["queued", "offered", "read", "expired", "unconfirmed"];
    let forward = [
        ("queued", "offered"),
        ("queued", "read"),
        ("queued", "expired"),
        ("queued", "unconfirmed"),
        ("offered", "read"),
        ("offered", "unconfirmed"),
        ("expired", "read"),
        ("unconfirmed", "read"),
    ];
    for one in states {
        for other in states {
            let is_forward = one == other || forward.contains(&(one, other));
            let is_reported = rules_of((one, None), (other, None)).contains(&Rule::Backwards);
            assert_eq!(is_reported, !is_forward, "{one} to {other}");
        }
    }
    // The first evidence counts.
    let by = |first, second| rules_of(("read", Some(first)), ("read", Some(second)));
    assert!(!by("hook", "hook").contains(&Rule::Backwards));
    assert!(by("hook", "cli").contains(&Rule::Backwards));
    // What overlaps has no order.
    with([told(27, "m1", "offered", None), told(22, "m1", "queued", None)], &[]);
}

#[test]
fn no_more_and_no_less_is_told_than_happened() {
    // It was shown at 20, and offered before that.
    where_one_is(4, told(30, "m1", "queued", None), &[Rule::Understated]);
    where_one_is(4, told(22, "m1", "queued", None), &[]);
    // Nobody can have read it before it was shown.
    where_one_is(7, stored("m2", "two", "read", None), &[Rule::Lost, Rule::Overstated]);
    where_one_is(6, stored("m1", "one", "read", Some("channel")), &[]);
    where_one_is(6, stored("m1", "one", "read", Some("hook")), &[Rule::Overstated]);
    where_one_is(6, stored("m1", "one", "read", Some("reply")), &[Rule::Overstated]);
    let mut events = good();
    events[6] = stored("m1", "one", "read", Some("reply"));
    let reply_to = Some("m1".to_owned());
    events.push(Event::Send(Send { reply_to, from: "bob".to_owned(), ..send(300, "re") }));
    assert!(rules(events).is_empty());
}

#[test]
fn what_is_told_as_offered_can_have_been_offered() {
    where_one_is(7, stored("m2", "two", "offered", Some("tool")), &[]);
    where_one_is(7, stored("m2", "two", "offered", Some("hook")), &[Rule::UnfoundedOffer]);
    let mut events = good();
    events[7] = stored("m2", "two", "offered", Some("hook"));
    events.push(look(9_500, Way::Hook, true));
    assert_eq!(rules(events.clone()), [Rule::UnfoundedOffer]);
    events.push(look(500, Way::Hook, true));
    assert!(rules(events).is_empty());
}

#[test]
fn an_end_is_reported_once() {
    let ended = "Never offered (expired): m2.";
    let mut events = good();
    events[7] = stored("m2", "two", "expired", None);
    events.push(notice(300, "n1", ended));
    events.push(notice(400, "n1", ended));
    assert!(rules(events.clone()).is_empty());
    events.push(notice(500, "n2", ended));
    assert_eq!(rules(events), [Rule::ReportedTwice]);
}
