//! Lists of messages: as they flow, and as a search found them.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

use crate::protocol::Timestamp;
use crate::protocol::messages::MessageState;
use crate::text::columns;
use crate::top::look::{Ink, Look};
use crate::top::matches::matches;
use crate::top::model::entry::Entry;
use crate::top::model::search::Search;
use crate::top::model::{Connection, Focus, Model, results_height};
use crate::top::view::paint::{Row, title};

/// The colour of a message's state.
pub const fn ink(state: MessageState) -> Ink {
    match state {
        MessageState::Queued => Ink::Attention,
        MessageState::Offered => Ink::Active,
        MessageState::Read => Ink::Good,
        MessageState::Expired | MessageState::Unconfirmed => Ink::Bad,
        MessageState::Unknown => Ink::Dim,
    }
}

/// The widest name of a sender or recipient in a list.
const MAX_NAME: usize = 16;

/// The widths of what stands before the text, which are those of what is seen.
#[derive(Default)]
struct Widths {
    when: usize,
    from: usize,
    to: usize,
    state: usize,
}

impl Widths {
    fn of<'a>(entries: impl Iterator<Item = (&'a Entry, &'a str)>, width: usize) -> Self {
        let most = MAX_NAME.min((width / 6).max(6));
        let mut widths = Self { state: 7, ..Self::default() };
        for (entry, when) in entries {
            widths.when = widths.when.max(columns(when));
            widths.from = widths.from.max(columns(&entry.from.name).min(most));
            widths.to = widths.to.max(columns(&entry.to.name).min(most));
            widths.state = widths.state.max(columns(entry.state.as_str()));
        }
        widths
    }
}

fn before_text(row: &mut Row<'_>, entry: &Entry, when: &str, widths: &Widths) {
    row.cell(Ink::Dim, when, widths.when, 2);
    row.cell_right(Ink::Strong, &entry.from.name, widths.from, 1);
    row.put(Ink::Dim, "→ ").cell(Ink::Strong, &entry.to.name, widths.to, 2);
    row.cell(ink(entry.state), entry.state.as_str(), widths.state, 2);
}

/// Draws the messages as they flow.
pub fn feed(
    buffer: &mut Buffer,
    look: &Look,
    (area, rows): (Rect, Rect),
    model: &Model,
    now: Timestamp,
) {
    let has_keys = model.focus == Focus::Content;
    let feed = &model.feed;
    let right = match (feed.entries().len(), feed.follows()) {
        (0, _) => String::new(),
        (_, true) => "newest".to_owned(),
        (count, false) => format!("{} of {count}; End: newest", feed.cursor().selected + 1),
    };
    title(buffer, look, area, has_keys, &[(Ink::Strong, "Messages".to_owned())], &right);
    if feed.entries().is_empty() && model.connection == Connection::Live {
        Row::of(buffer, look, rows, 0).skip(1).put(Ink::Dim, "No messages yet.");
        return;
    }
    let cursor = feed.cursor();
    let seen: Vec<(usize, &Entry, String)> = feed
        .entries()
        .iter()
        .enumerate()
        .skip(cursor.offset)
        .take(rows.height.into())
        .map(|(at, entry)| (at, entry, look.when(entry.sent_at, now)))
        .collect();
    let width = usize::from(area.width);
    let widths = Widths::of(seen.iter().map(|(_, entry, when)| (*entry, when.as_str())), width);
    for (line, (at, entry, when)) in seen.iter().enumerate() {
        let mut row = Row::of(buffer, look, rows, line);
        row.skip(1);
        before_text(&mut row, entry, when, &widths);
        row.put(Ink::Plain, &entry.text);
        if *at == cursor.selected && (has_keys || !feed.follows()) {
            let y = rows.y + u16::try_from(line).unwrap_or(0);
            buffer.set_style(Rect { y, height: 1, ..rows }, Look::selected(has_keys));
        }
    }
}

