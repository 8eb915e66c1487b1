//! Which part of the terminal shows what.

use ratatui::layout::{Position, Rect};

/// The smallest terminal in which there is room for everything.
pub const SMALLEST: (u16, u16) = (40, 10);

/// From this width on, peers and messages stand side by side.
pub const WIDE: u16 = 120;

/// The height from which on there is room for the details of the selected peer below the list.
const TALL: u16 = 20;

/// The lines of these details.
const DETAILS: u16 = 9;

/// What there is to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many peers are listed.
    pub peers: usize,
    /// A conversation or a search is open, which needs the whole of a narrow terminal.
    pub is_open: bool,
    /// The lines of the text that is being typed; 0 if none is.
    pub editor: u16,
}

/// The parts. Those that are not shown are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Areas {
    pub header: Rect,
    /// The list of peers: a line of headings, and the peers.
    pub peers: Rect,
    /// The details of the selected peer.
    pub details: Rect,
    /// The line between the two sides.
    pub rule: Rect,
    /// Messages, a conversation, or a search: a line with its title, and the rest.
    pub content: Rect,
    /// What is typed.
    pub editor: Rect,
    pub help: Rect,
}

impl Areas {
    /// Returns the parts of a terminal; `None` if it is too small.
    #[must_use]
    pub fn of(width: u16, height: u16, shape: Shape) -> Option<Self> {
        if width < SMALLEST.0 || height < SMALLEST.1 {
            return None;
        }
        let row = |y, height| Rect { x: 0, y, width, height };
        let (header, help) = (row(0, 1), row(height - 1, 1));
        let body = row(1, height - 2);
        let mut areas = Self { header, help, ..Self::default() };
        if width >= WIDE {
            let left = (width * 9 / 20).clamp(56, 90);
            let details = if height >= TALL { DETAILS } else { 0 };
            areas.peers = Rect { width: left, height: body.height - details, ..body };
            let below = areas.peers.bottom();
            areas.details = Rect { y: below, width: left, height: details, ..body };
            areas.rule = Rect { x: left, width: 1, ..body };
            areas.content = Rect { x: left + 1, width: width - left - 1, ..body };
        } else if shape.is_open {
            areas.content = body;
        } else {
            let wanted = u16::try_from(shape.peers.saturating_add(1)).unwrap_or(u16::MAX);
            let most = (body.height * 11 / 20).max(3);
            areas.peers = Rect { height: wanted.clamp(4.min(most), most), ..body };
            let rest = body.height - areas.peers.height;
            areas.content = Rect { y: areas.peers.bottom(), height: rest, ..body };
        }
        let editor = shape.editor.min(areas.content.height.saturating_sub(3));
        areas.content.height -= editor;
        areas.editor = Rect { y: areas.content.bottom(), height: editor, ..areas.content };
        Some(areas)
    }

    /// The lines of the list of peers, without the headings.
    #[must_use]
    pub fn peer_rows(&self) -> Rect {
        below_title(self.peers)
    }

    /// The lines of the content, without its title.
    #[must_use]
    pub fn rows(&self) -> Rect {
        below_title(self.content)
    }
}

fn below_title(area: Rect) -> Rect {
    let title = area.height.min(1);
    Rect { y: area.y + title, height: area.height - title, ..area }
}

/// Returns the line of an area at a place of the terminal; `None` if the place lies outside of it.
#[must_use]
pub fn line_at(area: Rect, column: u16, row: u16) -> Option<usize> {
    area.contains(Position { x: column, y: row }).then(|| usize::from(row - area.y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_terminal_and_do_not_overlap() {
        for (width, height) in [(40, 10), (80, 24), (119, 40), (120, 15), (120, 40), (300, 100)] {
            for is_open in [false, true] {
                for (peers, editor) in [(0, 0), (3, 2), (200, 6), (usize::MAX, u16::MAX)] {
                    let areas = Areas::of(width, height, Shape { peers, is_open, editor }).unwrap();
                    let parts = [
                        areas.header,
                        areas.peers,
                        areas.details,
                        areas.rule,
                        areas.content,
                        areas.editor,
                        areas.help,
                    ];
                    let sum: u32 = parts.iter().map(|part| part.area()).sum();
                    assert_eq!(sum, u32::from(width) * u32::from(height), "{parts:?}");
                    for (at, part) in parts.iter().enumerate() {
                        assert!(parts[..at].iter().all(|other| !other.intersects(*part)));
                    }
                    assert!(areas.rows().height >= 2, "{areas:?}");
                }
            }
        }
        assert_eq!(Areas::of(39, 24, Shape::default()), None);
        assert_eq!(Areas::of(80, 9, Shape::default()), None);
    }

    #[test]
    fn a_click_hits_a_line() {
        let areas = Areas::of(80, 24, Shape { peers: 3, ..Shape::default() }).unwrap();
        assert_eq!(line_at(areas.peer_rows(), 5, 2), Some(0));
        assert_eq!(line_at(areas.peer_rows(), 5, 1), None);
        assert_eq!(line_at(areas.rows(), 79, areas.rows().y + 3), Some(3));
    }
}
