//! What the model reads of it: facts, not orders.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::protocol::Timestamp;
use crate::protocol::hook::{Event, HookMail};
use crate::render;

/// The hook's output, or nothing where there is nothing to say. `server` is how the session's
/// client names our MCP server.
pub fn context(event: Event, mail: &HookMail, server: &str) -> Option<String> {
    let mut output = serde_json::Map::new();
    if !mail.messages.is_empty() || mail.remaining > 0 {
        let context = json!({ "hookEventName": event.as_str(), "additionalContext": words(mail) });
        output.insert("hookSpecificOutput".to_owned(), context);
    }
    if mail.server_gone {
        let told = format!(
            "claude-peers: the MCP server of this session has ended or never came. Messages are \
             still shown, but none can be sent: /mcp reconnect {server}"
        );
        output.insert("systemMessage".to_owned(), told.into());
    }
    (!output.is_empty()).then(|| Value::Object(output).to_string())
}

fn words(mail: &HookMail) -> String {
    let now = Timestamp::now();
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
        out.push_str(render::ABOUT);
    }
    for message in &mail.messages {
        let _ = write!(out, "\n\n{}", render::message(message, now));
    }
    if !mail.messages.is_empty() {
        out.push_str(
            "\n\nAn answer goes by send_message with to_id = from_id and reply_to = message_id.",
        );
    }
    if mail.remaining > 0 {
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        let more = if mail.messages.is_empty() { "" } else { " more" };
        let _ = match mail.remaining {
            1 => write!(out, "1{more} message of a peer waits: check_messages shows it."),
            count => {
                write!(out, "{count}{more} messages of peers wait: check_messages shows them.")
            }
        };
    }
    out
}
