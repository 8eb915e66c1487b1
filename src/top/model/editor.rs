//! The text that a person is typing: a message, or the words of a search.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::text;
use crate::text::columns;
use crate::top::wrap::wrap;

/// A change of the text, or of the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    Insert(char),
    /// Text from the clipboard.
    Paste(String),
    Backspace,
    Delete,
    DeleteWord,
    DeleteToStart,
    DeleteToEnd,
    Left,
    Right,
    WordLeft,
    WordRight,
    Start,
    End,
}

/// Text with a cursor in it.
#[derive(Debug, Clone, Default)]
pub struct Editor {
    text: String,
    /// The place of the cursor, in bytes, between two visible characters.
    cursor: usize,
}

impl Editor {
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { text: text.to_owned(), cursor: text.len() }
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Insert(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Edit::Paste(pasted) => self.insert(&pasted),
            Edit::Backspace => self.remove(self.before()..self.cursor),
            Edit::Delete => self.remove(self.cursor..self.after()),
            Edit::DeleteWord => self.remove(self.word_before()..self.cursor),
            Edit::DeleteToStart => self.remove(self.line_start()..self.cursor),
            Edit::DeleteToEnd => self.remove(self.cursor..self.line_end()),
            Edit::Left => self.cursor = self.before(),
            Edit::Right => self.cursor = self.after(),
            Edit::WordLeft => self.cursor = self.word_before(),
            Edit::WordRight => self.cursor = self.word_after(),
            Edit::Start => self.cursor = self.line_start(),
            Edit::End => self.cursor = self.line_end(),
        }
    }

    /// Inserts text with hidden characters made visible: what is seen is what is sent.
    fn insert(&mut self, inserted: &str) {
        let typed_joiner = matches!(inserted, "\u{200C}" | "\u{200D}");
        let harmless = if typed_joiner { inserted.to_owned() } else { text::terminal(inserted) };
        self.text.insert_str(self.cursor, &harmless.replace('\t', "    "));
        self.cursor += harmless.replace('\t', "    ").len();
    }

    fn remove(&mut self, range: std::ops::Range<usize>) {
        self.cursor = range.start;
        self.text.replace_range(range, "");
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        let next = self.text[self.cursor..].graphemes(true).next();
        self.cursor + next.map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let mut words = self.text[..self.cursor].unicode_word_indices();
        words.next_back().map_or(0, |(at, _)| at)
    }

    fn word_after(&self) -> usize {
        let mut words = self.text[self.cursor..].unicode_word_indices();
        words.next().map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    /// Returns the text as lines of at most `width` columns, and the column and line of the cursor.
    #[must_use]
    pub fn lines(&self, width: usize) -> (Vec<&str>, (usize, usize)) {
        // The cursor behind a full line needs a column of its own.
        let lines = wrap(&self.text, width.saturating_sub(1));
        let row = lines.iter().rposition(|(start, _)| *start <= self.cursor).unwrap_or(0);
        let (start, line) = lines[row];
        let before = &self.text[start..self.cursor];
        let column = columns(before.strip_suffix('\n').unwrap_or(before));
        // Spaces at the end of a line hang over, and take the cursor with them.
        let column = column.min(columns(line).max(width.saturating_sub(1)));
        (lines.into_iter().map(|(_, line)| line).collect(), (column, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(edits: impl IntoIterator<Item = Edit>) -> Editor {
        let mut editor = Editor::default();
        for edit in edits {
            editor.edit(edit);
        }
        editor
    }

    fn words(text: &str) -> Edit {
        Edit::Paste(text.to_owned())
    }

    #[test]
    fn text_is_changed_where_the_cursor_is() {
        let back = |n: usize| std::iter::repeat_n(Edit::Left, n);
        let text = |edits: Vec<Edit>| typed(edits).text().to_owned();
        let edits = |first: &str, then: Vec<Edit>| [vec![words(first)], then].concat();
        assert_eq!(text(edits("ac", [back(1).collect(), vec![Edit::Insert('b')]].concat())), "abc");
        assert_eq!(text(edits("one two", vec![Edit::DeleteWord])), "one ");
        assert_eq!(text(edits("one two", vec![Edit::WordLeft, Edit::DeleteToStart])), "two");
        assert_eq!(text(edits("a\nbc", vec![Edit::Start, Edit::DeleteToEnd])), "a\n");
        assert_eq!(text(edits("e\u{301}", vec![Edit::Backspace])), "");
        assert_eq!(text(edits("日本", vec![Edit::Left, Edit::Delete])), "日");
        assert_eq!(text(edits("ab", vec![Edit::Start, Edit::Backspace, Edit::Delete])), "b");
        assert_eq!(
            text(edits("a b", vec![Edit::Start, Edit::WordRight, Edit::Insert('!')])),
            "a! b"
        );
    }

    #[test]
    fn what_is_pasted_is_seen_and_harmless() {
        let editor = typed([words("a\u{1b}[31m\r\nb\u{202e}\tc")]);
        assert_eq!(editor.text(), "a\u{241b}[31m\nb[U+202E]    c");
        // Persian is typed with joiners.
        let persian = typed([Edit::Insert('ی'), Edit::Insert('\u{200C}'), Edit::Insert('ه')]);
        assert_eq!(persian.text(), "ی\u{200C}ه");
    }

    #[test]
    fn the_cursor_is_where_the_next_character_goes() {
        let place = |text: &str, width| typed([words(text)]).lines(width).1;
        assert_eq!(place("", 10), (0, 0));
        assert_eq!(place("abc", 10), (3, 0));
        assert_eq!(place("日本", 10), (4, 0));
        assert_eq!(place("one two", 6), (3, 1));
        assert_eq!(place("one\n", 10), (0, 1));
        for width in 0..12 {
            let (_, (column, _)) = typed([words("some text   \nof 日本 words   ")]).lines(width);
            assert!(column <= width.max(2), "{width}");
        }
    }
}
