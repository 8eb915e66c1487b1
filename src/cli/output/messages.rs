//! Standard error: notes, warnings and errors, for a person or as JSON.

use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::json;

use crate::text;

use super::look::{Ink, Look};

/// The longest note, in characters.
const MAX_NOTE: usize = 2_000;

/// Standard error.
///
/// Whatever is written to it is written if it can be: if it is closed, no reader is left.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    look: Look,
    json: bool,
}

impl Messages {
    /// With `json`, each message is a JSON object on a line of its own.
    #[must_use]
    pub const fn new(look: Look, json: bool) -> Self {
        Self { look, json }
    }

    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    #[must_use]
    pub const fn look(self) -> Look {
        self.look
    }

    /// Writes a remark for the person: standard output is what scripts read.
    pub fn note(self, text: &str) {
        if self.json {
            self.object("note", &text);
        } else {
            let text = text::terminal_line(text, MAX_NOTE);
            let lines = text::wrap(&text, self.look.room(0));
            let painted = lines.iter().map(|line| self.look.paint(Ink::Dim, line) + "\n");
            self.write(&painted.collect::<String>());
        }
    }

    /// Writes why the command waits.
    pub fn progress(self, what: &str) {
        self.note(&format!("the broker is {what}; waiting for it"));
    }

    /// Writes a JSON object with this one key, on a line.
    pub fn object(self, key: &str, value: &impl Serialize) {
        self.write(&format!("{}\n", text::escaped_json(&json!({ key: value }).to_string())));
    }

    /// Writes harmless lines as they are.
    pub fn write(self, lines: &str) {
        // Not `eprint!`, which panics where standard error is closed.
        let _ = io::stderr().write_all(lines.as_bytes());
    }
}
