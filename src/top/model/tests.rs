use super::command::Surroundings;
use super::cursor::Step;
use super::editor::Edit;
use super::testing::{NOW, away, changed, id, list, message, model, peer, read, snapshot, told};
use super::*;
use crate::protocol::messages::Message;
use crate::protocol::peers::{Activity, Peer};
use crate::top::model::conversation::Line;
use crate::top::model::entry::Entry;

fn names(model: &Model) -> Vec<&str> {
    model.peers.listed().map(|row| row.name.as_str()).collect()
}

fn selected(model: &Model) -> &str {
    model.peers.selected().map_or("", |row| row.name.as_str())
}

fn kept(model: &Model) -> Vec<&str> {
    let open = model.conversation.as_ref().unwrap();
    open.entries.iter().map(|entry| entry.text.as_str()).collect()
}

/// Answers the newest request for messages.
#[track_caller]
fn answer(model: &mut Model, messages: Vec<Message>, next: Option<u32>) -> Command {
    let command = model.take_commands().pop().expect("a request");
    let result = Ok(list(messages, next));
    let outcome = match &command {
        Command::History { serial, .. } => Outcome::History { serial: *serial, result },
        Command::Search { serial, .. } => Outcome::Search { serial: *serial, result },
        other => panic!("{other:?}"),
    };
    model.finish(outcome);
    command
}

fn types(model: &mut Model, text: &str) {
    for c in text.chars() {
        model.act(Action::Edit(Edit::Insert(c)));
    }
}

fn problem(what: &str) -> Problem {
    Problem { what: what.to_owned(), hint: Some("Do that.".to_owned()) }
}

#[test]
fn peers_are_listed_live_ones_first_and_the_selection_stays_with_its_peer() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("web"), away("old"), peer("api")], vec![]));
    assert_eq!(names(&model), ["api", "web"]);
    model.act(Action::Step(Step::Down));
    assert_eq!(selected(&model), "web");
    model.observe(changed(peer("db")));
    model.observe(changed(peer("zoo")));
    assert_eq!((names(&model), selected(&model)), (vec!["api", "db", "web", "zoo"], "web"));
    // It goes away: the next one is selected.
    model.observe(changed(away("web")));
    assert_eq!((names(&model), selected(&model)), (vec!["api", "db", "zoo"], "zoo"));
    model.act(Action::ToggleAll);
    assert_eq!(names(&model), ["api", "db", "zoo", "old", "web"]);
    model.observe(Observed::PeerGone { id: id("old") });
    assert_eq!(names(&model), ["api", "db", "zoo", "web"]);
    assert_eq!(model.peers.counts(), (3, 1, 0));
}

#[test]
fn a_message_changes_its_state_where_it_stands() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api")], vec![message(1, "api", "web", "one")]));
    model.observe(told(message(2, "web", "api", "two")));
    model.observe(told(read(message(1, "api", "web", "one"))));
    let states: Vec<&str> = model.feed.entries().iter().map(|e| e.state.as_str()).collect();
    assert_eq!(states, ["read", "offered"]);
}

#[test]
fn the_newest_messages_are_followed_until_another_is_selected() {
    let mut model = model(80, 24);
    let messages = (0..50).map(|n| message(n, "api", "web", &n.to_string())).collect();
    model.observe(snapshot(vec![peer("api")], messages));
    let shown = |model: &Model| model.feed.selected().unwrap().text.clone();
    model.observe(told(message(50, "api", "web", "50")));
    assert_eq!(shown(&model), "50");
    model.act(Action::NextPane);
    model.act(Action::Step(Step::Up));
    model.observe(told(message(51, "api", "web", "51")));
    assert_eq!((shown(&model).as_str(), model.feed.follows()), ("49", false));
    model.act(Action::Step(Step::Last));
    assert!(model.feed.follows());
    // The oldest are dropped; a selection among them moves to the oldest that is left.
    model.act(Action::Step(Step::First));
    for n in 52..2_000 {
        model.observe(told(message(n, "api", "web", &n.to_string())));
    }
    assert_eq!(model.feed.entries().len(), feed::KEPT);
    assert!(shown(&model).parse::<u32>().unwrap() <= 1_000, "{}", shown(&model));
}

