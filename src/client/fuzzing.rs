//! The fuzzers' entry point.

// Like a test, it fails loudly.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::client::stream::{DataLines, event};
use crate::protocol::stream::Event;

/// An event stream means the same in whatever pieces it comes; an event that is read, and written
/// again, is read as the same.
///
/// The first byte is the size of the pieces.
pub fn event_stream(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let whole = lines(data, data.len().max(1));
    let pieces = lines(data, usize::from(*size).max(1));
    assert_eq!(whole, pieces, "in pieces of {size}");
    for line in whole {
        let Ok(read) = event(&line) else { continue };
        let written = serde_json::to_vec(&read).unwrap();
        let again: Event = serde_json::from_slice(&written).unwrap();
        assert_eq!(format!("{read:?}"), format!("{again:?}"));
    }
}

fn lines(data: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (mut lines, mut found) = (DataLines::default(), Vec::new());
    for piece in data.chunks(size) {
        lines.extend(piece);
        while let Some(data) = lines.next() {
            found.push(data.to_vec());
        }
    }
    found
}
