//! The fuzzers' entry point.

// Like a test, it fails loudly.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::hook::input::Input;
use crate::protocol::hook::HookEventName;

/// Whatever a client writes to a hook's standard input, it is an event or none, in whatever pieces
/// it comes.
pub fn hook_input(data: &[u8]) {
    let whole = Input::read(data);
    let pieces = Input::read(Pieces(data));
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "in pieces");
    let Some(input) = whole else { return };
    for event in [HookEventName::PostToolUse, HookEventName::Stop, HookEventName::Notification] {
        let _ = (input.event_key(event), input.is_irrelevant(event));
    }
    assert!(input.cwd().len() <= data.len() * 3);
    assert!(input.tool_duration() <= 1_000_000_000_000);
    assert!(input.pushes_in_prompt().len() <= data.len() / 10);
    let _ = input.is_subagent();
}

/// Bytes that come one by one.
struct Pieces<'a>(&'a [u8]);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = into.len().min(1);
        std::io::Read::read(&mut self.0, &mut into[..most])
    }
}
