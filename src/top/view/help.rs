//! The line of keys at the bottom, and the page of all keys and words.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::protocol::vocabulary::{MESSAGE_STATES, WAYS_TO_REACH};
use crate::text::columns;
use crate::top::look::{Ink, Look};
use crate::top::model::{Content, Focus, Model};
use crate::top::view::paint::{Row, title};

/// Keys with what they do, the most important first.
fn keys(model: &Model) -> Vec<(&'static str, &'static str)> {
    if model.writing.is_some() {
        return vec![("Enter", "send"), ("Alt-Enter", "new line"), ("Esc", "keep for later")];
    }
    if model.is_typing() {
        return vec![("Enter", "search"), ("Esc", "back")];
    }
    let mut keys = match (model.focus, model.content) {
        (Focus::Peers, Content::Feed) => {
            vec![("↑↓", "select"), ("Enter", "conversation"), ("s", "send"), ("/", "search")]
        }
        (Focus::Peers, _) => {
            vec![
                ("↑↓", "select"),
                ("Enter", "read"),
                ("s", "send"),
                ("/", "search"),
                ("Esc", "back"),
            ]
        }
        (_, Content::Feed) => {
            vec![("↑↓", "select"), ("Enter", "conversation"), ("s", "answer"), ("/", "search")]
        }
        (_, Content::Conversation) => {
            vec![("↑↓", "scroll"), ("s", "send"), ("/", "search"), ("Esc", "back")]
        }
        (_, Content::Search) => {
            vec![("↑↓", "select"), ("Enter", "conversation"), ("/", "words"), ("Esc", "back")]
        }
    };
    let has_panes = model.areas().is_some_and(|areas| areas.peers.height > 0);
    if has_panes {
        let other = if model.focus == Focus::Peers { "messages" } else { "peers" };
        keys.push(("Tab", other));
    }
    if model.focus == Focus::Peers {
        keys.push(("a", if model.peers.all { "live only" } else { "away" }));
    }
    keys.extend([("?", "help"), ("q", "quit")]);
    keys
}

/// Draws the line of keys, or the notice in its place.
pub fn line(buffer: &mut Buffer, look: &Look, area: Rect, model: &Model) {
    let mut row = Row::of(buffer, look, area, 0);
    row.skip(1);
    if let Some(notice) = &model.notice {
        let ink = if notice.is_problem { Ink::Bad } else { Ink::Good };
        row.put(ink, &notice.text);
        return;
    }
    let keys = keys(model);
    // Help and quit are always there; those before them make way.
    let wide = |key: &(&str, &str)| columns(key.0) + columns(key.1) + 3;
    let mut room = row.room() + 2;
    let last = keys.len().saturating_sub(2);
    room = room.saturating_sub(keys[last..].iter().map(wide).sum());
    for (at, key) in keys.iter().enumerate() {
        if at < last {
            let Some(rest) = room.checked_sub(wide(key)) else { continue };
            room = rest;
        }
        row.put(Ink::Key, key.0).put(Ink::Dim, " ").put(Ink::Plain, key.1).skip(2);
    }
}

const KEYS: [(&str, &str); 14] = [
    ("↑ ↓  j k", "select, scroll"),
    ("PgUp PgDn", "a page (Ctrl-U, Ctrl-D)"),
    ("Home End", "first, newest (g G)"),
    ("Tab", "other pane"),
    ("Enter", "open (l, →)"),
    ("Esc", "back (h, ←)"),
    ("s", "send, answer"),
    ("Alt-Enter", "new line in a message"),
    ("/", "search the history"),
    ("a", "list peers that are away"),
    ("r", "connect, start the broker"),
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend"),
    ("q  Ctrl-C", "quit"),
];

/// What a peer does. The other words come with their meanings.
const PEERS: [(&str, &str); 3] = [
    ("busy, idle", "a turn is under way; it is ready for a prompt"),
    ("waiting", "a dialog is open: it waits for its person"),
    ("live", "it is there, and nothing tells what it does"),
];

/// Draws the page of help.
pub fn page(buffer: &mut Buffer, look: &Look, area: Rect) {
    for y in area.y..area.bottom() {
        let blank = " ".repeat(area.width.into());
        Row::of(buffer, look, Rect { y, height: 1, ..area }, 0).put(Ink::Plain, &blank);
    }
    title(buffer, look, area, true, &[(Ink::Strong, "Keys".to_owned())], "any key: back");
    let is_wide = area.width >= 70;
    let half = KEYS.len().div_ceil(2);
    let rows = if is_wide { half } else { KEYS.len() };
    for (line, first) in KEYS.iter().take(rows).enumerate() {
        let mut row = Row::of(buffer, look, area, 1 + line);
        row.skip(1);
        let second = KEYS.get(half + line).filter(|_| is_wide);
        for (key, what) in std::iter::once(first).chain(second) {
            row.cell(Ink::Key, key, 10, 1).cell(Ink::Plain, what, 25, 2);
        }
    }
    let below = 1 + u16::try_from(rows).unwrap_or(0);
    if below + 2 > area.height {
        return;
    }
    words(buffer, look, Rect { y: area.y + below, height: area.height - below, ..area });
}

/// Draws what the words mean.
fn words(buffer: &mut Buffer, look: &Look, area: Rect) {
    title(buffer, look, area, false, &[(Ink::Strong, "Words".to_owned())], "");
    let ways = WAYS_TO_REACH.map(|way| (way.short(), way.meaning()));
    let states = MESSAGE_STATES.map(|state| (state.as_str(), state.meaning()));
    let all = PEERS.into_iter().chain(ways).chain(states);
    let mut last = 1;
    for (line, (word, meaning)) in all.enumerate() {
        let mut row = Row::of(buffer, look, area, 1 + line);
        row.skip(1).cell(Ink::Strong, word, 11, 2).put(Ink::Plain, meaning);
        last = line + 2;
    }
    let mouse = "The mouse selects, opens and scrolls. Shift selects text for the clipboard.";
    Row::of(buffer, look, area, last).skip(1).put(Ink::Dim, mouse);
}
