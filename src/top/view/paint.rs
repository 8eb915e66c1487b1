//! Lines and cells of the picture.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::text::{columns, fit_start};
use crate::top::look::{Ink, Look};

/// One line of the terminal, written from left to right.
pub struct Row<'a> {
    buffer: &'a mut Buffer,
    look: &'a Look,
    x: u16,
    y: u16,
    end: u16,
}

impl<'a> Row<'a> {
    /// The line of an area with this number from its top; of no width if the area is not that high.
    pub fn of(buffer: &'a mut Buffer, look: &'a Look, area: Rect, line: usize) -> Self {
        let y = usize::from(area.y) + line;
        let is_inside = line < usize::from(area.height);
        let end = if is_inside { area.right() } else { area.x };
        Self { buffer, look, x: area.x, y: u16::try_from(y).unwrap_or(0), end }
    }

    /// How many columns are left.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::from(self.end - self.x)
    }

    /// Writes harmless text, cut to the columns that are left.
    pub fn put(&mut self, ink: Ink, text: &str) -> &mut Self {
        self.styled(self.look.style(ink), text)
    }

    /// Writes text with one more attribute.
    pub fn put_with(&mut self, ink: Ink, modifier: Modifier, text: &str) -> &mut Self {
        self.styled(self.look.style(ink).add_modifier(modifier), text)
    }

    fn styled(&mut self, style: Style, text: &str) -> &mut Self {
        if self.x < self.end {
            let text = fit_start(text, self.room());
            let (x, _) = self.buffer.set_stringn(self.x, self.y, text, self.room(), style);
            self.x = x.min(self.end);
        }
        self
    }

    /// Writes a cell of this width, and a gap after it.
    pub fn cell(&mut self, ink: Ink, text: &str, width: usize, gap: usize) -> &mut Self {
        let text = fit_start(text, width);
        let padding = width - columns(&text) + gap;
        self.put(ink, &text).skip(padding)
    }

    /// Writes a cell whose text stands at its right end.
    pub fn cell_right(&mut self, ink: Ink, text: &str, width: usize, gap: usize) -> &mut Self {
        let text = fit_start(text, width);
        let padding = width - columns(&text);
        self.skip(padding).put(ink, &text).skip(gap)
    }

    pub fn skip(&mut self, columns: usize) -> &mut Self {
        let columns = u16::try_from(columns.min(self.room())).unwrap_or(0);
        self.x += columns;
        self
    }

    /// Writes text at the right end, if there is room for it.
    pub fn right(&mut self, ink: Ink, text: &str) -> &mut Self {
        let wide = columns(text);
        if wide < self.room() {
            let padding = self.room() - wide;
            self.skip(padding).put(ink, text);
        }
        self
    }
}

/// Draws a title across an area's first line: `─ Messages ─────── newest ─`.
pub fn title(
    buffer: &mut Buffer,
    look: &Look,
    area: Rect,
    has_keys: bool,
    left: &[(Ink, String)],
    right: &str,
) {
    if area.height == 0 {
        return;
    }
    let rule = "─".repeat(area.width.into());
    Row::of(buffer, look, area, 0).put(Ink::Dim, &rule);
    let right_wide = if right.is_empty() { 0 } else { columns(right) + 3 };
    let inner = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let left_wide: usize = left.iter().map(|(_, text)| columns(text)).sum::<usize>() + 2;
    let has_room = left_wide + right_wide <= inner.width.into();
    let mut row = Row::of(buffer, look, inner, 0);
    row.put(Ink::Plain, " ");
    for (at, (ink, text)) in left.iter().enumerate() {
        let is_name = at == 0;
        let ink = if is_name && has_keys { Ink::Title } else { *ink };
        row.put(ink, text);
    }
    row.put(Ink::Plain, " ");
    if has_room && !right.is_empty() {
        let at = inner.right().saturating_sub(u16::try_from(right_wide).unwrap_or(0)) + 1;
        let place = Rect { x: at, width: inner.right() - at, ..inner };
        Row::of(buffer, look, place, 0).put(Ink::Dim, &format!(" {right} "));
    }
}
