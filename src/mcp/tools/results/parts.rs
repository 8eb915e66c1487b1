//! Messages that are larger than a result: each result shows the next part.

use crate::mcp::tools::results::Output;
use crate::protocol::mailbox::Delivery;
use crate::protocol::{MessageId, Timestamp};
use crate::text;
use crate::text::message;

/// Room for what cutting a text may add to it: a backslash before what has become a tag.
const RESERVE: usize = 16;

/// A message of which a part was shown.
#[derive(Debug, Clone)]
pub struct Begun {
    pub id: MessageId,
    /// Where the next part begins in the text as it is shown, in bytes.
    next: usize,
    /// What was true of the message when its first part was shown.
    repeat: bool,
    already_pushed: bool,
}

/// A result, and what it shows.
pub struct Shown {
    pub output: Output,
    /// The messages of which nothing is left to show.
    pub whole: Vec<MessageId>,
    /// The message of which a part was shown last, and something is left.
    pub begun: Option<Begun>,
}

/// One part of a message.
pub struct Part {
    /// The message, with the text of the part.
    pub message: Delivery,
    /// Which part it is: `characters 1-7900 of 65536`.
    pub which: String,
    /// What is left; `None` if this is the last part.
    pub rest: Option<Begun>,
}

impl Part {
    /// Returns the next part of a message, of at most `room` bytes as it is written.
    pub fn next(whole: &Delivery, begun: Option<&Begun>, room: usize) -> Self {
        let shown = text::block(&whole.text);
        let mut message = whole.clone();
        let mut at = 0;
        if let Some(begun) = begun.filter(|begun| begun.id == whole.id) {
            (message.repeat, message.already_pushed) = (begun.repeat, begun.already_pushed);
            // The same text is shown the same way.
            at = shown.get(begun.next..).map_or(0, |_| begun.next);
        }
        let end = at + text::part_end(&shown[at..], room.saturating_sub(RESERVE));
        let count = |text: &str| text.chars().count();
        let first = count(&shown[..at]) + 1;
        let which = format!(
            "characters {first}-{} of {}",
            first + count(&shown[at..end]).saturating_sub(1),
            count(&shown)
        );
        shown[at..end].clone_into(&mut message.text);
        let rest = (end < shown.len()).then(|| Begun {
            id: whole.id.clone(),
            next: end,
            repeat: message.repeat,
            already_pushed: message.already_pushed,
        });
        Self { message, which, rest }
    }

    /// Returns the part as text for a model.
    pub fn text(&self, now: Timestamp) -> String {
        message::part(&self.message, &self.which, now)
    }

    /// Returns the part as a result, which `output` makes, in forms of at most `room` bytes.
    pub fn fitting(
        whole: &Delivery,
        begun: Option<&Begun>,
        room: usize,
        output: impl Fn(&Self) -> Output,
    ) -> Shown {
        // What is around the text takes its part of the room.
        let mut left = room.saturating_sub(output(&Self::next(whole, begun, 0)).len());
        loop {
            let part = Self::next(whole, begun, left);
            let output = output(&part);
            if output.len() <= room || left < 100 {
                let whole = if part.rest.is_none() { vec![part.message.id] } else { Vec::new() };
                return Shown { output, whole, begun: part.rest };
            }
            left -= left / 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mcp::tools::results::{ROOM, check_messages, unread};
    use crate::protocol::mailbox::Taken;

    fn message(id: &str, text: &str) -> Delivery {
        Delivery { id: MessageId::from_text(id), ..unread::tests::message(text) }
    }

    fn taken(messages: Vec<Delivery>, remaining: u64) -> Taken {
        Taken { messages, remaining, ..Taken::default() }
    }

    #[test]
    fn a_large_message_is_read_in_parts_and_nothing_is_lost() {
        for unit in
            ["word and word\n", "\"\\\n", "漢字", "👩‍👩‍👧", "x", "<users> ", "a\u{202e}b <system> "]
        {
            let text = unit.repeat(65_536 / unit.len());
            let mut begun = None;
            let mut read = String::new();
            for call in 0.. {
                assert!(call < 60, "{unit:?}");
                // The broker takes what was offered before for a repeat.
                let repeat = call > 0;
                let large = Delivery { repeat, ..message("m1", &text) };
                let more = taken(vec![large], 3);
                let shown = check_messages(&more, Duration::ZERO, ROOM, begun.as_ref());
                assert!(shown.output.len() <= ROOM, "{unit:?}: {}", shown.output.len());
                let structured = &shown.output.structured;
                let view = &structured["messages"][0];
                read.push_str(view["text"].as_str().unwrap());
                assert!(view.get("repeat").is_none(), "only the same call showed it");
                assert!(view["part"].as_str().unwrap().starts_with("characters "));
                assert!(shown.output.text.contains(view["part"].as_str().unwrap()));
                let rest = u64::from(shown.begun.is_some());
                assert_eq!(structured["remaining"], 3 + rest);
                begun = shown.begun;
                if begun.is_none() {
                    assert_eq!(shown.whole, [MessageId::from_text("m1")]);
                    break;
                }
                assert!(shown.whole.is_empty(), "it is not read yet");
            }
            // A part may end in what looks like a tag and gets a backslash.
            let plain = |text: &str| text.replace('\\', "");
            assert!(plain(&read) == plain(&text::block(&text)), "{unit:?}");
        }
    }

    #[test]
    fn as_many_messages_are_shown_as_fit_and_the_others_stay_unread() {
        let small = |n: u32| message(&format!("m{n:011}"), &"x".repeat(300));
        let all: Vec<Delivery> = (0..200).map(small).collect();
        let shown = check_messages(&taken(all, 5), Duration::ZERO, ROOM, None);
        assert!(shown.output.len() <= ROOM && shown.begun.is_none());
        let count = shown.whole.len();
        assert!((10..100).contains(&count), "{count}");
        assert_eq!(shown.output.structured["messages"].as_array().unwrap().len(), count);
        assert_eq!(shown.output.structured["remaining"], 205 - count as u64);
        // A large one behind them waits its turn, and a part of it that was shown is not forgotten.
        let both = taken(vec![small(1), message("m2", &"y".repeat(20_000))], 0);
        let begun =
            Begun { id: MessageId::from_text("m2"), next: 5, repeat: false, already_pushed: false };
        let shown = check_messages(&both, Duration::ZERO, ROOM, Some(&begun));
        assert_eq!(shown.whole, [small(1).id]);
        assert_eq!(shown.begun.map(|begun| begun.next), Some(5));
    }
}
