//! Turns a model's answer into a summary of one line, or says why it is not one.
//!
//! The text goes on to other sessions and to terminals, so no control character and no second line
//! may get through.

use crate::text;

const MAX_CHARS: usize = 300;
const MAX_RAW_BYTES: usize = 20 * 1024;

/// Returns the answer as a summary of one line and at most 300 characters.
///
/// # Errors
///
/// Why the answer is not a summary.
pub(super) fn summary_from_answer(raw: &str) -> Result<String, &'static str> {
    if raw.len() > MAX_RAW_BYTES {
        return Err("it is far too long");
    }
    let text = without_thoughts(raw.trim());
    let text = text::stripped_line(without_fence(text));
    let text = without_wrapping(&text);
    if text.is_empty() {
        return Err("it is empty");
    }
    if !text.chars().any(char::is_alphanumeric) {
        return Err("it holds no words");
    }
    if looks_like_json(text) {
        return Err("it looks like JSON");
    }
    if looks_like_markup(text) {
        return Err("it looks like HTML");
    }
    Ok(shorten(text))
}

/// Returns an error message on one line and without the key. Some servers repeat a rejected key;
/// `OpenAI` does so with asterisks in its middle.
pub(super) fn hide_key(message: &str, key: &str) -> String {
    const HIDDEN: &str = "[hidden]";
    let whole = if key.is_empty() { message.to_owned() } else { message.replace(key, HIDDEN) };
    // The beginning of a short key is part of many words.
    let beginning = key.get(..6).filter(|_| key.len() >= 12);
    let part = |word: &str| {
        word.contains("**") || beginning.is_some_and(|beginning| word.contains(beginning))
    };
    let line = text::stripped_line(&whole);
    let words = line.split(' ').map(|word| if part(word) { HIDDEN } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Removes the thoughts that local reasoning models write before their answer.
fn without_thoughts(text: &str) -> &str {
    let thoughts = text.strip_prefix("<think>");
    let end = thoughts.and_then(|thoughts| thoughts.split_once("</think>"));
    end.map_or(text, |(_, answer)| answer.trim())
}

fn without_fence(text: &str) -> &str {
    let Some(inner) = text.strip_prefix("```") else {
        return text;
    };
    let inner = inner.trim_end().trim_end_matches('`');
    match inner.split_once('\n') {
        // The first line of a fence may name a language.
        Some((language, rest)) if !language.trim().contains(' ') => rest,
        _ => inner,
    }
}

/// Removes a label and quotation marks or Markdown around the whole text, however often it is
/// wrapped.
fn without_wrapping(text: &str) -> &str {
    const PAIRS: [(&str, &str); 11] = [
        ("**", "**"),
        ("__", "__"),
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("*", "*"),
        ("_", "_"),
        ("“", "”"),
        ("„", "“"),
        ("‘", "’"),
        ("«", "»"),
    ];
    let mut text = text;
    loop {
        let before = text;
        for (open, close) in PAIRS {
            let inner = text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
            // `"a" and "b"` begins and ends with quotation marks, but they do not enclose it.
            if let Some(inner) = inner.filter(|inner| !inner.contains(close)) {
                text = inner.trim();
            }
        }
        for label in ["Summary:", "**Summary:**", "Description:"] {
            text = text.strip_prefix(label).unwrap_or(text).trim();
        }
        if text == before {
            return text;
        }
    }
}

fn looks_like_json(text: &str) -> bool {
    // "[WIP] Fixes the parser" is a sentence.
    text.starts_with('{')
        || ["[{", "[\"", "[]"].iter().any(|start| text.starts_with(start))
        || serde_json::from_str::<serde_json::Value>(text).is_ok()
}

fn looks_like_markup(text: &str) -> bool {
    let lower = text.to_lowercase();
    text.starts_with('<')
        || ["<!doctype", "<html", "<body", "<script"].iter().any(|tag| lower.contains(tag))
}

/// Cuts after a sentence if that leaves at least half of it, else after a word, else anywhere.
fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    // Room for a space and the ellipsis.
    let end = text.char_indices().nth(MAX_CHARS - 2).map_or(text.len(), |(at, _)| at);
    let (head, rest) = text.split_at(end);
    // The separator may be the first character behind the cut.
    let next = rest.chars().next().map_or(0, char::len_utf8);
    let reach = &text[..end + next];
    let sentence = [". ", "! ", "? "].iter().filter_map(|mark| reach.rfind(mark)).max();
    if let Some(at) = sentence.filter(|at| *at >= end / 2) {
        return format!("{} …", &head[..=at]);
    }
    let word = reach.rfind(' ').filter(|at| *at >= end / 2);
    let kept = word.map_or(head, |at| &head[..at]);
    format!("{}…", kept.trim_end_matches(|c: char| !c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_comes_off_and_the_answer_is_one_line() {
        for (raw, expected) in [
            ("Fixes the parser.", "Fixes the parser."),
            ("  Fixes\n\n the\tparser. \r\n", "Fixes the parser."),
            ("\"Fixes the parser.\"", "Fixes the parser."),
            ("“Fixes the parser.”", "Fixes the parser."),
            ("```\nFixes the parser.\n```", "Fixes the parser."),
            ("```text\nFixes the parser.\n```\n", "Fixes the parser."),
            ("```Fixes the parser.```", "Fixes the parser."),
            ("**\"Fixes the parser.\"**", "Fixes the parser."),
            ("Summary: 'Fixes the parser.'", "Fixes the parser."),
            ("**Summary:** Fixes the parser.", "Fixes the parser."),
            ("<think>Hm.\nSo.</think>\n\nFixes it.", "Fixes it."),
            ("\"a\" and \"b\"", "\"a\" and \"b\""),
            ("Fixes\0 the \u{1b}[31mparser\u{9b}.", "Fixes the [31mparser ."),
            ("Fixes\u{2028}the \u{202e}parser\u{200b}.\u{e0041}", "Fixes the parser."),
            ("[WIP] Fixes the parser.", "[WIP] Fixes the parser."),
            ("It's the parser's turn", "It's the parser's turn"),
            ("Übersetzt die Doku 日本語", "Übersetzt die Doku 日本語"),
        ] {
            assert_eq!(summary_from_answer(raw).as_deref(), Ok(expected), "{raw:?}");
        }
    }

    #[test]
    fn an_answer_that_is_not_a_summary_is_refused() {
        for raw in [
            "",
            " \n\t",
            "\"\"",
            "``````",
            "...",
            "!?",
            "\u{200b}",
            "🙂",
            "{\"a\": 1}",
            "```json\n{\"summary\": \"x\"}\n```",
            "[\"a\"]",
            "42",
            "<html><body>no</body></html>",
            "<think>never ends",
            "Error <!DOCTYPE html>",
            "\0\0",
        ] {
            assert!(summary_from_answer(raw).is_err(), "{raw:?}");
        }
        assert!(summary_from_answer(&"word ".repeat(5000)).is_err());
    }

    #[test]
    fn a_long_answer_is_cut_where_it_reads_best() {
        let exact = "x".repeat(300);
        assert_eq!(summary_from_answer(&exact).unwrap(), exact);

        let sentence = "Fixes the parser of the tool. ".repeat(12);
        let cut = summary_from_answer(&sentence).unwrap();
        assert!(cut.ends_with("tool. …"), "{cut}");

        let words = summary_from_answer(&"parser ".repeat(90)).unwrap();
        assert!(words.ends_with("parser…"), "{words}");

        for text in ["語".repeat(400), "é".repeat(301), "x".repeat(9999), "a. ".repeat(200)] {
            let cut = summary_from_answer(&text).unwrap();
            let length = cut.chars().count();
            assert!((290..=300).contains(&length), "{length}");
            assert!(cut.ends_with('…'));
        }
    }

    #[test]
    fn every_length_stays_within_the_limit() {
        for length in 280..320 {
            for unit in ["ab, ", "ä. ", "word! "] {
                let text: String = unit.chars().cycle().take(length).collect();
                let cut = summary_from_answer(&text).unwrap();
                assert!(cut.chars().count() <= MAX_CHARS, "{cut}");
            }
        }
    }

    #[test]
    fn a_key_of_any_length_is_hidden() {
        assert_eq!(hide_key("bad key tiny, tin", "tiny"), "bad key [hidden], tin");
        assert_eq!(hide_key("no key at all", ""), "no key at all");
        assert_eq!(hide_key("bad (sk-test-01...)", "sk-test-0123456789"), "bad [hidden]");
    }
}
