//! What the commands print: lines, tables, times and JSON, and no panic on a closed pipe.

pub mod look;
pub mod messages;
pub mod pager;
pub mod table;
pub mod times;

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use crate::protocol::Timestamp;
use crate::sys::clock;
use crate::text;

use look::{Ink, Look};
use messages::Messages;
use pager::{Paged, Pager};
use table::{Cell, Column};

/// Where lines of the form "label  text" begin their text.
const LABEL: usize = 10;

/// Buffered standard output, and standard error beside it.
#[derive(Debug)]
pub struct Out {
    writer: BufWriter<Sink>,
    look: Look,
    messages: Messages,
    /// The pager to use for long output.
    pager: Option<Pager>,
    /// Whether only errors are wanted.
    hushed: bool,
    /// The home of this person, for which a terminal shows `~`.
    home: Option<String>,
}

#[derive(Debug)]
enum Sink {
    Stdout(Stdout),
    Paged(Paged),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Paged(paged) => paged.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Paged(paged) => paged.flush(),
        }
    }
}

impl Out {
    /// Output to standard output. `pager` is the one to use if a command asks for one.
    pub fn new(look: Look, messages: Messages, pager: Option<Pager>, home: Option<String>) -> Self {
        let writer = BufWriter::new(Sink::Stdout(io::stdout()));
        let pager = pager.filter(|_| look.is_terminal());
        let home = home.filter(|home| home.len() > 1);
        Self { writer, look, messages, pager, hushed: false, home }
    }

    /// Returns a path as people write it: on a terminal with `~` for their home.
    pub fn path(&self, path: &str) -> String {
        if self.is_terminal() { text::path_below(path, self.home()) } else { path.to_owned() }
    }

    /// Returns the home of this person.
    pub fn home(&self) -> Option<&str> {
        self.home.as_deref()
    }

    /// Whether standard output is a terminal.
    pub const fn is_terminal(&self) -> bool {
        self.look.is_terminal()
    }

    pub const fn look(&self) -> Look {
        self.look
    }

    /// Returns standard error: for the person, where standard output is for a program.
    pub const fn messages(&self) -> Messages {
        self.messages
    }

    /// Drops what is printed from now on: the person wants to know only what fails.
    pub const fn hush(&mut self) {
        self.hushed = true;
    }

    /// Shows what is printed from now on in the person's pager, if standard output is a terminal.
    pub fn page(&mut self) -> io::Result<()> {
        let Some(pager) = self.pager.take() else { return Ok(()) };
        self.flush()?;
        if let Some(paged) = pager.start() {
            self.writer = BufWriter::new(Sink::Paged(paged));
        }
        Ok(())
    }

    /// Ends the output. With a pager, returns when the person has left it.
    pub fn finish(&mut self) -> io::Result<()> {
        let flushed = self.flush();
        if let Sink::Paged(paged) = self.writer.get_mut() {
            paged.finish();
        }
        flushed
    }

    /// Prints a line, or text of several lines, made harmless for a terminal: all commands print by
    /// this, whatever the text is made of.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        self.painted(text::terminal(text.as_ref()))
    }

    /// Prints a line as it is, with colours. What it is made of is harmless already.
    pub fn painted(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        if self.hushed {
            return Ok(());
        }
        writeln!(self.writer, "{}", text.as_ref()).map_err(|error| unwritten(&error))
    }

    /// Prints a line in the colour of what it means.
    pub fn inked(&mut self, ink: Ink, text: impl AsRef<str>) -> io::Result<()> {
        let text = text::terminal(text.as_ref());
        self.painted(self.look.paint(ink, &text))
    }

    /// Prints a line that is wrapped at the width of the terminal. Its further lines, and those of
    /// text that has several, begin `indent` columns in.
    pub fn wrapped(&mut self, indent: usize, text: impl AsRef<str>) -> io::Result<()> {
        self.after("", indent, text)
    }

    /// Prints a label of that colour, and a text beside it as [`Self::wrapped`] does.
    pub fn field(&mut self, ink: Ink, label: &str, text: impl AsRef<str>) -> io::Result<()> {
        let padded = format!("{label:LABEL$}");
        let label = self.look.paint(ink, &padded);
        self.after(&label, LABEL, text)
    }

    /// Prints text after a beginning that takes `indent` columns, or none if it is empty.
    pub fn after(
        &mut self,
        beginning: &str,
        indent: usize,
        text: impl AsRef<str>,
    ) -> io::Result<()> {
        let mut text = text::terminal(text.as_ref());
        if self.is_terminal() {
            // A terminal would show as many columns as are left to the next stop.
            text = text.replace('\t', "    ");
        }
        let room = self.look.room(indent);
        let lines: Vec<String> = text.lines().flat_map(|line| text::wrap(line, room)).collect();
        let joined = lines.join(&format!("\n{}", " ".repeat(indent)));
        self.painted(format!("{beginning}{joined}"))
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).map_err(|error| unwritten(&error))
    }

    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.painted(text::escaped_json(&text))
    }

    /// Prints a value as JSON on one line.
    pub fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.painted(text::escaped_json(&text))
    }

    /// Prints a line, on a terminal cut at its width.
    pub fn fitted(&mut self, text: &str) -> io::Result<()> {
        let line = text::terminal(text);
        match self.look.width {
            Some(width) => self.painted(text::fit_start(&line, width)),
            None => self.painted(line),
        }
    }

    /// Returns the time of day of something that happens now: local on a terminal, RFC 3339 elsewhere.
    pub fn clock_time(&self, then: Timestamp) -> String {
        if self.is_terminal() {
            let local = times::local(then);
            match local.split_once(' ') {
                Some((_, time)) if !self.look.absolute => time.to_owned(),
                _ => local,
            }
        } else {
            then.to_string()
        }
    }

    /// Prints aligned columns, each cell as one harmless line; on a terminal they fit its width.
    pub fn table(&mut self, columns: &[Column], rows: Vec<Vec<Cell>>) -> io::Result<()> {
        let lines = table::lines(columns, rows, self.look);
        lines.iter().try_for_each(|line| self.painted(line))
    }

    /// Returns when something happened: an age or local time on a terminal, RFC 3339 elsewhere.
    pub fn when(&self, then: Timestamp) -> String {
        times::when(then, clock::now(), self.look)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output cannot be written: {error}"))
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
