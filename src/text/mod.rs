//! Text written by other sessions ("peer text"), made harmless before anything shows it.
//!
//! The MCP server calls [`block`], [`line()`] and [`quoted`] for everything a model will read, the
//! command line [`terminal`] and [`terminal_line`] for what a person will read. Here is no I/O and
//! no trust: nothing may panic, take more than linear time, or let a text through because of who
//! wrote it. Text is cleaned where it is shown and never where it is stored, so every function here
//! leaves its own output alone when it is run twice (`quoted` excepted: it quotes again).

use std::borrow::Cow;
use std::fmt::Write as _;

mod chars;
pub mod message;
mod tags;
#[cfg(test)]
mod tests;

use chars::{is_hidden, is_ignorable, is_soft, visible};
use tags::defuse;

/// More blank lines than this in a row push our own words out of sight.
const BLANK_LINES: usize = 8;

/// How long a text is where a client written in JavaScript has a limit: in UTF-16 code units. A
/// character beyond the first plane, as most emoji are, counts twice there.
#[must_use]
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Text of many lines for a model: no control, hidden or bidi character, no tag, no endless gap.
#[must_use]
pub fn block(text: &str) -> String {
    fold_blank_lines(&defuse(&visible(text)))
}

/// The same on one line of at most `max_chars` characters, the `…` of a cut included.
///
/// For attribute values and list entries.
#[must_use]
pub fn line(text: &str, max_chars: usize) -> String {
    let mut line = defuse(&one_line(text));
    loop {
        // A cut can make a harmless word a tag's name (`<users` to `<user`), so look again. This
        // ends: each round but the last gives another `<` its backslash, for good.
        let cut = cut(&line, max_chars);
        line = defuse(&cut);
        if line == cut {
            return line;
        }
    }
}

/// Text of many lines for a model, each behind `| `, so that none can pass for one of ours.
#[must_use]
pub fn quoted(text: &str) -> String {
    let lines: Vec<String> = block(text).split('\n').map(|line| format!("| {line}")).collect();
    lines.join("\n")
}

/// Text of many lines for a person's terminal: like [`block`], but tags mean nothing there.
#[must_use]
pub fn terminal(text: &str) -> String {
    fold_blank_lines(&visible(text))
}

/// One line for a person's terminal: like [`line()`], but tags mean nothing there.
#[must_use]
pub fn terminal_line(text: &str, max_chars: usize) -> String {
    cut(&one_line(text), max_chars)
}

/// One line without the characters that [`line()`] makes visible: hidden ones are removed, and control
/// characters become spaces.
///
/// For text that should not have any, such as a model's summary.
#[must_use]
pub fn stripped_line(text: &str) -> String {
    let kept = text.chars().filter(|c| !is_hidden(*c) && !is_ignorable(*c));
    let plain: String = kept.map(|c| if c.is_control() { ' ' } else { c }).collect();
    single_spaces(&plain)
}

fn one_line(text: &str) -> String {
    single_spaces(&visible(text))
}

fn single_spaces(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// Cuts a line to at most `max_chars` characters, the `…` included.
#[must_use]
pub fn cut(line: &str, max_chars: usize) -> String {
    if line.chars().nth(max_chars).is_none() {
        return line.to_owned();
    }
    let Some(keep) = max_chars.checked_sub(1) else {
        return String::new();
    };
    let end = line.char_indices().nth(keep).map_or(line.len(), |(at, _)| at);
    // A joiner whose right half was cut off would be an invisible character at the end.
    let kept = line[..end].trim_end_matches(|c: char| c.is_whitespace() || is_soft(c));
    format!("{kept}…")
}

fn fold_blank_lines(text: &str) -> String {
    let mut out: Vec<Cow<str>> = Vec::new();
    let mut blank = 0;
    // The `None` behind the last line closes a gap that reaches to the end.
    for line in text.split('\n').map(Some).chain([None]) {
        if line.is_some_and(|line| line.trim().is_empty()) {
            blank += 1;
        } else {
            if blank > BLANK_LINES {
                out.truncate(out.len() - blank);
                out.push(format!("[{blank} blank lines]").into());
            }
            blank = 0;
        }
        out.extend(line.map(Cow::Borrowed));
    }
    out.join("\n")
}

/// JSON whose control, bidirectional and invisible characters are written as escapes: the same
/// value, harmless on a terminal.
#[must_use]
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0u16; 2];
    for c in json.chars() {
        if is_hidden(c) || (c.is_control() && c != '\n') {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}
