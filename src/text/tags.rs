//! The second pass over peer text: a tag that a client or a model could obey gets a backslash.
//!
//! Called by the parent module only, on text whose characters are all visible. A `<` with a backslash
//! after it is left alone, so a second run changes nothing. Code must stay as it is, and most tags are
//! code: elements of pages, namespaces, type arguments, comparisons. So only names count that a client
//! itself writes into a model's context, or that models are trained to obey (taken from Claude Code
//! 2.1.330, and from other clients the tags around hooks and rules). Such a name after `<` or `</` must
//! never be left as it is, except for `Vec<User>` (see `is_type_argument`), which can have no
//! attributes and no end tag.

use crate::text::chars::{is_open, is_soft, strip_note};

/// Names of one word.
const WORDS: &str = "\
    antml anthropic assistant channel developer env event function functions human instructions \
    invoke message parameter relay reminder system thinking user wake";

/// Names of several words; `_` is written `-` here.
const NAMES: &str = "\
    agent-message artifact-room-event autonomous-loop autonomous-loop-dynamic available-skills \
    cc-memory claude-md closing-notice command-args command-contents command-message command-name \
    command-output coordinator-task cross-session-message cross-session-messages \
    current-skill-md daemon-stderr earlier-message environment-context fork-boilerplate \
    function-call function-calls function-result function-results guidance-loaded hook-context \
    hook-prompt ide-diagnostics ide-opened-file ide-selection interrupted-output memory-updates \
    new-diagnostics non-user-message other-sessions partial-response pasted-content \
    permissions-instructions persisted-output previous-conversation repl-output \
    sandbox-violations skill-watcher-idle-wake skills-discovered slack-messages \
    subagent-hand-back system-event system-instruction system-instructions system-message \
    system-note system-notice system-notification system-prompt system-reminder system-warning \
    task-id task-notification teammate-message tool-call tool-calls tool-output tool-response \
    tool-result tool-results tool-use tool-use-error tool-uses truncated-output turn-ended \
    untrusted-context user-action user-claude-md user-instructions user-memory-input \
    user-message user-prompt webhook-payload";

/// Beginnings of names, to which a client may add new ones.
const BEGINNINGS: [&str; 6] =
    ["antml-", "anthropic-", "bash-", "local-command-", "mcp-", "user-prompt-"];
const END: &str = "-hook";

