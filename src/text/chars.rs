//! The first pass over peer text, one character at a time: hidden characters get a visible form.
//!
//! Called by the parent module only, before any other pass, so the others never see a control
//! character. Persian and emoji need joiners and selectors, so these stay between characters that can
//! use them, but never beside ASCII: the search for tags relies on this.

use std::fmt::Write as _;

/// The most soft characters in a row. No script needs more, and long runs could hide a message.
const JOINERS: usize = 3;

/// Makes characters visible that move a cursor, change the direction of text or are hidden.
pub(super) fn visible(text: &str) -> String {
    settle_soft(&spell_out(text))
}

fn spell_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().filter(|c| !is_ignorable(*c)).peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\0'..='\u{1F}' => {
                out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{FFFD}'));
            }
            '\u{7F}' => out.push('\u{2421}'),
            '\u{80}'..='\u{9F}' => out.push('\u{FFFD}'),
            _ if is_hidden(c) => {
                let mut more = 0_usize;
                while chars.next_if(|c| is_hidden(*c)).is_some() {
                    more += 1;
                }
                // One note for a whole run, so that 64 KiB of them do not become three times as long.
                let code = u32::from(c);
                let _ = match more {
                    0 => write!(out, "[U+{code:04X}]"),
                    _ => write!(out, "[U+{code:04X} +{more}]"),
                };
            }
            _ => out.push(c),
        }
    }
    out
}

/// Returns the text after a note like `[U+202E]` or `[U+202E +5]` at the start of `text`.
pub(super) fn strip_note(text: &str) -> Option<&str> {
    let body = text.strip_prefix("[U+")?;
    let end = body.bytes().take(32).position(|b| b == b']')?;
    let known = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F' | b' ' | b'+');
    body.as_bytes()[..end].iter().all(known).then(|| &body[end + 1..])
}

fn settle_soft(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if !is_soft(c) {
            out.push(c);
            before = Some(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let run_len = rest.find(|c| !is_soft(c)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(run_len);
        settle_run(run, before, behind.chars().next(), &mut out);
        rest = behind;
    }
    out
}

/// Keeps those of a run of soft characters that can have a meaning between `before` and `after`.
fn settle_run(run: &str, before: Option<char>, after: Option<char>, out: &mut String) {
    let keycap = matches!(before, Some('0'..='9' | '#' | '*')) && after == Some('\u{20E3}');
    let hosted = before.is_some_and(can_host);
    let joins = hosted && after.is_some_and(can_host);
    let mut first = true;
    let mut joiners = 0;
    for c in run.chars() {
        let keep = if is_joiner(c) {
            joiners += 1;
            joins && joiners <= JOINERS
        } else {
            first && (hosted || keycap && c == '\u{FE0F}')
        };
        if keep {
            out.push(c);
            first = false;
        }
    }
}

/// Returns whether a joiner or selector beside `c` can have a meaning, and `c` is not part of a tag.
fn can_host(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !is_open(c)
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Returns whether `c` is `<` or a character that looks like it.
pub(super) fn is_open(c: char) -> bool {
    matches!(c, '<' | '\u{2C2}' | '\u{1438}' | '\u{FE64}' | '\u{FF1C}')
}

/// Returns whether `c` is invisible but part of ordinary writing: a joiner or variation selector.
pub(super) fn is_soft(c: char) -> bool {
    is_joiner(c) || matches!(c, '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}')
}

/// Returns whether `c` is a soft hyphen or grapheme joiner.
///
/// They have no meaning here, but are frequent in text that was copied from web pages.
pub(super) fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{34F}')
}

/// Returns whether `c` is a bidi control, or another character that Unicode ignores by default or
/// that has no glyph.
pub(super) fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}'
        | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}
