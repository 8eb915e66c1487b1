//! A conversation, and the message that is being written.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::protocol::Timestamp;
use crate::protocol::messages::MessageState;
use crate::text::columns;
use crate::top::look::{Ink, Look};
use crate::top::model::command::Problem;
use crate::top::model::conversation::{Conversation, INDENT, Line};
use crate::top::model::entry::Entry;
use crate::top::model::peers::PeerState;
use crate::top::model::{Focus, Model, Writing};
use crate::top::view::messages::ink;
use crate::top::view::paint::{Row, title};
use crate::top::wrap::wrap;

/// Draws the conversation.
pub fn conversation(
    buffer: &mut Buffer,
    look: &Look,
    (area, rows): (Rect, Rect),
    (model, open): (&Model, &Conversation),
    now: Timestamp,
) {
    let has_keys = model.focus == Focus::Content && model.writing.is_none();
    let (left, place) = heading(model, open);
    let right = match &open.older {
        _ if open.loading.is_some() => "reading…",
        _ if open.newer_missing => "End: newest",
        Some(_) if open.top == 0 => "↑ older",
        _ if !open.follows => "End: newest",
        _ => &place,
    };
    title(buffer, look, area, has_keys, &left, right);
    if let Some(problem) = &open.problem {
        Row::of(buffer, look, rows, 0).skip(1).put(Ink::Bad, &problem.line());
        return;
    }
    if open.entries.is_empty() && open.loading.is_none() {
        let text = "No messages yet. s writes one.";
        Row::of(buffer, look, rows, 0).skip(1).put(Ink::Dim, text);
    }
    let height = usize::from(rows.height);
    let inner = Rect { x: rows.x + 1, width: rows.width.saturating_sub(1), ..rows };
    for (at, line) in open.lines.iter().skip(open.top).take(height).enumerate() {
        let mut row = Row::of(buffer, look, inner, at);
        match line {
            Line::Day(day) => {
                row.put(Ink::Dim, &day.strftime("%A, %e %B %Y").to_string());
            }
            Line::Head(entry) => head(&mut row, look, &open.entries[*entry], open, now),
            Line::Answers(_, start) => {
                row.skip(INDENT).put(Ink::Dim, "answers: ").put(Ink::Dim, start);
            }
            Line::Text(_, text) => {
                row.skip(INDENT).put(Ink::Plain, text);
            }
            Line::Blank => {}
        }
    }
}

/// Returns the title of a conversation, and where the peer works.
fn heading(model: &Model, open: &Conversation) -> (Vec<(Ink, String)>, String) {
    let Some(peer) = model.peers.get(&open.peer) else {
        let name = open
            .entries
            .iter()
            .find_map(|entry| [&entry.from, &entry.to].into_iter().find(|end| end.id == open.peer));
        let name = name.map_or_else(|| open.peer.to_string(), |end| end.name.clone());
        return (vec![(Ink::Strong, name)], String::new());
    };
    let mut rest = format!("  {}", peer.state.as_str());
    if peer.is_live() {
        rest = format!("{rest}, {}", peer.reach.short());
    }
    let mut left = vec![(Ink::Strong, peer.name.clone()), (Ink::Plain, rest)];
    if peer.unread > 0 {
        left.push((Ink::Attention, format!("  {} unread", peer.unread)));
    }
    let place = if peer.state == PeerState::Inbox {
        "claude-peers inbox reads it".to_owned()
    } else {
        format!("{} {}", peer.directory, peer.branch).trim_end().to_owned()
    };
    (left, place)
}

fn head(row: &mut Row<'_>, look: &Look, entry: &Entry, open: &Conversation, now: Timestamp) {
    let is_found = open.found.as_ref() == Some(&entry.id);
    row.put(Ink::Dim, &look.clock(entry.sent_at)).skip(2);
    let name = if is_found { Ink::Title } else { Ink::Strong };
    row.put(name, &entry.from.name).put(Ink::Dim, " → ").put(name, &entry.to.name);
    if is_found {
        row.put(Ink::Title, " ◂ found");
    }
    let via = entry.via.map(|via| format!(" by {via}")).unwrap_or_default();
    let since = match entry.state {
        MessageState::Queued | MessageState::Unknown => String::new(),
        _ if entry.since == entry.sent_at => String::new(),
        _ => format!(" {}", look.when(entry.since, now)),
    };
    let (long, word) = (format!("{via}{since}"), entry.state.as_str());
    row.skip(2);
    if columns(word) + columns(&long) < row.room() {
        let padding = row.room() - columns(word) - columns(&long) - 1;
        row.skip(padding).put(ink(entry.state), word).put(Ink::Dim, &long);
    } else {
        row.right(ink(entry.state), word);
    }
}

/// Draws the message that is being written. Returns the place of the cursor.
pub fn editor(
    buffer: &mut Buffer,
    look: &Look,
    area: Rect,
    (model, writing): (&Model, &Writing),
) -> Option<Position> {
    if area.height < 2 {
        return None;
    }
    let to = model.peers.get(&writing.to).map_or(writing.to.as_str(), |peer| peer.name.as_str());
    let right = if writing.sending { "sending…" } else { "Enter sends, Alt-Enter: new line" };
    let left = [(Ink::Strong, format!("To {to}"))];
    title(buffer, look, area, true, &left, right);
    let width = usize::from(area.width);
    let problem = writing.problem.as_ref().map(Problem::line).unwrap_or_default();
    let problem = if problem.is_empty() { Vec::new() } else { wrap(&problem, width) };
    // The text has at least one line, however long the problem is.
    let most = usize::from(area.height) - 2;
    let problem = &problem[..problem.len().min(most)];
    for (line, (_, text)) in problem.iter().enumerate() {
        Row::of(buffer, look, area, 1 + line).put(Ink::Bad, text);
    }
    let (lines, (column, row)) = writing.editor.lines(width.saturating_sub(2));
    let first = 1 + problem.len();
    let height = usize::from(area.height) - first;
    let top = (row + 1).saturating_sub(height);
    for (line, text) in lines.iter().skip(top).take(height).enumerate() {
        Row::of(buffer, look, area, first + line).skip(1).put(Ink::Plain, text);
    }
    let x = area.x + 1 + u16::try_from(column).unwrap_or(0);
    let y = area.y + u16::try_from(first + row - top).unwrap_or(0);
    (!writing.sending && x < area.right()).then_some(Position { x, y })
}
