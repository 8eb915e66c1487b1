//! Text that no pass over peer text would change, which is most text.

/// Whether a text has nothing that could be hidden or be a tag: only visible ASCII but `<`, spaces,
/// tabs and line ends. Most text is like that, and is spared all passes.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~') && byte != b'<')
}

/// Whether a plain text is one line of words with one space between them.
pub(super) fn has_single_spaces(text: &str) -> bool {
    let mut after_space = true;
    for byte in text.bytes() {
        match byte {
            b'\n' | b'\t' => return false,
            b' ' if after_space => return false,
            _ => after_space = byte == b' ',
        }
    }
    text.is_empty() || !after_space
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::{block, cut, escape_tags, fold_blank_lines, line, one_line, visible};

    proptest! {
        #[test]
        fn plain_text_is_spared_passes_that_would_not_change_it(
            text in "[ -~\\n\\t]{0,60}|[a-b \\n]{0,30}|(a|\\n){8,12}|.{0,8}",
            max in 0_usize..40,
        ) {
            prop_assert_eq!(block(&text), fold_blank_lines(&escape_tags(&visible(&text))));
            if is_plain(&text) {
                prop_assert_eq!(&visible(&text), &text);
                prop_assert_eq!(&escape_tags(&text), &text);
                prop_assert_eq!(line(&text, max), cut(&one_line(&text), max));
            }
        }
    }
}
