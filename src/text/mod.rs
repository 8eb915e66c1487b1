//! Makes text of other sessions ("peer text") harmless before it is shown.
//!
//! The MCP server calls [`block`], [`line()`] and [`quoted`] for all text that a model reads, the
//! command line [`terminal`] and [`terminal_line`] for text that a person reads. There is no I/O here,
//! and no trusted author: no function may panic or take more than linear time. Text is cleaned where
//! it is shown and never where it is stored, so every function is idempotent, except for `quoted`,
//! which quotes again.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

mod chars;
mod columns;
pub mod message;
mod plain;
mod tags;
#[cfg(test)]
mod tests;

pub use columns::{columns, fit_end, fit_start, path_below, wrap};

use chars::{is_hidden, is_ignorable, is_soft, visible};
use plain::{has_single_spaces, is_plain};
use tags::escape_tags;

/// The most blank lines in a row. More could push our own words out of sight.
const BLANK_LINES: usize = 8;

/// The longest id that is shown, in characters.
const MAX_ID: usize = 120;

/// Returns the length of a text in UTF-16 code units, as clients written in JavaScript count.
///
/// A character beyond the first plane, such as most emoji, counts twice.
#[must_use]
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Returns text of many lines for a model: without control, hidden and bidi characters, tags, and long
/// gaps.
#[must_use]
pub fn block(text: &str) -> String {
    if is_plain(text) {
        return fold_blank_lines(text);
    }
    fold_blank_lines(&escape_tags(&visible(text)))
}

/// Returns text for a model on one line of at most `max_chars` characters, including the `…` of a cut.
///
/// For attribute values and list entries.
#[must_use]
pub fn line(text: &str, max_chars: usize) -> String {
    if text.len() <= max_chars && is_plain(text) && has_single_spaces(text) {
        return text.to_owned();
    }
    let mut line = escape_tags(&one_line(text));
    loop {
        // A cut can turn a harmless word into a tag's name (`<users` to `<user`), so it is checked
        // again. The loop ends, because each round but the last adds a backslash to another `<`.
        let cut = cut(&line, max_chars);
        line = escape_tags(&cut);
        if line == cut {
            return line;
        }
    }
}

/// Returns an id for a model. Ours are plain, but those of a database that another program wrote may be
/// any text.
#[must_use]
pub fn id(id: impl Display) -> String {
    line(&id.to_string(), MAX_ID)
}

/// Returns a path for a model on one line of at most `max_chars` characters, including the `…` of a cut.
///
/// It is cut in front: the end of a path tells more than its beginning.
#[must_use]
pub fn path(path: &str, max_chars: usize) -> String {
    let line = line(path, usize::MAX);
    let Some(surplus) = line.chars().count().checked_sub(max_chars).filter(|n| *n > 0) else {
        return line;
    };
    let at = line.char_indices().nth(surplus + 1).map_or(line.len(), |(at, _)| at);
    // A joiner at the beginning would be an invisible character.
    format!("…{}", line[at..].trim_start_matches(|c: char| c.is_whitespace() || is_soft(c)))
}

/// Returns text of many lines for a model, each after `| `, so that none looks like a line of ours.
#[must_use]
pub fn quoted(text: &str) -> String {
    let lines: Vec<String> = block(text).split('\n').map(|line| format!("| {line}")).collect();
    lines.join("\n")
}

/// Returns text of many lines for a terminal: like [`block`], but with tags as they are.
#[must_use]
pub fn terminal(text: &str) -> String {
    fold_blank_lines(&visible(text))
}

/// Returns one line for a terminal: like [`line()`], but with tags as they are.
#[must_use]
pub fn terminal_line(text: &str, max_chars: usize) -> String {
    cut(&one_line(text), max_chars)
}

/// Returns one line without hidden characters; control characters become spaces.
///
/// For text that should have neither, such as a model's summary.
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

/// Cuts a line to at most `max_chars` characters, including the `…`.
#[must_use]
pub fn cut(line: &str, max_chars: usize) -> String {
    if line.chars().nth(max_chars).is_none() {
        return line.to_owned();
    }
    let Some(keep) = max_chars.checked_sub(1) else {
        return String::new();
    };
    let end = line.char_indices().nth(keep).map_or(line.len(), |(at, _)| at);
    // A joiner without a character after it would be an invisible character at the end.
    let kept = line[..end].trim_end_matches(|c: char| c.is_whitespace() || is_soft(c));
    format!("{kept}…")
}

/// Returns where the first part of a text ends that takes at most `max` bytes as quoted lines in JSON.
///
/// The part ends with a line or a word, where one ends near its end, and never in the middle of a
/// character that is joined of several. It holds at least one character.
#[must_use]
pub fn part_end(text: &str, max: usize) -> usize {
    let mut used = 0;
    let surplus = text.char_indices().find(|(_, c)| {
        used += match c {
            // As `\n` and `| `.
            '\n' => 4,
            '"' | '\\' => 2,
            _ => c.len_utf8(),
        };
        used > max
    });
    let Some((end, _)) = surplus else { return text.len() };
    let near = (0..=end - end / 4).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let break_after = |c: char| text[near..end].rfind(c).map(|at| near + at + 1);
    let mut end = break_after('\n').or_else(|| break_after(' ')).unwrap_or(end);
    while end > 0 && (text[end..].starts_with(is_soft) || text[..end].ends_with(is_soft)) {
        end -= text[..end].chars().next_back().map_or(1, char::len_utf8);
    }
    end.max(text.chars().next().map_or(0, char::len_utf8))
}

fn fold_blank_lines(text: &str) -> String {
    if text.bytes().filter(|byte| *byte == b'\n').count() < BLANK_LINES {
        // There are too few lines for a gap.
        return text.to_owned();
    }
    let mut out: Vec<Cow<str>> = Vec::new();
    let mut blank = 0;
    // The `None` after the last line closes a gap at the end.
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

/// Returns JSON of the same value with control, bidi and invisible characters as escapes, which is
/// harmless on a terminal.
#[must_use]
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0u16; 2];
    for c in json.chars() {
        let is_unseen = is_hidden(c) || is_ignorable(c) || matches!(c, '\u{2028}' | '\u{2029}');
        if is_unseen || (c.is_control() && c != '\n') {
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
