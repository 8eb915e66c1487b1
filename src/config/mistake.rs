//! A mistake in the configuration file: its place, the problem, and the key that was probably meant.

use std::fmt;
use std::ops::Range;

use crate::config::settings::SETTINGS;

/// Characters of a line that are shown.
const LONGEST_EXCERPT: usize = 160;

/// A mistake in the configuration file.
///
/// It is displayed on one line; [`Mistake::excerpt`] returns the lines to show below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The number of the line, from 1.
    pub line: usize,
    problem: String,
    /// The text of the whole line.
    text: String,
    /// The column of the mistake in the line, in characters.
    column: usize,
    width: usize,
    /// The key as it is written, and the key that was probably meant.
    pub renamed: Option<(String, &'static str)>,
}

impl Mistake {
    /// Returns a mistake at a place of the file, given in bytes.
    pub(super) fn at(file: &str, span: Range<usize>, problem: String) -> Self {
        let before = file.get(..span.start).unwrap_or(file);
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = &file[begin..];
        let line = rest.lines().next().unwrap_or_default();
        let column = before[begin..].chars().count();
        let width = file.get(span).map_or(0, |found| found.lines().next().map_or(0, count));
        Self {
            line: before.matches('\n').count() + 1,
            problem,
            text: line.to_owned(),
            column,
            width: width.clamp(1, count(line).saturating_sub(column).max(1)),
            renamed: None,
        }
    }

    /// Returns the mistake for a key that is not a setting.
    pub(super) fn unknown(file: &str, span: Range<usize>, key: &str) -> Self {
        let Some(meant) = similar(key) else {
            let problem = match similar_table(key) {
                Some(table) => format!("there is no section {key:?}; did you mean {table:?}?"),
                None => format!("there is no setting {key:?}"),
            };
            return Self::at(file, span, problem);
        };
        let problem = format!("there is no setting {key:?}; did you mean {meant:?}?");
        let mistake = Self::at(file, span, problem);
        // A key of another table cannot be in this place.
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        let (other, meant) = meant.rsplit_once('.').unwrap_or(("", meant));
        let renamed = (table == other).then(|| (name.to_owned(), meant));
        Self { renamed, ..mistake }
    }

    /// Returns the line with its number, and a mark below the mistake; only the beginning of a very
    /// long line.
    #[must_use]
    pub fn excerpt(&self) -> [String; 2] {
        let number = self.line.to_string();
        // A tab would displace the mark.
        let text: String = self.text.replace('\t', " ").chars().take(LONGEST_EXCERPT).collect();
        let gap = " ".repeat(number.len());
        let column = self.column.min(LONGEST_EXCERPT);
        let mark = "^".repeat(self.width.min(LONGEST_EXCERPT + 1 - column));
        [format!("{number} | {text}"), format!("{gap} | {}{mark}", " ".repeat(column))]
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// Returns the key that was probably meant: with its table, or by its name in another table.
fn similar(key: &str) -> Option<&'static str> {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &str| {
        let whole = strsim::damerau_levenshtein(key, known);
        // The right name in the wrong table is a smaller mistake than a wrong name.
        whole.min(strsim::damerau_levenshtein(&name(key), &name(known)))
    };
    let known = SETTINGS.iter().filter_map(|setting| setting.key);
    let (distance, known) = known.map(|known| (distance(known), known)).min()?;
    (distance <= count(&name(key)).div_ceil(3)).then_some(known)
}

/// Returns the table that was probably meant by a key that is no setting.
fn similar_table(key: &str) -> Option<&'static str> {
    let tables = SETTINGS.iter().filter_map(|setting| setting.key?.split_once('.'));
    let known = tables.map(|(table, _)| (strsim::damerau_levenshtein(key, table), table)).min();
    known.filter(|(distance, _)| *distance <= 2).map(|(_, table)| table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_mistyped_or_misplaced_is_recognised() {
        for (key, meant) in [
            ("prot", Some("port")),
            ("limits.max_unraed", Some("limits.max_unread")),
            ("max_unread", Some("limits.max_unread")),
            ("limits.port", Some("port")),
            ("idle_exit", None),
            ("something_else", None),
        ] {
            assert_eq!(similar(key), meant, "{key}");
        }
    }

    #[test]
    fn the_excerpt_marks_the_mistake_in_its_line() {
        let file = "# ä\nport = 7\n[limits]\n\tmax_unraed = 3";
        let at = file.find("max").unwrap();
        let mistake = Mistake::unknown(file, at..at + 10, "limits.max_unraed");
        assert_eq!(mistake.excerpt(), ["4 |  max_unraed = 3", "  |  ^^^^^^^^^^"]);
        assert_eq!(
            mistake.to_string(),
            "line 4: there is no setting \"limits.max_unraed\"; did you mean \"limits.max_unread\"?"
        );
        assert_eq!(mistake.renamed, Some(("max_unraed".to_owned(), "max_unread")));
        assert_eq!(Mistake::unknown(file, 5..9, "max_unread").renamed, None);
        let section = Mistake::unknown("[limit]", 1..6, "limit").to_string();
        assert_eq!(section, "line 1: there is no section \"limit\"; did you mean \"limits\"?");
        // At the end of the file, and in an empty one.
        assert_eq!(Mistake::at("a", 1..1, String::new()).excerpt()[1], "  |  ^");
        assert_eq!(Mistake::at("", 0..0, String::new()).excerpt()[1], "  | ^");
    }
}
