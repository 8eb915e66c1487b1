//! Event streams: that of a session, as its server reads it, and that of an observer.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::Response;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::client::error::{ClientError, Result};
use crate::client::http::failed;
use crate::protocol::events::Observed;
use crate::protocol::mailbox::Delivery;
use crate::protocol::stream::Event;

/// An open stream. Dropping the stream makes the session away.
pub struct EventStream {
    body: Body,
    lines: DataLines,
}

impl EventStream {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self { body: Body::new(response.into_body()), lines: DataLines::default() }
    }

    /// Returns the next event; `None` once the broker is gone.
    ///
    /// # Errors
    ///
    /// If the stream breaks, or carries something that is not an event.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        self.next_by(event).await
    }

    async fn next_by<T>(&mut self, read: fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
        loop {
            if let Some(data) = self.lines.next() {
                return read(data).map(Some);
            }
            match self.bytes().await? {
                Some(bytes) => self.lines.extend(&bytes),
                None => return Ok(None),
            }
        }
    }

    async fn bytes(&mut self) -> Result<Option<Bytes>> {
        let mut body = Pin::new(&mut self.body);
        while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            // Trailers say nothing.
            if let Ok(bytes) = frame.map_err(|error| failed(&error, true))?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// An observer's stream.
pub struct ObserverStream(EventStream);

impl ObserverStream {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        Self(EventStream::new(response))
    }

    /// Returns the next event; `None` once the broker is gone.
    ///
    /// # Errors
    ///
    /// If the stream breaks, or carries something that is not an event.
    pub async fn next(&mut self) -> Result<Option<Observed>> {
        let read = |data: &[u8]| {
            serde_json::from_slice(data).map_err(|error| ClientError::Nonsense(error.to_string()))
        };
        self.0.next_by(read).await
    }
}

/// Reads an event.
pub(super) fn event(data: &[u8]) -> Result<Event> {
    // By far the most events, and their type is read in one pass.
    if let Ok(Message { kind: "message", delivery }) = serde_json::from_slice(data) {
        return Ok(Event::Message { delivery });
    }
    serde_json::from_slice(data).map_err(|error| ClientError::Nonsense(error.to_string()))
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    delivery: Box<Delivery>,
}

/// The `data:` lines of server-sent events, of which ours have one each.
#[derive(Default)]
pub(super) struct DataLines {
    bytes: Vec<u8>,
    /// What was returned already.
    start: usize,
    /// No line ends between `start` and here.
    searched: usize,
}

impl DataLines {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.bytes[self.searched..];
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let (start, end) = (self.start, self.searched + length);
            self.start = end + 1;
            self.searched = self.start;
            let line = &self.bytes[start..end];
            // Blank lines separate the events; comments and other fields are nothing of ours.
            if line.starts_with(FIELD) {
                let data = &self.bytes[start + FIELD.len()..end];
                return Some(data.strip_suffix(b"\r").unwrap_or(data));
            }
        }
    }
}

const FIELD: &[u8] = b"data:";

/// A buffer that has grown beyond this, in bytes, is not kept.
const KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_come() {
        let stream = ": a comment\n\ndata: {\"a\":1}\n\nevent: x\r\ndata:{}\r\n\r\ndata: last\n\n";
        for size in 1..=stream.len() {
            let (mut lines, mut found) = (DataLines::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                lines.extend(piece);
                while let Some(data) = lines.next() {
                    found.push(String::from_utf8(data.to_vec()).unwrap());
                }
            }
            assert_eq!(found, [" {\"a\":1}", "{}", " last"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_is_read_as_the_event_that_it_is() {
        let delivery = serde_json::json!({
            "id": "m1", "from_id": "abc12345", "sent_at": "2026-01-02T03:04:05.678Z",
            "text": "\u{1F980} \"quoted\"", "of_a_later_version": [1, 2],
        });
        for json in [
            serde_json::json!({ "type": "message", "delivery": delivery }),
            serde_json::json!({ "delivery": delivery, "type": "message", "more": null }),
            serde_json::json!({ "type": "bye", "reason": "stopping" }),
            serde_json::json!({ "type": "of_a_later_version", "delivery": delivery }),
        ] {
            let text = json.to_string();
            let expected: Event = serde_json::from_str(&text).unwrap();
            let read = event(text.as_bytes()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{expected:?}"));
        }
        assert!(event(b"{}").is_err());
    }
}
