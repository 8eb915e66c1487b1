//! Messages as a document.

use std::fmt::Write as _;

use crate::cli::error::CliError;
use crate::cli::log::full::party;
use crate::cli::log::rows::in_thread;
use crate::cli::output::{Out, id};
use crate::protocol::messages::Message;
use crate::text;

/// Prints messages as Markdown: a section for each, answers after what they answer.
///
/// A text stands in a fenced block, because it is no Markdown of ours.
pub fn markdown(messages: &[Message], out: &mut Out) -> Result<(), CliError> {
    out.line("# Messages")?;
    for (message, depth) in in_thread(messages) {
        let mut section = String::new();
        let level = "#".repeat(2 + depth.min(4));
        // Writing to a string cannot fail.
        let _ = writeln!(section, "\n{level} {} → {}\n", party(&message.from), party(&message.to));
        let _ = writeln!(section, "* message: `{}`", id(&message.id));
        if let Some(answered) = &message.reply_to {
            let _ = writeln!(section, "* answers: `{}`", id(answered));
        }
        let _ = writeln!(section, "* sent: {}", message.sent_at);
        let (since, via) = message.standing();
        let by = via.map(|via| format!(" by {via}")).unwrap_or_default();
        let _ = writeln!(section, "* state: {}{by}, {since}\n", message.state);
        let body = text::terminal(&message.text);
        let fence = fence(&body);
        let _ = write!(section, "{fence}text\n{body}\n{fence}");
        out.line(section)?;
    }
    Ok(())
}

/// Returns a fence that the text does not have.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_block() {
        for (text, expected) in [("", "```"), ("a `b` c", "```"), ("```\nx\n```", "````")] {
            assert_eq!(fence(text), expected);
        }
    }
}
