//! The second pass over peer text: a tag that a client or a model could obey gets a backslash.
//!
//! Called by the parent module only, on text whose characters are all visible. A `<` that the
//! backslash already follows is left alone, so a second run changes nothing. Code must survive:
//! where a `<` is plainly an operator or opens a type argument, only names that mean something to
//! a client or a model count. What never may happen: a known name behind `<` or `</` untouched,
//! `Vec<User>` excepted (see `is_type_argument`), which can have no attributes and no end tag.

use super::chars::{is_soft, strip_note};

/// Whole names that clients and models give a meaning to; `_` is written `-` here.
const NAMES: &str = "\
    agent agents anthropic antml assistant bash-input bash-stderr bash-stdout channel claude \
    command-args command-contents command-message command-name cross-session-message developer \
    env event function function-call function-calls function-result function-results functions \
    hook human ide-diagnostics ide-opened-file ide-selection instruction instructions invoke \
    local-command-caveat local-command-stderr local-command-stdout mcp message messages \
    notification parameter parameters peer permission permissions persisted-output prompt \
    reminder session-start-hook system system-prompt system-reminder task-id task-notification \
    teammate-message thinking tool tool-result tool-use tool-use-error tools user \
    user-memory-input user-prompt-submit-hook";

/// Words that make a name with `-` or `:` dangerous even where it could be code.
const WORDS: &str = "\
    agent anthropic antml assistant bash channel claude command function functions hook human ide \
    instructions invoke mcp notification permission prompt reminder session system teammate \
    thinking tool user";

/// Puts a backslash behind every `<` that opens or closes a dangerous tag.
pub(super) fn defuse(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for (at, open) in text.char_indices().filter(|(_, c)| is_open(*c)) {
        let behind = at + open.len_utf8();
        // Linear for all that: no scan goes past the next `<`.
        if is_tag(&text[..at], &text[behind..]) {
            out.push_str(&text[copied..behind]);
            out.push('\\');
            copied = behind;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// `<` and what models and people take for it.
pub(super) fn is_open(c: char) -> bool {
    matches!(c, '<' | '\u{2C2}' | '\u{1438}' | '\u{FE64}' | '\u{FF1C}')
}

/// A name behind a `<`, with what decides whether the two are a tag.
struct Tag<'a> {
    /// Lower case, plain ASCII, without the punctuation that ends a word (`T` in `<T: Copy>`).
    name: &'a str,
    /// Written like a type: a capital, then a small letter.
    capital: bool,
    /// The text before the `<`.
    before: &'a str,
    /// What stood between the `<` and the name.
    gap: &'a str,
    /// The text behind the name.
    after: &'a str,
}

fn is_tag(before: &str, behind: &str) -> bool {
    if behind.starts_with('\\') {
        return false;
    }
    let mut after = skip_gap(behind);
    let gap = &behind[..behind.len() - after.len()];
    let mut letters = after.chars();
    let capital = letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.next().is_some_and(|c| c.is_ascii_lowercase());
    let mut full = String::new();
    let mut hidden = false;
    loop {
        if let Some(rest) = skip_hidden(after) {
            // `<user[U+200B]x>`: both `user` and `userx` could be what a reader sees. Asking at
            // the first gap only keeps the time linear.
            if !hidden && Tag::new(&full, capital, before, gap, after).is_dangerous() {
                return true;
            }
            hidden = true;
            after = rest;
        } else if let Some(c) = after.chars().next().filter(|c| is_name(fold(*c))) {
            full.push(fold(c).to_ascii_lowercase());
            after = &after[c.len_utf8()..];
        } else {
            break;
        }
    }
    // Hidden characters in a name are no code of anybody's: take its excuses away.
    let (before, gap) = if hidden { ("", "/") } else { (before, gap) };
    Tag::new(&full, capital, before, gap, after).is_dangerous()
}

impl<'a> Tag<'a> {
    fn new(full: &'a str, capital: bool, before: &'a str, gap: &'a str, after: &'a str) -> Self {
        let name = full.trim_end_matches(['-', '_', ':', '.']);
        Self { name, capital, before, gap, after }
    }

    fn is_dangerous(&self) -> bool {
        // Not a digit, dot or dash: `<-channel` is Go, and no tag begins so.
        if !self.name.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '_' | ':')) {
            return false;
        }
        let dashed = self.name.replace('_', "-");
        if is_among(NAMES, &dashed) {
            return !self.is_type_argument();
        }
        let parted = self.name.contains(['-', ':']);
        let known = parted && self.name.split(['-', ':']).any(|word| is_among(WORDS, word));
        known || (parted || self.name.contains('_')) && !self.is_code()
    }

    /// `Vec<User>`, `Result<System, E>`: one word, glued on the left, nothing like an attribute.
    fn is_type_argument(&self) -> bool {
        let one_word = self.capital && !self.name.contains(['-', '_']);
        let ends = [">", ",", "<", "[]", " |"].iter().any(|end| self.after.starts_with(end));
        one_word && ends && self.is_glued()
    }

    /// `i < max_len`, `i<n-1`, `Vec<my_type>`, `<<END_OF_TEXT`, `<std::string>`, `<a-b@example.com>`
    fn is_code(&self) -> bool {
        if !self.gap.is_empty() {
            return self.gap.chars().all(char::is_whitespace);
        }
        let shift = self.before.ends_with('<');
        let path = self.name.contains("::");
        let mail = self.after.starts_with('@');
        shift || path || mail || self.is_glued()
    }

    fn is_glued(&self) -> bool {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.gap.is_empty() && (self.before.ends_with(word) || self.before.ends_with("::"))
    }
}

fn is_among(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split(' ').any(|known| known == word)
}

/// Skips what a careless reader does not see between a `<` and its name, slashes included.
fn skip_gap(mut text: &str) -> &str {
    let slash = |c| matches!(fold(c), '/' | '\\');
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || slash(c));
        match skip_hidden(text) {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

/// Skips one character, or the note that took its place, which a reader may overlook in a word.
fn skip_hidden(text: &str) -> Option<&str> {
    let overlooked =
        |c| is_soft(c) || matches!(c, '\u{300}'..='\u{36F}' | '\u{2400}'..='\u{2421}' | '\u{FFFD}');
    text.strip_prefix(overlooked).or_else(|| strip_note(text))
}

/// Full-width forms as the ASCII characters that they look like.
fn fold(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        _ => c,
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.')
}
