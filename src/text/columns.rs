//! How many columns of a terminal a line takes, and lines cut to columns.
//!
//! East Asian characters take two columns and combining ones none. A cut never goes
//! through what is seen as one character, nor leaves a joiner at its end.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::chars::is_soft;

/// Returns how many columns a line takes on a terminal.
#[must_use]
pub fn columns(line: &str) -> usize {
    line.width()
}

/// Returns a line of at most `most` columns, including the `…` of a cut at its end.
#[must_use]
pub fn fit_start(line: &str, most: usize) -> String {
    if columns(line) <= most {
        return line.to_owned();
    }
    let Some(room) = most.checked_sub(1) else { return String::new() };
    let end = fitting(line.graphemes(true), room);
    format!("{}…", line[..end].trim_end_matches(|c: char| c.is_whitespace() || is_soft(c)))
}

/// Returns a line of at most `most` columns, including the `…` of a cut at its start.
///
/// For paths, whose end tells more.
#[must_use]
pub fn fit_end(line: &str, most: usize) -> String {
    if columns(line) <= most {
        return line.to_owned();
    }
    let Some(room) = most.checked_sub(1) else { return String::new() };
    let start = line.len() - fitting(line.graphemes(true).rev(), room);
    format!("…{}", line[start..].trim_start_matches(|c: char| c.is_whitespace() || is_soft(c)))
}

/// Returns how many bytes the first of these characters have that take at most `room` columns.
fn fitting<'a>(characters: impl Iterator<Item = &'a str>, mut room: usize) -> usize {
    let fit = characters.take_while(|character| {
        let left = room.checked_sub(columns(character));
        room = left.unwrap_or(0);
        left.is_some()
    });
    fit.map(str::len).sum()
}

/// Returns a path with `~` in the place of this home.
#[must_use]
pub fn path_below(path: &str, home: Option<&str>) -> String {
    match home.and_then(|home| path.strip_prefix(home)) {
        Some(below) if below.is_empty() || below.starts_with('/') => format!("~{below}"),
        _ => path.to_owned(),
    }
}

/// Breaks a line at its spaces into lines of at most `most` columns. A word that is longer than that
/// stays whole, because half a command or path is another one.
#[must_use]
pub fn wrap(line: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for word in line.split(' ') {
        let wide = columns(word);
        match lines.last_mut() {
            Some(last) if used + 1 + wide <= most => {
                last.push(' ');
                last.push_str(word);
                used += 1 + wide;
            }
            _ => {
                lines.push(word.to_owned());
                used = wide;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_its_columns_end() {
        for (line, most, start, end) in [
            ("orders", 6, "orders", "orders"),
            ("orders API", 7, "orders…", "…rs API"),
            ("orders API", 8, "orders…", "…ers API"),
            // Two columns each: an odd number of them leaves one empty.
            ("日本語の名前", 12, "日本語の名前", "日本語の名前"),
            ("日本語の名前", 8, "日本語…", "…の名前"),
            ("日本語の名前", 7, "日本語…", "…の名前"),
            // A combining accent takes no column, and none stands alone after a cut.
            ("e\u{301}e\u{301}e\u{301}", 3, "e\u{301}e\u{301}e\u{301}", "e\u{301}e\u{301}e\u{301}"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…", "…e\u{301}"),
            ("مشروع", 3, "مش…", "…وع"),
            ("ab", 1, "…", "…"),
            ("ab", 0, "", ""),
            ("", 0, "", ""),
        ] {
            assert_eq!(fit_start(line, most), start, "{line} {most}");
            assert_eq!(fit_end(line, most), end, "{line} {most}");
        }
    }

    #[test]
    fn every_cut_fits() {
        let line = "a日e\u{301}\u{1F469}\u{200D}\u{1F4BB} مشروع ok";
        for most in 0..=columns(line) + 1 {
            assert!(columns(&fit_start(line, most)) <= most, "{most}");
            assert!(columns(&fit_end(line, most)) <= most, "{most}");
        }
    }

    #[test]
    fn a_home_is_abbreviated_where_it_is_a_directory_of_the_path() {
        let home = Some("/home/ann");
        assert_eq!(path_below("/home/ann/src", home), "~/src");
        assert_eq!(path_below("/home/ann", home), "~");
        assert_eq!(path_below("/home/anna/src", home), "/home/anna/src");
        assert_eq!(path_below("/home/ann/src", None), "/home/ann/src");
    }

    #[test]
    fn a_line_is_wrapped_at_its_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one /a/long/path two", 7), ["one", "/a/long/path", "two"]);
        assert_eq!(wrap("日本 語", 5), ["日本", "語"]);
        assert_eq!(wrap("  indented", 40), ["  indented"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
