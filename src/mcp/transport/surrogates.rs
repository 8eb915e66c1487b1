//! Repairs half characters (unpaired surrogates) in the client's JSON.
//!
//! JavaScript can cut a string in the middle of a character, and writes such a half as an escape
//! (`\ud83d`) that is not valid text. A line with one could not be parsed, so its call would never
//! be answered. Each half is replaced by U+FFFD, which is as long; all other bytes pass unchanged.

/// The length of `\ud83d`.
const ESCAPE: usize = 6;

/// Repairs bytes that begin outside an escape, and returns how many of them are decided. The end of
/// a line always is.
pub fn repair(bytes: &mut [u8]) -> usize {
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|&byte| byte == b'\\') {
        at += next;
        at += match unit(&bytes[at..]) {
            Unit::Cut => return at,
            Unit::Other => 2.min(bytes.len() - at),
            Unit::Code(0xd800..0xdc00) => match unit(&bytes[at + ESCAPE..]) {
                Unit::Cut => return at,
                Unit::Code(0xdc00..0xe000) => 2 * ESCAPE,
                _ => replace(&mut bytes[at..]),
            },
            Unit::Code(0xdc00..0xe000) => replace(&mut bytes[at..]),
            Unit::Code(_) => ESCAPE,
        };
    }
    bytes.len()
}

fn replace(bytes: &mut [u8]) -> usize {
    bytes[..ESCAPE].copy_from_slice(b"\\ufffd");
    ESCAPE
}

enum Unit {
    /// `\u` and four digits.
    Code(u16),
    /// Anything else, including other kinds of escape.
    Other,
    /// The beginning of what may become a [`Unit::Code`].
    Cut,
}

fn unit(bytes: &[u8]) -> Unit {
    let head = &bytes[..bytes.len().min(ESCAPE)];
    let fits = head.iter().enumerate().all(|(at, byte)| match at {
        0 => *byte == b'\\',
        1 => *byte == b'u',
        _ => byte.is_ascii_hexdigit(),
    });
    match (fits, head.len()) {
        (false, _) => Unit::Other,
        (true, ESCAPE) => std::str::from_utf8(&head[2..])
            .ok()
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .map_or(Unit::Other, Unit::Code),
        (true, _) => Unit::Cut,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const CASES: [(&str, &str); 12] = [
        ("plain\n", "plain\n"),
        (r"\ud83d\ude00", r"\ud83d\ude00"),
        (r"\uD83D\uDE00", r"\uD83D\uDE00"),
        (r#""a\ud83d""#, r#""a\ufffd""#),
        (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
        (r"\ude00\ud83dx", r"\ufffd\ufffdx"),
        (r"\ud83d\n\ude00", r"\ufffd\n\ufffd"),
        (r"\\ud83d", r"\\ud83d"),
        (r"\\\ud83dx", r"\\\ufffdx"),
        (r"\u00e9\ud7ff\ue000", r"\u00e9\ud7ff\ue000"),
        ("\\ud8\n\\ud83d\n\\", "\\ud8\n\\ufffd\n\\"),
        (r"\u+123\ud83", r"\u+123\ud83"),
    ];

    #[test]
    fn nothing_is_held_over_a_lines_end() {
        for (given, _) in CASES {
            let mut line = format!("{given}\n").into_bytes();
            assert_eq!(repair(&mut line), line.len(), "{given:?}");
        }
    }
}
