//! How output looks: the width of the terminal, colours, and how times are told. Decided once, here.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

use crate::config::{ColourChoice, Environment, colours};
use crate::text;

/// The width of a terminal that does not tell it.
const USUAL_WIDTH: usize = 80;

/// The fewest lines that a terminal is taken to have.
const USUAL_HEIGHT: usize = 24;

/// What the options of the command line say of the output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub colours: ColourChoice,
    /// Times instead of ages.
    pub absolute: bool,
}

/// What a text means, which on a terminal is a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// A heading, or what matters most in its line.
    Strong,
    /// Works as it should.
    Good,
    /// Asks for attention: unread messages, a warning.
    Attention,
    /// Does not work.
    Bad,
    /// Beside the point: what is away, has ended, or is only explained.
    Dim,
    /// What can be typed: a command, an id.
    Typed,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Good => "32",
            Self::Attention => "1;33",
            Self::Bad => "1;31",
            Self::Dim => "2",
            Self::Typed => "36",
        }
    }
}

/// How one of the two standard outputs looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The columns of the terminal; `None` if the output is no terminal, and nothing is cut.
    pub width: Option<usize>,
    pub colour: bool,
    /// The lines of the terminal.
    pub height: usize,
    /// Times instead of ages.
    pub absolute: bool,
}

impl Look {
    /// Plain text for a file or a program.
    pub const PLAIN: Self =
        Self { width: None, height: USUAL_HEIGHT, colour: false, absolute: false };

    /// Finds out how this output looks.
    ///
    /// `COLUMNS` overrides the width that a terminal tells, as it does for other programs.
    pub fn of(
        output: &(impl AsFd + std::io::IsTerminal),
        wanted: Wanted,
        environment: &Environment,
    ) -> Self {
        let is_terminal = output.is_terminal();
        let size = tcgetwinsize(output.as_fd()).ok().filter(|_| is_terminal);
        let told = || size.map(|size| usize::from(size.ws_col));
        let named = environment.text("COLUMNS").and_then(|columns| columns.trim().parse().ok());
        let known = |width: &usize| *width > 0;
        let width = named.filter(known).or_else(|| told().filter(known)).unwrap_or(USUAL_WIDTH);
        Self {
            width: is_terminal.then_some(width),
            height: size.map_or(0, |size| size.ws_row.into()).max(USUAL_HEIGHT),
            colour: colours(wanted.colours, is_terminal, environment),
            absolute: wanted.absolute,
        }
    }

    /// Whether the output is a terminal.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        self.width.is_some()
    }

    /// Returns lines of harmless text that begin with a word like "error: ", wrapped at the width of
    /// the terminal.
    #[must_use]
    pub fn paragraph(self, word: &str, ink: Ink, text: &str) -> String {
        let indent = text::columns(word);
        let lines = text::wrap(text, self.room(indent));
        let lines = lines.join(&format!("\n{}", " ".repeat(indent)));
        format!("{}{lines}\n", self.paint(ink, word))
    }

    /// Returns how many columns are left after an indentation: enough for a word.
    #[must_use]
    pub fn room(self, indent: usize) -> usize {
        self.width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(20))
    }

    /// Returns harmless text in its colour, if there are colours.
    #[must_use]
    pub fn paint(self, ink: Ink, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{}m{text}\u{1b}[0m", ink.code())
        } else {
            text.to_owned()
        }
    }
}
