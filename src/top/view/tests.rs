use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::*;
use crate::protocol::peers::{Activity, Peer, Reachability};
use crate::text::columns;
use crate::top::look::Look;
use crate::top::model::command::{Command, Outcome};
use crate::top::model::editor::Edit;
use crate::top::model::testing::{NOW, away, list, message, model, peer, read, snapshot};
use crate::top::model::{Action, Model};

fn drawn(model: &Model, colours: bool) -> Buffer {
    let look = Look { colours, zone: jiff::tz::TimeZone::UTC };
    let mut buffer = Buffer::empty(Rect::new(0, 0, model.width, model.height));
    draw(&mut buffer, model, &look, NOW);
    buffer
}

/// The lines of the picture, without the blanks at their ends.
fn lines(model: &Model) -> Vec<String> {
    let buffer = drawn(model, false);
    let line = |y| {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(columns(symbol)).unwrap().max(1);
        }
        line.trim_end().to_owned()
    };
    (0..buffer.area.height).map(line).collect()
}

fn peers() -> Vec<Peer> {
    let branch = |name: &str| Some(name.to_owned());
    vec![
        Peer {
            activity: Activity::Busy,
            branch: branch("main"),
            summary: "Works on the orders API.".to_owned(),
            unread: 3,
            oldest_unread: Some(NOW.shifted(-600_000)),
            ..peer("backend")
        },
        Peer {
            activity: Activity::Waiting,
            reach: Reachability::ChannelPresumed,
            branch: branch("checkout-page"),
            summary: "Builds the checkout page.".to_owned(),
            ..peer("frontend")
        },
        Peer { activity: Activity::Unknown, reach: Reachability::Tools, ..peer("infra") },
        away("old"),
    ]
}

fn with_messages(width: u16, height: u16) -> Model {
    let mut model = model(width, height);
    let question = message(1, "frontend", "backend", "Could you add a cursor\nto GET /orders?");
    let answer = message(20, "backend", "frontend", "Done: it returns next_cursor now.");
    model.observe(snapshot(peers(), vec![read(question), answer]));
    model
}

/// Opens the conversation of the selected peer.
fn open(model: &mut Model) {
    model.act(Action::Enter);
    let question = message(1, "frontend", "backend", "Could you add a cursor\nto GET /orders?");
    let mut answer = message(20, "backend", "frontend", "Done: it returns next_cursor now.");
    answer.reply_to = Some(question.id.clone());
    for command in model.take_commands() {
        if let Command::History { serial, .. } = command {
            let result = Ok(list(vec![read(question.clone()), answer.clone()], None));
            model.finish(Outcome::History { serial, result });
        }
    }
}

#[test]
fn peers_and_messages_at_80_by_24() {
    let expected = [
        " claude-peers  3 live, 1 away, 3 unread",
        " NAME     STATE   VIA      UNREAD DIRECTORY      BRANCH    SUMMARY",
        "▸backend  busy    channel       3 ~/srv/backend  main      Works on the orders…",
        " frontend waiting channel?      0 ~/srv/frontend checkout… Builds the checkout…",
        " infra    live    tools         0 ~/srv/infra",
        "─ Messages ──────────────────────────────────────────────────────────── newest ─",
        " 10:50:01  frontend → backend   read     Could you add a cursor to GET /orders?",
        " 10:50:20   backend → frontend  offered  Done: it returns next_cursor now.",
    ];
    let lines = lines(&with_messages(80, 24));
    assert_eq!(lines[..expected.len()], expected, "{}", lines.join("\n"));
    assert!(lines[expected.len()..23].iter().all(String::is_empty));
    assert_eq!(
        lines[23],
        " ↑↓ select  Enter conversation  s send  / search  Tab messages  ? help  q quit"
    );
}

#[test]
fn a_conversation_at_80_by_24() {
    let mut model = with_messages(80, 24);
    open(&mut model);
    let expected = [
        " claude-peers  3 live, 1 away, 3 unread",
        "─ backend  busy, channel  3 unread ───────────────────────── ~/srv/backend main ─",
        " Wednesday, 18 November 2026",
        " 10:50:01  frontend → backend                                   read 10:50:10",
        "   Could you add a cursor",
        "   to GET /orders?",
        "",
        " 10:50:20  backend → frontend                                         offered",
        "   answers: Could you add a cursor",
        "   Done: it returns next_cursor now.",
    ];
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = lines(&model);
    for (line, expected) in lines.iter().zip(expected) {
        let (line, expected) = (line.replace('─', " "), expected.replace('─', " "));
        assert_eq!(squeeze(&line), squeeze(&expected), "{}", lines.join("\n"));
    }
    model.act(Action::Write);
    model.act(Action::Edit(Edit::Paste("Thanks, ".to_owned())));
    let writing = self::lines(&model);
    assert_eq!(writing[22], " Thanks,", "{}", writing.join("\n"));
    assert!(writing[21].starts_with("─ To backend ─"), "{}", writing[21]);
    let look = Look { colours: true, zone: jiff::tz::TimeZone::UTC };
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    assert_eq!(draw(&mut buffer, &model, &look, NOW), Some(Position { x: 9, y: 22 }));
}

