//! The output of a hook: messages for the model, as facts and not as orders, and a notice for the
//! person if the session's server is gone.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::protocol::MessageId;
use crate::protocol::hook::{HookEventName, HookMail};
use crate::sys::clock;
use crate::text;
use crate::text::message;

/// Bound for the text around the messages, in UTF-16 code units.
pub const FRAME_UNITS: usize = 600;

/// Returns the hook's output and the ids of the messages in it, or `None` if there is nothing to
/// print.
///
/// The context has at most `max_units` UTF-16 code units, even if the broker counted otherwise:
/// messages that the client cuts off must not count as shown. `server` is the name of our MCP server
/// in the session's client.
pub fn context(
    event: HookEventName,
    mut mail: HookMail,
    max_units: usize,
    server: &str,
) -> Option<(String, Vec<MessageId>)> {
    let mut words = words(&mail);
    while text::units(&words) > max_units && mail.messages.pop().is_some() {
        mail.remaining += 1;
        words = self::words(&mail);
    }
    let mut output = serde_json::Map::new();
    if !words.is_empty() {
        let context = json!({ "hookEventName": event.as_str(), "additionalContext": words });
        output.insert("hookSpecificOutput".to_owned(), context);
    }
    if mail.server_gone {
        let notice = format!(
            "claude-peers: the MCP server of this session is not running. Messages arrive, but none \
             can be sent. To restart it: /mcp reconnect {server}"
        );
        output.insert("systemMessage".to_owned(), notice.into());
    }
    if output.is_empty() {
        return None;
    }
    let ids = mail.messages.into_iter().map(|message| message.id).collect();
    Some((Value::Object(output).to_string(), ids))
}

/// Returns the text for the model.
fn words(mail: &HookMail) -> String {
    let now = clock::now();
    let mut out = String::new();
    match mail.messages.len() {
        0 => {}
        1 => out.push_str("1 message came through claude-peers; its lines begin with \"| \". "),
        count => {
            let _ = write!(
                out,
                "{count} messages came through claude-peers, oldest first; their lines begin with \"| \". "
            );
        }
    }
    if !mail.messages.is_empty() {
        out.push_str(message::ABOUT);
    }
    for message in &mail.messages {
        let _ = write!(out, "\n\n{}", message::message(message, now));
    }
    if !mail.messages.is_empty() {
        out.push_str(
            "\n\nTo answer, call send_message with to_id = from_id and reply_to = message_id.",
        );
    }
    if mail.remaining > 0 {
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        let more = if mail.messages.is_empty() { "" } else { " more" };
        let _ = match mail.remaining {
            1 => write!(out, "1{more} message from a peer waits: check_messages shows it."),
            count => {
                write!(out, "{count}{more} messages from peers wait: check_messages shows them.")
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mailbox::Delivery;
    use crate::protocol::{MessageId, PeerId};

    fn delivery(id: &str, text: String) -> Delivery {
        Delivery {
            id: MessageId::from_text(id),
            from_id: PeerId::from_text("peer1"),
            from_name: None,
            from_summary: String::new(),
            from_cwd: String::new(),
            sent_at: clock::now(),
            text,
            reply_to: None,
            repeat: false,
            already_pushed: false,
        }
    }

    #[test]
    fn the_text_around_the_messages_stays_within_its_bound() {
        let now = clock::now();
        for count in [1, 2, 200] {
            let messages =
                (0..count).map(|n| delivery(&format!("m{n}"), "🦀".to_owned())).collect();
            let mail = HookMail { messages, remaining: 1_000, ..HookMail::default() };
            let counted: usize = mail.messages.iter().map(|m| message::rendered_len(m, now)).sum();
            let units = text::units(&words(&mail));
            assert!(units <= counted + FRAME_UNITS, "{units} for {counted}");
        }
    }

    #[test]
    fn messages_beyond_the_limit_are_left_out_and_do_not_count_as_shown() {
        let mail = |lengths: &[usize]| HookMail {
            messages: (1..)
                .zip(lengths)
                .map(|(number, count)| delivery(&format!("m{number}"), "🦀".repeat(*count)))
                .collect(),
            remaining: 0,
            ..HookMail::default()
        };
        for (lengths, shown) in [
            (vec![100, 200], vec!["m1", "m2"]),
            (vec![3_000, 3_000, 1], vec!["m1"]),
            (vec![6_000], vec![]),
        ] {
            let (text, ids) = context(HookEventName::Stop, mail(&lengths), 10_000, "x").unwrap();
            let said: Value = serde_json::from_str(&text).unwrap();
            let said = said["hookSpecificOutput"]["additionalContext"].as_str().unwrap().to_owned();
            assert!(text::units(&said) <= 10_000);
            assert_eq!(ids, shown.iter().map(|id| MessageId::from_text(*id)).collect::<Vec<_>>());
            let left = lengths.len() - shown.len();
            assert_eq!(said.contains("check_messages shows"), left > 0, "{said}");
            assert!(left == 0 || said.contains(&left.to_string()), "{said}");
        }
        assert!(context(HookEventName::Stop, HookMail::default(), 10_000, "x").is_none());
    }
}