/// Draws a search. Returns the place of the cursor.
pub fn search(
    buffer: &mut Buffer,
    look: &Look,
    (area, rows): (Rect, Rect),
    (model, search): (&Model, &Search),
    now: Timestamp,
) -> Option<Position> {
    let has_keys = model.focus == Focus::Content;
    let mut right = match (&search.words, search.results.len(), &search.next) {
        (None, ..) => String::new(),
        _ if search.loading.is_some() => "searching…".to_owned(),
        (_, count, Some(_)) => format!("the newest {count}; more below"),
        (_, 0, None) => "nothing found".to_owned(),
        (_, 1, None) => "1 found".to_owned(),
        (_, count, None) => format!("{count} found"),
    };
    if search.unindexed > 0 {
        right = format!("{right}; the index lacks {} messages yet", search.unindexed);
    }
    title(buffer, look, area, has_keys, &[(Ink::Strong, "Search".to_owned())], &right);
    let cursor = words(buffer, look, rows, search);
    let below = Rect { y: rows.y + 1, height: rows.height.saturating_sub(1), ..rows };
    if let Some(problem) = &search.problem {
        Row::of(buffer, look, below, 0).skip(1).put(Ink::Bad, &problem.line());
        return cursor;
    }
    let words = search.words.as_deref().unwrap_or_default();
    if words.is_empty() {
        let text = "Messages with all of these words, in any order. Enter looks for them.";
        Row::of(buffer, look, below, 0).skip(1).put(Ink::Dim, text);
        return cursor;
    }
    results(buffer, look, below, (search, words, has_keys), now);
    cursor
}

/// Draws the line with the words that are looked for.
fn words(buffer: &mut Buffer, look: &Look, rows: Rect, search: &Search) -> Option<Position> {
    let mut row = Row::of(buffer, look, rows, 0);
    row.skip(1).put(Ink::Key, "/ ");
    if !search.typing {
        row.put(Ink::Strong, search.words.as_deref().unwrap_or_default());
        return None;
    }
    // Of a long text the end is seen.
    let room = row.room();
    let (lines, (column, line)) = search.editor.lines(room);
    let x = rows.x + 3 + u16::try_from(column).unwrap_or(0);
    row.put(Ink::Plain, lines.get(line).copied().unwrap_or_default());
    (rows.height > 0 && x < rows.right()).then_some(Position { x, y: rows.y })
}

fn results(
    buffer: &mut Buffer,
    look: &Look,
    area: Rect,
    (search, words, has_keys): (&Search, &str, bool),
    now: Timestamp,
) {
    let seen = search.results.iter().enumerate().skip(search.cursor.offset);
    let height = results_height(usize::from(area.height) + 1);
    for (line, (at, entry)) in seen.take(height).enumerate() {
        let when = look.when(entry.sent_at, now);
        let one = std::iter::once((entry, when.as_str()));
        let widths = Widths::of(one, usize::MAX);
        let is_selected = at == search.cursor.selected;
        let mut row = Row::of(buffer, look, area, 2 * line);
        row.put(Ink::Plain, if is_selected { "▸" } else { " " });
        before_text(&mut row, entry, &when, &widths);
        found(&mut Row::of(buffer, look, area, 2 * line + 1), &entry.text, words);
        if is_selected {
            let y = area.y + u16::try_from(2 * line).unwrap_or(0);
            let style = Look::selected(has_keys && !search.typing);
            buffer.set_style(Rect { y, height: 1, ..area }, style);
        }
    }
}

/// Writes text in which the words that were found stand out.
fn found(row: &mut Row<'_>, text: &str, words: &str) {
    row.skip(3);
    let mut end = 0;
    for range in matches(text, words) {
        row.put(Ink::Plain, &text[end..range.start]);
        row.put_with(Ink::Attention, Modifier::UNDERLINED, &text[range.clone()]);
        end = range.end;
    }
    row.put(Ink::Plain, &text[end..]);
}
