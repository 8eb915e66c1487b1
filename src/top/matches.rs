//! Where the words of a search stand in a text.

use std::ops::Range;

/// Returns where any of the words stands in the text, in order and without overlaps. Case does not
/// matter.
#[must_use]
pub fn matches(text: &str, words: &str) -> Vec<Range<usize>> {
    let words: Vec<Vec<char>> = words
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().flat_map(char::to_lowercase).collect())
        .collect();
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.char_indices() {
        if found.last().is_some_and(|last| last.end > at) {
            continue;
        }
        let longest = words.iter().filter_map(|word| ends(&text[at..], word)).max();
        found.extend(longest.map(|length| at..at + length));
    }
    found
}

/// Returns where a word ends with which a text begins.
fn ends(text: &str, word: &[char]) -> Option<usize> {
    let mut left = word;
    for (at, c) in text.char_indices() {
        if left.is_empty() {
            return Some(at);
        }
        for lower in c.to_lowercase() {
            left = left.strip_prefix(&[lower])?;
        }
    }
    left.is_empty().then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_order() {
        let found = |text: &str, words: &str| -> Vec<String> {
            matches(text, words).into_iter().map(|range| text[range].to_owned()).collect()
        };
        assert_eq!(found("The Orders API, orders.", "api orders"), ["Orders", "API", "orders"]);
        assert_eq!(found("GRÖSSE größe", "größe"), ["größe"]);
        assert_eq!(found("ordering", "order ordering"), ["ordering"]);
        assert_eq!(found("日本語", "本"), ["本"]);
        assert_eq!(found("text", "* \"'"), [""; 0]);
        assert_eq!(found("", "a"), [""; 0]);
    }
}
