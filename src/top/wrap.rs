//! Text broken into lines of a terminal: all of it is shown, so long words are broken, too.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::text::columns;

/// Breaks text into lines of at most `most` columns: at its line ends, then at spaces, and within a
/// word only if the word alone is longer than a line. A tab becomes spaces.
///
/// Each line comes with where it begins in the text.
pub fn wrap(text: &str, most: usize) -> Vec<(usize, &str)> {
    let most = most.max(2);
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        wrap_line(line, start, most, &mut lines);
        start += line.len() + 1;
    }
    lines
}

fn wrap_line<'a>(line: &'a str, start: usize, most: usize, lines: &mut Vec<(usize, &'a str)>) {
    let (mut begin, mut used) = (0, 0);
    // After the last space that fits, and the columns up to there.
    let mut space: Option<(usize, usize)> = None;
    for (at, grapheme) in line.grapheme_indices(true) {
        let wide = columns(grapheme);
        // A space at the end of a line may hang over.
        if used + wide > most && grapheme != " " {
            let (end, columns_before) = space.filter(|(end, _)| *end > begin).unwrap_or((at, used));
            lines.push((start + begin, line[begin..end].trim_end_matches(' ')));
            begin = end;
            used -= columns_before;
            space = None;
        }
        used += wide;
        if grapheme == " " {
            space = Some((at + grapheme.len(), used));
        }
    }
    lines.push((start + begin, line[begin..].trim_end_matches(' ')));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_and_long_words_anywhere() {
        let wrapped =
            |text, most| wrap(text, most).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two", 7), ["one two"]);
        assert_eq!(wrapped("a/very/long/path x", 6), ["a/very", "/long/", "path x"]);
        assert_eq!(wrapped("two\n\nlines", 20), ["two", "", "lines"]);
        assert_eq!(wrapped("日本語", 4), ["日本", "語"]);
        assert_eq!(wrapped("  indented", 40), ["  indented"]);
        assert_eq!(wrapped("", 5), [""]);
        for most in 0..20 {
            let text = "a日e\u{301} \u{1F469}\u{200D}\u{1F4BB} مشروع  ok and-a-long-word\nend ";
            for (start, line) in wrap(text, most) {
                assert!(columns(line) <= most.max(2), "{most} {line:?}");
                assert!(text[start..].starts_with(line));
            }
        }
    }
}