/// Puts a backslash after every `<` that opens or closes a dangerous tag.
pub(super) fn escape_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for (at, open) in text.char_indices().filter(|(_, c)| is_open(*c)) {
        let behind = at + open.len_utf8();
        // The time is linear, because no scan goes past the next `<`.
        if is_tag(&text[..at], &text[behind..]) {
            out.push_str(&text[copied..behind]);
            out.push('\\');
            copied = behind;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// A name after a `<`, with the context that decides whether they are a tag.
struct Tag<'a> {
    /// The name in lower-case ASCII, without punctuation at its end (`T` in `<T: Copy>`).
    name: &'a str,
    /// The name is written like a type: a capital, then a small letter.
    capital: bool,
    /// The text before the `<`.
    before: &'a str,
    /// The text between the `<` and the name.
    gap: &'a str,
    /// The text after the name.
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
    let mut ended = false;
    loop {
        if let Some(rest) = skip_hidden(after) {
            // `<user[U+200B]x>`: a reader may see `user` or `userx`. Both are checked at the first
            // gap only, which keeps the time linear.
            if !hidden && Tag::new(&full, capital, before, gap, after).is_dangerous() {
                return true;
            }
            hidden = true;
            after = rest;
        } else if let Some(c) = after.chars().next().filter(|c| is_name(fold(*c))) {
            // `<channel.a>`: a reader may see a name end before a dot, or before a letter of another
            // script. Both are checked, also at the first such place only.
            if !ended && (c == '.' || !c.is_ascii()) && !full.is_empty() {
                ended = true;
                if Tag::new(&full, capital, before, gap, after).is_dangerous() {
                    return true;
                }
            }
            full.push(fold(c).to_ascii_lowercase());
            after = &after[c.len_utf8()..];
        } else {
            break;
        }
    }
    // Such a name is never part of code.
    let (before, gap) = if hidden { ("", "/") } else { (before, gap) };
    let tag = Tag::new(&full, capital, before, gap, after);
    tag.is_dangerous() || hidden && tag.is_parted()
}

impl<'a> Tag<'a> {
    fn new(full: &'a str, capital: bool, before: &'a str, gap: &'a str, after: &'a str) -> Self {
        let name = full.trim_end_matches(['-', '_', ':', '.']);
        Self { name, capital, before, gap, after }
    }

    fn is_dangerous(&self) -> bool {
        // No digit, dot or dash: `<-channel` is Go, and no tag begins like that.
        if !self.name.starts_with(|c: char| c.is_ascii_lowercase() || matches!(c, '_' | ':')) {
            return false;
        }
        let dashed = self.name.replace('_', "-");
        if is_among(WORDS, &dashed) {
            return !self.is_type_argument();
        }
        // `antml:invoke`, and any other prefix of a name.
        let mut parts = dashed.split(':').filter(|part| !part.is_empty());
        let namespaced = dashed.contains(':');
        let vendor = namespaced && parts.clone().any(|part| matches!(part, "antml" | "anthropic"));
        vendor
            || parts.any(|part| is_among(NAMES, part) || is_of_a_family(part) || part == "invoke")
            || self.is_cut_off(&dashed)
    }

    /// Returns whether the text ends within a name, which a following text could complete.
    fn is_cut_off(&self, dashed: &str) -> bool {
        let begins = || NAMES.split(' ').any(|name| name.starts_with(dashed));
        self.after.is_empty() && dashed.contains('-') && begins()
    }

    /// Returns whether a name of several words has hidden characters, which no code has.
    fn is_parted(&self) -> bool {
        self.name.contains(['-', ':', '_'])
    }

    /// Returns whether this is a type argument, as in `Vec<User>` or `Result<System, E>`.
    ///
    /// That is one word without a space before the `<`, and nothing that looks like an attribute.
    fn is_type_argument(&self) -> bool {
        let one_word = self.capital && !self.name.contains(['-', '_']);
        let ends = [">", ",", "<", "[]", " |"].iter().any(|end| self.after.starts_with(end));
        one_word && ends && self.is_glued()
    }

    fn is_glued(&self) -> bool {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.gap.is_empty() && (self.before.ends_with(word) || self.before.ends_with("::"))
    }
}

fn is_of_a_family(name: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) || name.ends_with(END)
}

fn is_among(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split(' ').any(|known| known == word)
}

/// Skips what a reader may overlook between a `<` and its name, including slashes.
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

/// Skips one character, or the note in its place, that a reader may overlook in a word.
fn skip_hidden(text: &str) -> Option<&str> {
    let overlooked =
        |c| is_soft(c) || matches!(c, '\u{300}'..='\u{36F}' | '\u{2400}'..='\u{2421}' | '\u{FFFD}');
    text.strip_prefix(overlooked).or_else(|| strip_note(text))
}

/// Returns the ASCII character that `c` looks like, else `c`.
///
/// Covers full-width, mathematical and circled forms, and letters of other scripts.
fn fold(c: char) -> char {
    let letter = |offset: u32| {
        let first = if offset < 26 { 'A' } else { 'a' };
        char::from_u32(u32::from(first) + offset % 26).unwrap_or(c)
    };
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '\u{1D400}'..='\u{1D6A3}' => letter((u32::from(c) - 0x1D400) % 52),
        '\u{24B6}'..='\u{24E9}' => letter(u32::from(c) - 0x24B6),
        'а' | 'α' | 'А' | 'Α' => 'a',
        'В' | 'Β' => 'b',
        'с' | 'С' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'Е' | 'Ε' => 'e',
        'һ' | 'Н' | 'Η' => 'h',
        'і' | 'І' | 'Ι' | 'ι' | 'ı' => 'i',
        'ј' | 'Ј' => 'j',
        'к' | 'К' | 'Κ' | 'κ' | '\u{212A}' => 'k',
        'ӏ' | 'Ӏ' => 'l',
        'м' | 'М' | 'Μ' => 'm',
        'Ν' => 'n',
        'о' | 'О' | 'ο' | 'Ο' => 'o',
        'р' | 'Р' | 'ρ' | 'Ρ' => 'p',
        'ѕ' | 'Ѕ' | 'ſ' => 's',
        'Т' | 'Τ' | 'т' => 't',
        'υ' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'Х' | 'Χ' => 'x',
        'у' | 'У' | 'Υ' => 'y',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' => '-',
        _ => c,
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.')
}