#[test]
fn a_conversation_is_read_page_by_page_and_grows() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api")], vec![]));
    model.act(Action::Enter);
    // What comes before the answer is not lost, and not doubled.
    model.observe(told(message(61, "api", "web", "61")));
    model.observe(told(message(62, "web", "db", "another's")));
    let page: Vec<Message> = (40..=60).map(|n| message(n, "web", "api", &n.to_string())).collect();
    let asked = answer(&mut model, page, Some(40));
    assert!(matches!(asked, Command::History { before: None, .. }), "{asked:?}");
    assert_eq!(kept(&model).last(), Some(&"61"));
    assert_eq!(kept(&model).len(), 22);
    // At the start, older ones are asked for, once; what is seen stays in its place.
    model.act(Action::Step(Step::First));
    let seen = |model: &Model| {
        let open = model.conversation.as_ref().unwrap();
        match &open.lines[open.top] {
            Line::Day(_) => "day".to_owned(),
            Line::Head(at) => open.entries[*at].text.clone(),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(seen(&model), "day");
    model.act(Action::Step(Step::First));
    let older = (20..40).map(|n| message(n, "web", "api", &n.to_string())).collect();
    let asked = answer(&mut model, older, None);
    let Command::History { before: Some(before), .. } = &asked else { panic!("{asked:?}") };
    assert_eq!(before.as_str(), "m000040");
    assert_eq!((kept(&model).len(), kept(&model)[0]), (42, "20"));
    model.act(Action::Step(Step::First));
    assert_eq!(model.take_commands(), [], "there are none before");
}

#[test]
fn an_answer_to_an_earlier_request_is_not_taken() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api"), peer("web")], vec![]));
    model.act(Action::Enter);
    let [Command::History { serial, .. }] = model.take_commands()[..] else { panic!() };
    model.act(Action::Back);
    model.act(Action::Step(Step::Down));
    model.act(Action::Enter);
    let late = list(vec![message(1, "api", "db", "late")], None);
    model.finish(Outcome::History { serial, result: Ok(late) });
    assert_eq!(kept(&model), [""; 0]);
    answer(&mut model, vec![message(2, "web", "db", "right")], None);
    assert_eq!(kept(&model), ["right"]);
}

#[test]
fn after_a_new_connection_the_conversation_is_read_again() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api")], vec![]));
    model.act(Action::Enter);
    answer(&mut model, vec![message(1, "api", "web", "one")], None);
    model.lost(problem("The broker has stopped."));
    assert!(matches!(model.connection, Connection::Lost(_)));
    model.observe(snapshot(vec![peer("api")], vec![]));
    assert_eq!(model.connection, Connection::Live);
    let both = vec![read(message(1, "api", "web", "one")), message(2, "api", "web", "missed")];
    answer(&mut model, both, None);
    assert_eq!(kept(&model), ["one", "missed"]);
    assert_eq!(model.conversation.as_ref().unwrap().entries[0].state.as_str(), "read");
}

fn sent(to: Peer) -> Box<Sent> {
    let (id, state) = (message(1, "cli", "api", "").id, MessageState::Offered);
    Box::new(Sent { id, state, sent_at: NOW, to, awaited: false, waiting: 0, from: None })
}

#[test]
fn what_cannot_be_sent_is_kept_with_the_reason_and_is_sent_once() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api")], vec![]));
    model.act(Action::Write);
    model.take_commands();
    assert!(model.is_typing());
    model.act(Action::Enter);
    assert_eq!(model.take_commands(), [], "nothing was typed");
    types(&mut model, "hello");
    model.act(Action::Enter);
    model.act(Action::Enter);
    types(&mut model, "!");
    let asked = [Command::Send { to: id("api"), text: "hello".to_owned() }];
    assert_eq!(model.take_commands(), asked, "once, however often the key is pressed");
    // Who leaves is told, once.
    model.act(Action::Quit);
    assert_eq!(model.take_commands(), []);
    assert!(model.notice.as_ref().is_some_and(|notice| notice.is_problem));
    let failed = Outcome::Sent { to: id("api"), result: Err(problem("Too many messages.")) };
    model.finish(failed);
    let writing = model.writing.as_ref().unwrap();
    assert_eq!(writing.editor.text(), "hello");
    assert_eq!(writing.problem.as_ref().unwrap().line(), "Too many messages. Do that.");
    // It is there again after a look at something else.
    model.act(Action::Back);
    model.act(Action::Back);
    assert!(!model.is_typing());
    model.act(Action::Write);
    assert_eq!(model.writing.as_ref().unwrap().editor.text(), "hello");
    model.act(Action::Enter);
    model.finish(Outcome::Sent { to: id("api"), result: Ok(sent(peer("api"))) });
    assert_eq!(model.writing.as_ref().unwrap().editor.text(), "");
    assert_eq!(model.notice.as_ref().unwrap().text, "Sent to api: pushed.");
    model.act(Action::Quit);
    assert!(model.take_commands().contains(&Command::Quit));
}

