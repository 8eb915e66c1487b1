//! The picture: a function of the model, the look and the time. It changes nothing.

mod conversation;
mod help;
mod messages;
mod paint;
mod peers;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::protocol::Timestamp;
use crate::top::layout::SMALLEST;
use crate::top::look::{Ink, Look};
use crate::top::model::{Connection, Content, Model};
use paint::Row;

/// Draws the model. Returns the place of the cursor where text is typed.
pub fn draw(buffer: &mut Buffer, model: &Model, look: &Look, now: Timestamp) -> Option<Position> {
    let whole = Rect { x: 0, y: 0, width: model.width, height: model.height };
    let whole = whole.intersection(buffer.area);
    let Some(areas) = model.areas().filter(|_| whole.width == model.width) else {
        too_small(buffer, look, whole);
        return None;
    };
    header(buffer, look, areas.header, model);
    if model.help {
        let area = Rect { y: 1, height: whole.height - 1, ..whole };
        help::page(buffer, look, area);
        return None;
    }
    peers::list(buffer, look, areas.peers, areas.peer_rows(), model);
    peers::details(buffer, look, areas.details, model, now);
    for line in 0..usize::from(areas.rule.height) {
        Row::of(buffer, look, areas.rule, line).put(Ink::Dim, "│");
    }
    let content = (areas.content, areas.rows());
    let mut cursor = None;
    match (model.content, &model.conversation, &model.search) {
        (Content::Conversation, Some(open), _) => {
            conversation::conversation(buffer, look, content, (model, open), now);
        }
        (Content::Search, _, Some(search)) => {
            cursor = messages::search(buffer, look, content, (model, search), now);
        }
        _ => messages::feed(buffer, look, content, model, now),
    }
    if let Some(writing) = &model.writing {
        cursor = conversation::editor(buffer, look, areas.editor, (model, writing));
    }
    help::line(buffer, look, areas.help, model);
    cursor
}

/// Draws the first line: how many peers there are, or that the broker is gone.
fn header(buffer: &mut Buffer, look: &Look, area: Rect, model: &Model) {
    let mut row = Row::of(buffer, look, area, 0);
    row.skip(1).put(Ink::Strong, "claude-peers").skip(2);
    if let Connection::Lost(problem) = &model.connection {
        row.put(Ink::Bad, &problem.line());
        return;
    }
    let (live, away, unread) = model.peers.counts();
    row.put(Ink::Plain, &format!("{live} live, {away} away, "));
    let ink = if unread == 0 { Ink::Plain } else { Ink::Attention };
    row.put(ink, &format!("{unread} unread"));
    if model.connection == Connection::Connecting {
        row.right(Ink::Attention, "connecting… ");
    }
}

fn too_small(buffer: &mut Buffer, look: &Look, area: Rect) {
    let (width, height) = SMALLEST;
    let text = [
        format!("Too small: {}x{}.", area.width, area.height),
        format!("At least {width}x{height} is needed."),
        "q quits.".to_owned(),
    ];
    for (line, text) in text.iter().enumerate() {
        Row::of(buffer, look, area, line).put(Ink::Plain, text);
    }
}
