//! Peers' names: letters of any script, and one spelling for each name.
//!
//! A name is kept in its [`canonical`] form, so that the same word in another case, in full width or
//! in decomposed letters is the same name. Within one word of a name, scripts do not mix if a letter
//! of one looks like a letter of the other (Unicode Technical Standard 39). Characters that are
//! invisible or change the direction of text are never part of a name.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::general_security_profile::IdentifierType;
use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::{
    GeneralSecurityProfile as _, is_potential_mixed_script_confusable_char, skeleton,
};

use crate::protocol::ids::{BROKER, looks_like_peer_id};

/// The longest name of a peer, in characters.
pub const MAX: usize = 40;

/// The rule for names, as the hint of an error.
pub const RULE: &str = "A name is 1 to 40 letters of any script, digits, '.', '_' and '-', begins with a letter, mixes no look-alike scripts within a word, and is not reserved.";

/// Names that no session can have.
const RESERVED: [&str; 6] = ["cli", BROKER, "all", "machine", "directory", "repo"];

/// The name of a directory that has no letter in its own.
const NAMELESS: &str = "session";

/// The characters that are left free for a suffix such as `-2`.
const TAIL: usize = 4;

/// The most combining marks on one letter; no script needs more.
const MARKS: usize = 4;

/// The characters of a text that are read. Longer texts are no names.
const LONGEST: usize = 1_000;

/// Returns the canonical form of a name: NFKC, lower case, without joiners.
///
/// The result need not be a valid name.
#[must_use]
pub fn canonical(text: &str) -> String {
    let folded: String = text.trim().chars().take(LONGEST).nfkc().collect();
    let folded: String = folded.to_lowercase().chars().filter(|c| !is_joiner(*c)).nfkc().collect();
    let settled: String = settle(&folded).nfkc().collect();
    settled.trim().to_owned()
}

/// Returns a key that is equal for different spellings of one word.
///
/// Such as `STRASSE` and `straße`, `οδοσ` and `οδος`. The key is for comparison only.
#[must_use]
pub fn key(text: &str) -> String {
    let upper = canonical(text).to_uppercase();
    upper.chars().flat_map(char::to_lowercase).nfkc().filter(|c| *c != DOT).collect()
}

/// Returns whether two names differ but look alike.
///
/// Two names of ASCII alone never do: people who read code can distinguish `l` from `1`.
#[must_use]
pub fn look_alike(one: &str, other: &str) -> bool {
    one != other && !(one.is_ascii() && other.is_ascii()) && skeleton(one).eq(skeleton(other))
}

/// Returns a text that is equal for all names that look alike. It is for comparison only.
#[must_use]
pub fn look(name: &str) -> String {
    skeleton(name).collect()
}

/// Returns whether `name` may be a peer's name: canonical, by the [`RULE`], not reserved, and not in
/// the form of an id.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    name.chars().take(MAX + 1).count() <= MAX
        && name.chars().next().is_some_and(is_letter)
        && name.split(is_separator).all(is_word)
        && canonical(name) == name
        && !RESERVED.iter().any(|word| skeleton(word).eq(skeleton(name)))
        && !looks_like_peer_id(name)
}

/// Returns the name derived from a directory, a repository or a title.
///
/// Characters that are not allowed in a name become `-`, and so does the border between scripts that
/// must not mix.
#[must_use]
pub fn from_text(text: &str) -> String {
    let name = spelled(text);
    let name: String = name.chars().take(MAX - TAIL).collect();
    // A final sigma depends on the next letter, which may have been removed.
    let name = canonical(name.trim_end_matches(is_separator));
    match name.as_str() {
        "" => NAMELESS.to_owned(),
        _ if is_valid(&name) => name,
        _ => canonical(&format!("{name}-x")),
    }
}