#[test]
fn what_became_of_a_message_is_told_as_it_is() {
    let say = |reach, awaited, unread| {
        let to = Peer { reach, unread, ..peer("api") };
        let state = match reach {
            Reachability::ChannelProven | Reachability::ChannelPresumed => MessageState::Offered,
            _ => MessageState::Queued,
        };
        delivery(&Sent { state, awaited, ..*sent(to) })
    };
    assert_eq!(say(Reachability::ChannelProven, false, 0), "Sent to api: pushed.");
    assert_eq!(
        say(Reachability::ChannelPresumed, false, 2),
        "Sent to api: pushed, not yet confirmed (2 unread there)."
    );
    assert_eq!(say(Reachability::Tools, true, 0), "Sent to api: it was waiting for a message.");
    assert!(say(Reachability::Away, false, 1).contains("kept until it returns"));
}

#[test]
fn a_search_leads_to_a_conversation_and_back() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api"), peer("web")], vec![]));
    model.act(Action::Search);
    assert!(model.is_typing());
    types(&mut model, "q walrus");
    model.act(Action::Enter);
    assert!(!model.is_typing());
    let found = vec![message(1, "web", "api", "a walrus"), message(9, "web", "api", "two walrus")];
    let asked = answer(&mut model, found, None);
    assert!(matches!(&asked, Command::Search { words, .. } if words == "q walrus"), "{asked:?}");
    let search = model.search.as_ref().unwrap();
    assert_eq!(search.results[0].text, "two walrus", "the newest first");
    model.act(Action::Step(Step::Down));
    model.act(Action::Enter);
    let [Command::Around { serial, peer, message: found, .. }] = &model.take_commands()[..] else {
        panic!("no request")
    };
    assert_eq!((peer, found.as_str()), (&id("web"), "m000001"));
    // There are more newer ones than were asked for: those between are missing.
    let before = || list(vec![message(0, "api", "web", "before")], None);
    let one = || message(1, "web", "api", "a walrus");
    let after: Vec<Message> = (500..510).map(|n| message(n, "web", "api", "much later")).collect();
    let (serial, id) = (*serial, found.clone());
    let mut whole = model.clone();
    let around = |found, after| Ok(Surroundings { before: before(), found, after });
    let result = around(list(vec![one()], None), list(after, Some(500)));
    model.finish(Outcome::Around { serial, found: id.clone(), result });
    assert_eq!(kept(&model), ["before", "a walrus"]);
    // What comes now does not belong there.
    model.observe(told(message(600, "web", "api", "now")));
    assert_eq!(kept(&model), ["before", "a walrus"]);
    model.act(Action::Step(Step::Last));
    answer(&mut model, vec![message(600, "web", "api", "now")], None);
    assert_eq!(kept(&model), ["now"]);
    // There are no others: all of them are shown, and more as they come.
    let after = list(vec![one(), message(2, "api", "web", "after")], None);
    let result = around(list(vec![one()], None), after);
    whole.finish(Outcome::Around { serial, found: id, result });
    whole.observe(told(message(600, "web", "api", "now")));
    assert_eq!(kept(&whole), ["before", "a walrus", "after", "now"]);
    model.act(Action::Back);
    assert_eq!((model.content, model.focus), (Content::Search, Focus::Content));
    model.act(Action::Back);
    assert_eq!((model.content, model.focus), (Content::Feed, Focus::Peers));
}

