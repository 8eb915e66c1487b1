//! Messages as rows of a table.

use std::collections::HashMap;

use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::{Out, cell, id};
use crate::protocol::MessageId;
use crate::protocol::messages::{Message, MessageState, Party};

/// How many characters of a text a row has where nothing else cuts it.
const TEXT: usize = 500;

/// How many steps of a thread are indented.
const DEEPEST: usize = 8;

const COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::whole("SENT"),
    Column::text("FROM", 8),
    Column::text("TO", 8),
    Column::whole("STATE"),
    Column::text("TEXT", 20),
];

/// The columns of `--sent`.
const SENT_COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::whole("SENT"),
    Column::text("TO", 8),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::text("TEXT", 20),
];

/// Prints messages, oldest first.
pub fn all(messages: &[Message], out: &mut Out) -> Result<(), CliError> {
    let rows = messages.iter().map(|message| row(message, &marked(message, out), out)).collect();
    Ok(out.table(&COLUMNS, rows)?)
}

/// Prints messages of one sender, with the time of their state.
pub fn sent(messages: &[Message], out: &mut Out) -> Result<(), CliError> {
    let rows = messages.iter().map(|message| {
        let (since, _) = message.standing();
        vec![
            id(&message.id).into(),
            out.when(message.sent_at).into(),
            called(&message.to).into(),
            state(message),
            out.when(since).into(),
            cell(&marked(message, out), TEXT).into(),
        ]
    });
    let rows = rows.collect();
    Ok(out.table(&SENT_COLUMNS, rows)?)
}

/// Prints a thread: each answer below what it answers, and further in.
pub fn thread(messages: &[Message], out: &mut Out) -> Result<(), CliError> {
    let rows = in_thread(messages).into_iter().map(|(message, depth)| {
        let mut row = row(message, &message.text, out);
        let text = row.pop().map(|text| text.indented(2 * depth.min(DEEPEST)));
        row.extend(text);
        row
    });
    let rows = rows.collect();
    Ok(out.table(&COLUMNS, rows)?)
}

/// Returns messages in the order of a thread, each with the number of steps to its beginning.
pub fn in_thread(messages: &[Message]) -> Vec<(&Message, usize)> {
    let known: HashMap<&MessageId, usize> =
        messages.iter().enumerate().map(|(index, message)| (&message.id, index)).collect();
    let mut answers: Vec<Vec<usize>> = vec![Vec::new(); messages.len()];
    let mut open = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        match message.reply_to.as_ref().and_then(|answered| known.get(answered)) {
            // An answer is sent after what it answers, so there is no circle.
            Some(answered) if *answered < index => answers[*answered].push(index),
            _ => open.push((index, 0)),
        }
    }
    open.reverse();
    let mut ordered = Vec::with_capacity(messages.len());
    while let Some((index, depth)) = open.pop() {
        ordered.push((&messages[index], depth));
        open.extend(answers[index].iter().rev().map(|answer| (*answer, depth + 1)));
    }
    ordered
}

fn row(message: &Message, text: &str, out: &Out) -> Vec<Cell> {
    vec![
        id(&message.id).into(),
        out.when(message.sent_at).into(),
        called(&message.from).into(),
        called(&message.to).into(),
        state(message),
        cell(text, TEXT).into(),
    ]
}

/// Returns the text, for a person with a mark that it answers another message.
fn marked(message: &Message, out: &Out) -> String {
    let mark = if message.reply_to.is_some() && out.is_terminal() { "↳ " } else { "" };
    format!("{mark}{}", message.text)
}

/// Returns a name in one word.
pub fn called(party: &Party) -> String {
    // A sender such as "backend (by its command line)" must stay one column.
    cell(party.called(), 60).replace(' ', "_")
}

/// Returns "read,tool", "offered,channel", "queued" and the like.
pub fn state(message: &Message) -> Cell {
    let via = message.read_via.or(message.offered_via);
    let word = match via {
        Some(via) => format!("{},{via}", message.state),
        None => message.state.to_string(),
    };
    match message.state {
        MessageState::Read => Cell::inked(word, Ink::Good),
        MessageState::Queued => Cell::inked(word, Ink::Attention),
        MessageState::Expired | MessageState::Unconfirmed => Cell::inked(word, Ink::Bad),
        MessageState::Offered | MessageState::Unknown => word.into(),
    }
}
