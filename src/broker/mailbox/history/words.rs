//! The words of messages, and of what is searched for.
//!
//! SQLite's tokenizer finds words by what stands between them. Scripts that are written without
//! spaces have nothing there, so each of their characters counts as a word, and what is searched for is
//! found as a sequence of them.

use std::borrow::Cow;

/// Ranges of the scripts that are written without spaces between words: Thai, Lao, Myanmar, Khmer,
/// Japanese and Chinese.
const WITHOUT_SPACES: [(char, char); 10] = [
    ('\u{0E00}', '\u{0EFF}'),
    ('\u{1000}', '\u{109F}'),
    ('\u{1780}', '\u{17FF}'),
    ('\u{3005}', '\u{3007}'),
    ('\u{3040}', '\u{30FF}'),
    ('\u{31F0}', '\u{31FF}'),
    ('\u{3400}', '\u{9FFF}'),
    ('\u{F900}', '\u{FAFF}'),
    ('\u{FF66}', '\u{FF9D}'),
    ('\u{20000}', '\u{3FFFF}'),
];

fn is_without_spaces(c: char) -> bool {
    c >= WITHOUT_SPACES[0].0
        && WITHOUT_SPACES.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Returns a text for the index: with spaces around each character that counts as a word.
pub fn spaced(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_without_spaces) {
        return Cow::Borrowed(text);
    }
    let mut spaced = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_without_spaces(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    Cow::Owned(spaced)
}

/// Returns the query for messages with all of these words: of FTS5, whose operators have no meaning here.
///
/// What stands in quotation marks is found as it stands. The last word may be the beginning of one, unless
/// it is quoted. `None` if there is no word.
pub fn query(words: &str) -> Option<String> {
    let mut phrases: Vec<String> = Vec::new();
    let mut is_open = false;
    for (index, part) in words.split('"').enumerate() {
        let is_quoted = index % 2 == 1;
        let pieces: Vec<&str> =
            if is_quoted { vec![part] } else { part.split_whitespace().collect() };
        for piece in pieces {
            if piece.chars().any(char::is_alphanumeric) {
                phrases.push(format!("\"{}\"", spaced(piece).trim()));
                // An only character is the beginning of too many words.
                is_open = !is_quoted && piece.chars().count() > 1;
            }
        }
    }
    let last = phrases.pop()?;
    // A character that is a word of its own is no beginning.
    let has_end = last.trim_end_matches('"').chars().next_back().is_none_or(is_without_spaces);
    phrases.push(if is_open && !has_end { format!("{last} *") } else { last });
    Some(phrases.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_phrases_without_operators() {
        for (words, expected) in [
            ("cursor", Some(r#""cursor" *"#)),
            ("a", Some(r#""a""#)),
            (" GET  /orders ", Some(r#""GET" "/orders" *"#)),
            (r#""orders api" v2"#, Some(r#""orders api" "v2" *"#)),
            (r#"v2 "orders api""#, Some(r#""v2" "orders api""#)),
            ("NOT x OR (y", Some(r#""NOT" "x" "OR" "(y" *"#)),
            ("text:x* ^y", Some(r#""text:x*" "^y" *"#)),
            ("支払い", Some("\"支  払  い\"")),
            ("-> \" \" *", None),
            ("", None),
        ] {
            assert_eq!(query(words).as_deref(), expected, "{words}");
        }
    }
}