/// Returns the name of `part` within `whole`, such as `shop-login`.
///
/// Returns `part` alone if it begins with `whole`. A long name is cut in `whole`, because the end of
/// names distinguishes them.
#[must_use]
pub fn within(whole: &str, part: &str) -> String {
    let whole = spelled(whole);
    // After another word, `part` may begin with a digit.
    let part = if whole.is_empty() { spelled(part) } else { spell(&canonical(part)) };
    let says_whole = part
        .strip_prefix(&*whole)
        .is_some_and(|rest| rest.is_empty() || whole.is_empty() || rest.starts_with(is_separator));
    if says_whole || part.is_empty() {
        return from_text(if part.is_empty() { &whole } else { &part });
    }
    let room = (MAX - TAIL).saturating_sub(part.chars().count() + 1);
    let head: String = whole.chars().take(room).collect();
    match head.trim_end_matches(is_separator) {
        "" => from_text(&part),
        head => from_text(&format!("{head}-{part}")),
    }
}

/// Returns whether a text has a letter, so that a name can be derived from it.
#[must_use]
pub fn can_name(text: &str) -> bool {
    !spelled(text).is_empty()
}

/// Spells a text, from its first letter on, with the characters allowed in names.
fn spelled(text: &str) -> String {
    let text = canonical(text);
    spell(text.trim_start_matches(|c| !is_letter(c)))
}

fn spell(canonical: &str) -> String {
    let mut name = String::new();
    for c in canonical.chars() {
        let word = name.rsplit(is_separator).next().unwrap_or_default();
        if is_separator(c) || is_word(&format!("{word}{c}")) {
            name.push(c);
        } else if is_letter(c) {
            name.extend(['-', c]);
        } else if !is_combining_mark(c) && !is_ignorable(c) && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_matches(is_separator).to_owned()
}

const fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '-')
}

/// Returns whether letters, marks and digits form a valid word between two separators.
fn is_word(word: &str) -> bool {
    let mut marks = 0;
    let mut in_place = true;
    for (at, c) in word.chars().enumerate() {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        let is_digit = c.is_ascii_digit() || (c.is_numeric() && may_stand(c));
        let is_mark = marks > 0 && marks <= MARKS && at > 0 && may_stand(c);
        in_place &= is_letter(c) || is_digit || is_mark;
    }
    in_place && is_of_one_script(word)
}

fn is_letter(c: char) -> bool {
    c.is_ascii_lowercase()
        || (!c.is_ascii() && c.is_alphabetic() && !is_combining_mark(c) && may_stand(c))
}

/// Returns whether a character belongs to ordinary writing, of living and historic scripts.
///
/// Phonetic notation, compatibility forms and characters that are not part of words do not.
fn may_stand(c: char) -> bool {
    use IdentifierType as Type;
    c.identifier_type().is_some_and(|kind| {
        matches!(
            kind,
            Type::Recommended
                | Type::Inclusion
                | Type::Exclusion
                | Type::Limited_Use
                | Type::Uncommon_Use
                | Type::Obsolete
        )
    })
}

/// Returns whether the letters of a word are of one script, or of scripts that do not look alike.
fn is_of_one_script(word: &str) -> bool {
    if word.is_ascii() || !AugmentedScriptSet::for_str(word).is_empty() {
        return true;
    }
    let latin = AugmentedScriptSet::for_char('a');
    let others: String =
        word.chars().filter(|c| AugmentedScriptSet::for_char(*c) != latin).collect();
    let scripts = AugmentedScriptSet::for_str(&others);
    let is_east_asian = !scripts.is_all() && (scripts.hanb || scripts.jpan || scripts.kore);
    is_east_asian || !others.chars().any(is_potential_mixed_script_confusable_char)
}

/// Returns whether a character is a zero-width joiner, without which a name reads the same.
const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

fn is_ignorable(c: char) -> bool {
    c.identifier_type() == Some(IdentifierType::Default_Ignorable)
}

/// The combining dot that follows the `i` in the lower case of `İ`.
const DOT: char = '\u{307}';

/// Replaces letters with two lower-case forms by the one for their place: `ς` ends a word.
fn settle(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before: Option<char> = None;
    while let Some(c) = chars.next() {
        let c = match c {
            DOT if matches!(before, Some('i' | 'j')) => continue,
            'σ' | 'ς' => {
                let ends = !chars.peek().is_some_and(|next| next.is_alphabetic());
                if ends && before.is_some_and(char::is_alphabetic) { 'ς' } else { 'σ' }
            }
            c => c,
        };
        out.push(c);
        before = Some(c);
    }
    out
}

#[cfg(test)]
mod tests;
