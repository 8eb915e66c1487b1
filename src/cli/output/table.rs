//! Aligned columns. On a terminal they fit its width, and the columns that can be cut end in `…`;
//! elsewhere every cell is whole, for programs.

use crate::text;

use super::look::{Ink, Look};

/// The blanks between two columns.
const GAP: usize = 2;

/// How a column gives way on a narrow terminal.
#[derive(Debug, Clone, Copy)]
enum Fit {
    /// Never cut: half an id is another one.
    Whole,
    /// Cut at the end, but not to less than these columns.
    Start(usize),
    /// Cut at the start, but not to less than these columns.
    End(usize),
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    fit: Fit,
    right: bool,
    shown_from: usize,
}

impl Column {
    const fn new(title: &'static str, fit: Fit) -> Self {
        Self { title, fit, right: false, shown_from: 0 }
    }

    /// A column that is never cut.
    #[must_use]
    pub const fn whole(title: &'static str) -> Self {
        Self::new(title, Fit::Whole)
    }

    /// A column of text, which is cut at its end.
    #[must_use]
    pub const fn text(title: &'static str, least: usize) -> Self {
        Self::new(title, Fit::Start(least))
    }

    /// A column of paths, which are cut at their start.
    #[must_use]
    pub const fn path(title: &'static str, least: usize) -> Self {
        Self::new(title, Fit::End(least))
    }

    /// Aligns the column to the right, as numbers are.
    #[must_use]
    pub const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Shows the column only on terminals of at least this width, and wherever there is no terminal.
    #[must_use]
    pub const fn from_width(mut self, width: usize) -> Self {
        self.shown_from = width;
        self
    }
}

/// A cell: text, which is made harmless, and what it means.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    ink: Option<Ink>,
    /// The blanks before its text.
    indent: usize,
}

impl Cell {
    #[must_use]
    pub fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink: Some(ink), indent: 0 }
    }

    /// Begins its text so many columns in.
    #[must_use]
    pub const fn indented(mut self, columns: usize) -> Self {
        self.indent = columns;
        self
    }

    /// Returns its text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ink: None, indent: 0 }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Returns the lines of a table, its header first.
#[must_use]
pub fn lines(columns: &[Column], rows: Vec<Vec<Cell>>, look: Look) -> Vec<String> {
    let is_shown = |column: &Column| look.width.is_none_or(|width| width >= column.shown_from);
    let shown: Vec<&Column> = columns.iter().filter(|column| is_shown(column)).collect();
    let rows: Vec<Vec<Cell>> = rows
        .into_iter()
        .map(|row| {
            let cells = row.into_iter().zip(columns).filter(|(_, column)| is_shown(column));
            cells
                .map(|(cell, _)| {
                    let line = text::terminal_line(&cell.text, usize::MAX);
                    Cell { text: " ".repeat(cell.indent) + &line, ..cell }
                })
                .collect()
        })
        .collect();
    let mut widths: Vec<usize> = shown.iter().map(|column| text::columns(column.title)).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(text::columns(&cell.text));
        }
    }
    if let Some(width) = look.width {
        narrow(&mut widths, &shown, width);
    }
    let header = shown.iter().map(|column| Cell::inked(column.title, Ink::Strong)).collect();
    [header].into_iter().chain(rows).map(|row| line(&row, &shown, &widths, look)).collect()
}

/// Takes columns from the widest cell that can be cut until all fit into the terminal, or none can
/// give more.
fn narrow(widths: &mut [usize], columns: &[&Column], terminal: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > terminal {
        let can_give = |at: &usize| match columns[*at].fit {
            Fit::Whole => false,
            Fit::Start(least) | Fit::End(least) => widths[*at] > least,
        };
        let Some(widest) = (0..widths.len()).filter(can_give).max_by_key(|at| widths[*at]) else {
            return;
        };
        widths[widest] -= 1;
    }
}

fn line(row: &[Cell], columns: &[&Column], widths: &[usize], look: Look) -> String {
    let mut line = String::new();
    let mut used = 0;
    let last = row.len().saturating_sub(1);
    for (at, ((cell, column), width)) in row.iter().zip(columns).zip(widths).enumerate() {
        let mut shown = match column.fit {
            Fit::End(_) => text::fit_end(&cell.text, *width),
            Fit::Start(_) => text::fit_start(&cell.text, *width),
            Fit::Whole => cell.text.clone(),
        };
        // Whatever does not fit at all ends with the terminal.
        if let Some(terminal) = look.width {
            shown = text::fit_start(&shown, terminal.saturating_sub(used));
        }
        let taken = text::columns(&shown);
        let blank = width.saturating_sub(taken);
        let painted = cell.ink.map_or_else(|| shown.clone(), |ink| look.paint(ink, &shown));
        if column.right {
            line.extend(std::iter::repeat_n(' ', blank));
            line.push_str(&painted);
        } else {
            line.push_str(&painted);
            if at != last {
                line.extend(std::iter::repeat_n(' ', blank));
            }
        }
        if at != last {
            line.extend(std::iter::repeat_n(' ', GAP));
        }
        used += width.max(&taken) + GAP;
    }
    line.truncate(line.trim_end_matches(' ').len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::whole("ID").from_width(60),
        Column::text("NAME", 8),
        Column::path("DIRECTORY", 10),
        Column::text("SUMMARY", 10),
    ];

    fn look(width: usize) -> Look {
        Look { width: Some(width), ..Look::PLAIN }
    }

    fn row(cells: [&str; 4]) -> Vec<Cell> {
        cells.into_iter().map(Cell::from).collect()
    }

    fn table(look: Look) -> Vec<String> {
        let rows = vec![
            row(["a1", "backend", "~/srv/backend", "Works on the orders API."]),
            row(["b2", "日本語の名前の長い仕事", "/very/deep/directory/of/a/project", "-"]),
        ];
        lines(&COLUMNS, rows, look)
    }

    #[test]
    fn columns_fit_the_terminal() {
        assert_eq!(
            table(look(50)),
            [
                "NAME              DIRECTORY        SUMMARY",
                "backend           ~/srv/backend    Works on the o…",
                "日本語の名前の…   …y/of/a/project  -",
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        for width in 1..120 {
            for line in table(look(width)) {
                assert!(text::columns(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn without_a_terminal_every_cell_is_whole() {
        let lines = table(Look::PLAIN);
        assert!(lines[0].starts_with("ID  NAME"), "{lines:?}");
        assert!(lines[2].contains("日本語の名前の長い仕事  /very/deep/directory/of/a/project  -"));
        assert!(!lines.concat().contains('…'));
    }

    #[test]
    fn a_cell_is_one_harmless_line_and_colour_takes_no_column() {
        let columns = [Column::whole("STATE"), Column::whole("UNREAD").right(), Column::whole("X")];
        let cells = vec![Cell::inked("li\u{1b}[31m\nve", Ink::Good), "7".into(), "end".into()];
        let look = Look { colour: true, ..look(80) };
        let lines = lines(&columns, vec![cells], look);
        assert_eq!(lines[1], "\u{1b}[32mli␛[31m ve\u{1b}[0m       7  end");
    }
}
