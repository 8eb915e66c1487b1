//! Reads the values of one key in one of git's configuration files. Includes are not followed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::sys::git::files;

/// Returns the values of `section.key` in a file, in order. A key without a value is skipped.
pub fn values(file: &Path, section: &str, key: &str) -> Vec<OsString> {
    let content = files::read(file).unwrap_or_default();
    parse(&content, section, key).into_iter().map(OsString::from_vec).collect()
}

fn parse(content: &[u8], section: &str, key: &str) -> Vec<Vec<u8>> {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    let mut reader = Reader { rest: content };
    let mut found = Vec::new();
    let mut here = false;
    while let Some(first) = reader.peek() {
        match first {
            b'[' => here = reader.heading().eq_ignore_ascii_case(section.as_bytes()),
            b'#' | b';' => reader.skip_line(),
            first if first.is_ascii_whitespace() => drop(reader.next()),
            _ => {
                let name = reader.name();
                let value = reader.value();
                if here && name.eq_ignore_ascii_case(key.as_bytes()) {
                    found.extend(value);
                }
            }
        }
    }
    found
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Iterator for Reader<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip_line(&mut self) {
        let _ = self.find(|byte| *byte == b'\n');
    }

    /// Reads the text between the brackets, including a subsection.
    fn heading(&mut self) -> Vec<u8> {
        let mut quoted = false;
        let mut heading = Vec::new();
        let _ = self.next();
        while let Some(byte) = self.next() {
            match byte {
                b'\\' if quoted => heading.extend(self.next()),
                b'"' => {
                    quoted = !quoted;
                    heading.push(byte);
                }
                b']' if !quoted => break,
                b'\n' => break,
                _ => heading.push(byte),
            }
        }
        heading
    }

    fn name(&mut self) -> Vec<u8> {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name.to_owned()
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            let _ = self.next();
        }
        if self.peek() != Some(b'=') {
            self.skip_line();
            return None;
        }
        let _ = self.next();
        let (mut value, mut kept, mut quoted) = (Vec::new(), 0, false);
        while let Some(byte) = self.next() {
            match byte {
                b'\n' => break,
                b'#' | b';' if !quoted => {
                    self.skip_line();
                    break;
                }
                b'"' => {
                    quoted = !quoted;
                    kept = value.len();
                }
                b'\\' => {
                    value.extend(self.escaped());
                    kept = value.len();
                }
                // Only space within a value, or in quotes, is part of it.
                byte if byte.is_ascii_whitespace() && !quoted => {
                    if !value.is_empty() {
                        value.push(byte);
                    }
                }
                _ => {
                    value.push(byte);
                    kept = value.len();
                }
            }
        }
        value.truncate(kept);
        Some(value)
    }

    /// Returns the character for a backslash and the next one; `None` for a continued line.
    fn escaped(&mut self) -> Option<u8> {
        match self.next()? {
            b'\n' => None,
            b'\r' if self.peek() == Some(b'\n') => {
                let _ = self.next();
                None
            }
            b'n' => Some(b'\n'),
            b't' => Some(b'\t'),
            b'b' => Some(8),
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worktree(content: &str) -> Vec<String> {
        let found = parse(content.as_bytes(), "core", "worktree");
        found.into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn values_are_read_as_git_reads_them() {
        for (content, expected) in [
            ("[core]\n\tbare = false\n\tworktree = ../x\n", vec!["../x"]),
            ("[core] worktree = a b \t; comment\n", vec!["a b"]),
            ("[CORE]\nWorkTree=\"a # b \" # c\n", vec!["a # b "]),
            ("[core]\nworktree = a\\\nb\\\\c\\\"\n", vec!["ab\\c\""]),
            (
                "[core]\nworktree = one\n[other]\nworktree = no\n[core]\nworktree = two",
                vec!["one", "two"],
            ),
            ("[core \"sub\"]\nworktree = no\n[remote \"a]b\"]\nworktree = no\n", vec![]),
            ("# [core]\n; x\n[core]\nworktree\nbare\n", vec![]),
            ("[core]\nworktree =\n", vec![""]),
            ("[core]\r\n\tworktree = /x y\r\n", vec!["/x y"]),
            ("worktree = no\n[core", vec![]),
            ("\u{feff}[core]\nworktree = \"\\t", vec!["\t"]),
        ] {
            assert_eq!(worktree(content), expected, "{content:?}");
        }
    }
}
