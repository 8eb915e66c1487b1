//! One message in full.

use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::{Out, cell, id};
use crate::protocol::messages::{Message, Party};
use crate::text;

/// Prints a message: both ends, when it got each state and by what, and its text.
pub fn print(message: &Message, out: &mut Out) -> Result<(), CliError> {
    out.line(format!("message  {}", id(&message.id)))?;
    out.line(format!("from     {}", party(&message.from)))?;
    out.line(format!("to       {}", party(&message.to)))?;
    if let Some(original) = &message.reply_to {
        out.line(format!("answers  {}", cell(original.as_str(), 40)))?;
    }
    out.line(format!("sent     {}", out.when(message.sent_at)))?;
    for (what, at, via) in [
        ("offered", message.offered_at, message.offered_via),
        ("read", message.read_at, message.read_via),
    ] {
        if let Some(at) = at {
            let via = via.map(|via| format!(" by {via}")).unwrap_or_default();
            out.line(format!("{what:8} {}{via}", out.when(at)))?;
        }
    }
    out.line(format!("state    {}", message.state))?;
    if out.is_terminal() {
        out.inked(Ink::Dim, format!("         ({})", message.state.meaning()))?;
    }
    out.line("")?;
    out.line(text::terminal(&message.text))?;
    Ok(())
}

/// Returns "name (id)".
pub fn party(party: &Party) -> String {
    format!("{} ({})", cell(party.name.as_deref().unwrap_or_default(), 60), id(&party.id))
}