#[test]
fn a_wide_terminal_has_both_sides_and_details() {
    let mut model = with_messages(120, 40);
    open(&mut model);
    let text = lines(&model).join("\n");
    for part in [
        "NAME     STATE   VIA      UNREAD DIRECTORY",
        "│─ backend  busy, channel  3 unread ─",
        "─ backend ─",
        " busy, live since 10:06:40  claude-code 2.1.330",
        " 3 unread, the oldest from 10:56:40",
        " channel: gets pushes",
        "~/srv/backend  main",
        "Works on the orders API.",
        "Done: it returns next_cursor now.",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // Nobody's message is cut in the middle of the page.
    let wide = lines(&with_messages(200, 50)).join("\n");
    assert!(wide.contains("Could you add a cursor to GET /orders?"), "{wide}");
}

#[test]
fn an_empty_view_says_what_to_do() {
    let mut model = model(80, 24);
    assert!(lines(&model).join("\n").contains("Connecting to the broker"));
    model.observe(snapshot(vec![], vec![]));
    let text = lines(&model).join("\n");
    assert!(text.contains("No sessions yet.") && text.contains("claude-peers demo"), "{text}");
    assert!(text.contains("No messages yet."), "{text}");
    model.observe(snapshot(vec![away("old")], vec![]));
    let text = lines(&model).join("\n");
    assert!(text.contains("No session is live; one is away (a shows it)."), "{text}");
    let what = "The broker has stopped.".to_owned();
    model.lost(crate::top::model::command::Problem { what, hint: Some("r starts it.".to_owned()) });
    assert!(lines(&model)[0].contains("The broker has stopped. r starts it."));
}

#[test]
fn hostile_text_is_harmless_and_stays_in_its_columns() {
    let hostile =
        "\u{1b}[2J\u{202e}evil\u{9b}\r\n\t日本語の長い名前\u{1F469}\u{200D}\u{1F4BB}".repeat(5);
    let dangerous =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for (width, height) in [(80, 24), (120, 40), (200, 50), (40, 10)] {
        let mut model = model(width, height);
        let evil = Peer {
            summary: hostile.clone(),
            cwd: hostile.clone(),
            branch: Some(hostile.clone()),
            client_name: hostile.clone(),
            name: Some(hostile.clone()),
            ..peer("evil")
        };
        let mut sent = message(1, "evil", "api", &hostile);
        sent.from.name = Some(hostile.clone());
        sent.to.name = Some(hostile.clone());
        model.observe(snapshot(vec![evil.clone(), peer("api")], vec![sent.clone()]));
        let check = |model: &Model, what: &str| {
            for line in lines(model) {
                assert!(!line.contains(dangerous), "{what}: {line:?}");
                assert!(columns(&line) <= usize::from(width), "{what}: {line}");
            }
        };
        check(&model, "lists");
        // Select it: the last one by its name, or the first.
        for action in [Action::Step(crate::top::model::cursor::Step::Last), Action::Enter] {
            model.act(action);
        }
        for command in model.take_commands() {
            if let Command::History { serial, .. } = command {
                let result = Ok(list(vec![sent.clone()], None));
                model.finish(Outcome::History { serial, result });
            }
        }
        check(&model, "conversation");
        assert!(lines(&model).join("\n").contains("[U+202E]"), "it is visible");
        model.act(Action::Write);
        model.act(Action::Edit(Edit::Paste(hostile.clone())));
        check(&model, "writing");
        model.act(Action::Back);
        model.act(Action::Search);
        model.act(Action::Edit(Edit::Paste("evil".to_owned())));
        model.act(Action::Enter);
        for command in model.take_commands() {
            if let Command::Search { serial, .. } = command {
                let result = Ok(list(vec![sent.clone()], None));
                model.finish(Outcome::Search { serial, result });
            }
        }
        check(&model, "search");
        assert!(lines(&model).join("\n").contains("evil"));
    }
}

#[test]
fn every_size_can_be_drawn() {
    for width in (0..=130).step_by(5).chain([39, 119, 300]) {
        for height in (0..=30).chain([100]) {
            let mut model = with_messages(width, height);
            drawn(&model, true);
            open(&mut model);
            model.act(Action::Write);
            model.act(Action::Edit(Edit::Paste("a long text ".repeat(50))));
            drawn(&model, true);
            model.act(Action::Help);
            drawn(&model, true);
        }
    }
    let small = lines(&with_messages(30, 5)).join("\n");
    assert!(small.contains("Too small: 30x5.") && small.contains("40x10"), "{small}");
}

#[test]
fn without_colours_the_same_is_told_by_attributes() {
    let mut model = with_messages(80, 24);
    let colours = |model: &Model, wanted| {
        let buffer = drawn(model, wanted);
        buffer.content().iter().filter(|cell| ![Color::Reset].contains(&cell.fg)).count()
    };
    assert!(colours(&model, true) > 0);
    assert_eq!(colours(&model, false), 0);
    assert_eq!(lines(&model)[0], " claude-peers  3 live, 1 away, 3 unread");
    model.act(Action::Help);
    let text = lines(&model).join("\n");
    for key in ["search the history", "unconfirmed", "quit", "suspend"] {
        assert!(text.contains(key), "{key}\n{text}");
    }
}
