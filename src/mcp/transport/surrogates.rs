//! Repairs half characters (unpaired surrogates) in the client's JSON.
//!
//! JavaScript can cut a string in the middle of a character, and writes such a half as an escape
//! (`\ud83d`) that is not valid text. A line with one could not be parsed, so its call would never
//! be answered. Each half is replaced by U+FFFD, which is as long; all other bytes pass unchanged.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The length of `\ud83d`.
const ESCAPE: usize = 6;

/// Bytes per read.
const CHUNK: usize = 8 * 1024;

/// A reader that replaces half characters in what `inner` reads.
pub struct SurrogateRepair<R> {
    inner: R,
    held: Vec<u8>,
    /// The number of held bytes that may be passed on. An incomplete escape follows them.
    decided: usize,
    ended: bool,
}

impl<R> SurrogateRepair<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, held: Vec::new(), decided: 0, ended: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for SurrogateRepair<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.decided > 0 || this.ended {
                let length = this.decided.min(buffer.remaining());
                buffer.put_slice(&this.held[..length]);
                this.held.drain(..length);
                this.decided -= length;
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            this.held.extend_from_slice(read.filled());
            this.ended = read.filled().is_empty();
            this.decided = if this.ended { this.held.len() } else { repair(&mut this.held) };
        }
    }
}

/// Repairs bytes that begin outside an escape, and returns how many of them are decided. The end of
/// a line always is.
fn repair(bytes: &mut [u8]) -> usize {
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
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const CASES: [(&str, &str); 12] = [
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

    /// Reads its bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (piece, rest) = self.0.split_at(self.1.min(self.0.len()).min(buffer.remaining()));
            buffer.put_slice(piece);
            self.0 = rest;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn half_characters_are_replaced_however_the_bytes_come() {
        for (given, wanted) in CASES {
            for size in 1..=given.len() {
                let mut read = String::new();
                let mut reader = SurrogateRepair::new(Pieces(given.as_bytes(), size));
                reader.read_to_string(&mut read).await.unwrap();
                assert_eq!(read, wanted, "{given:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn nothing_is_held_over_a_lines_end() {
        for (given, _) in CASES {
            let mut line = format!("{given}\n").into_bytes();
            assert_eq!(repair(&mut line), line.len(), "{given:?}");
        }
    }
}