#[test]
fn beside_the_list_the_conversation_is_that_of_the_selected_peer() {
    let mut model = model(140, 40);
    model.observe(snapshot(vec![peer("api"), peer("web")], vec![]));
    model.act(Action::Enter);
    model.act(Action::NextPane);
    model.act(Action::Step(Step::Down));
    assert_eq!(model.conversation.as_ref().unwrap().peer, id("web"));
    assert_eq!(model.focus, Focus::Peers);
    // The mouse does the same; a second click reads it.
    let areas = model.areas().unwrap();
    let place = Click { column: 3, row: areas.peer_rows().y };
    model.act(Action::Click(place));
    assert_eq!((selected(&model), model.focus), ("api", Focus::Peers));
    assert_eq!(model.conversation.as_ref().unwrap().peer, id("api"));
    model.act(Action::Click(place));
    assert_eq!(model.focus, Focus::Content);
    // Where the list is not seen, it has no keys.
    model.act(Action::NextPane);
    assert_eq!(model.focus, Focus::Peers);
    model.resize(80, 24);
    assert_eq!(model.focus, Focus::Content);
}

#[test]
fn nothing_is_drawn_where_nothing_changes() {
    let mut model = model(80, 24);
    model.observe(snapshot(vec![peer("api")], vec![]));
    assert!(model.take_changed());
    assert!(!model.take_changed());
    model.lost(problem("x"));
    assert!(model.take_changed());
    model.lost(problem("x"));
    model.resize(80, 24);
    assert!(!model.take_changed(), "the same as before");
    model.observe(changed(Peer { activity: Activity::Busy, ..peer("api") }));
    assert!(model.take_changed());
}

/// No size, key or message brings the model out of order.
#[test]
fn it_survives_every_size_and_key() {
    let steps = [Step::Up, Step::Down, Step::PageUp, Step::PageDown, Step::First, Step::Last];
    let actions = || {
        let steps = steps.into_iter().map(Action::Step);
        let place = Click { column: 3, row: 4 };
        steps.chain([
            Action::Enter,
            Action::NextPane,
            Action::Search,
            Action::Edit(Edit::Paste("some words\nof text".to_owned())),
            Action::Enter,
            Action::Click(place),
            Action::Wheel(place, Step::Down),
            Action::Write,
            Action::Edit(Edit::Paste("日本語 ".repeat(100))),
            Action::Enter,
            Action::Back,
            Action::ToggleAll,
            Action::Help,
            Action::Back,
            Action::Back,
        ])
    };
    for peers in [0, 1, 200] {
        let mut model = model(80, 24);
        let peers = (0..peers).map(|n| peer(&format!("peer-{n}"))).collect();
        let messages =
            (0..30).map(|n| message(n, "peer-0", "peer-1", &"text ".repeat(200))).collect();
        model.observe(snapshot(peers, messages));
        for (width, height) in [(80, 24), (0, 0), (1, 1), (40, 10), (130, 11), (300, 90), (41, 200)]
        {
            model.resize(width, height);
            for action in actions() {
                model.act(action);
                for command in model.take_commands() {
                    if let Command::History { serial, .. } = command {
                        let page = vec![message(7, "peer-0", "peer-1", "page")];
                        model.finish(Outcome::History { serial, result: Ok(list(page, None)) });
                    }
                }
                let cursor = model.peers.cursor();
                assert!(cursor.offset <= cursor.selected);
                assert!(cursor.selected < model.peers.listed().len().max(1));
                if let Some(open) = &model.conversation {
                    assert!(open.top <= open.lines.len());
                }
            }
        }
    }
}

#[test]
fn an_entry_holds_no_text_that_a_terminal_would_obey() {
    let hostile = "\u{1b}[2J\u{202e}evil\u{9b}\r\tend";
    let sent = message(1, "api", "web", hostile);
    for entry in [Entry::brief(&sent), Entry::whole(&sent), Entry::found(&sent, "evil")] {
        let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!entry.text.contains(obeyed), "{:?}", entry.text);
        assert!(entry.text.contains("evil") && entry.text.contains("end"), "{:?}", entry.text);
    }
}
