//! Standard output: aligned tables, JSON, and no panic on a closed pipe.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::protocol::Timestamp;
use crate::text;

use crate::cli::error::CliError;
use crate::sys::clock;

/// Buffered standard output.
pub struct Out {
    writer: BufWriter<Stdout>,
}

impl Out {
    pub fn stdout() -> Self {
        Self { writer: BufWriter::new(io::stdout()) }
    }

    /// Whether standard output is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.writer.get_ref().is_terminal()
    }

    /// Prints a line, or text of several lines, made harmless for a terminal: all commands print by
    /// this, whatever the text is made of.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        self.painted(text::terminal(text.as_ref()))
    }

    /// Prints a line as it is, with colours. What it is made of is harmless already.
    pub fn painted(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.writer, "{}", text.as_ref()).map_err(|error| unwritten(&error))
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).map_err(|error| unwritten(&error))
    }

    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value)?;
        Ok(self.painted(text::escaped_json(&text))?)
    }

    /// Prints aligned columns. No cell is cut, and each is one harmless line.
    pub fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header.iter().copied());
        for row in rows {
            table.add_row(row.iter().map(|cell| text::terminal_line(cell, usize::MAX)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(|error| unwritten(&error))
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes).map_err(|error| unwritten(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }
}

fn unwritten(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))
}

/// Prints a line on standard error: for the person at the terminal, where standard output is for a
/// program.
///
/// Not by `eprintln!`, which panics when standard error is closed.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text::terminal_line(text, 2_000));
}

/// Returns the text of a table cell: one harmless line that is never empty, so that `awk` finds
/// each column.
pub fn cell(text: &str, max_chars: usize) -> String {
    let line = text::terminal_line(text, max_chars);
    if line.is_empty() { "-".to_owned() } else { line }
}

/// Returns an id as one harmless word. One of a database that another program wrote may be any text.
pub fn id(id: impl Display) -> String {
    cell(&id.to_string(), 120)
}

/// Returns the time since `then` as "12s", "5m", "3h" or "2d".
pub fn ago(then: Timestamp) -> String {
    then.age(clock::now())
}
