//! Events as lines.

use std::collections::HashMap;

use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::{Out, cell, id};
use crate::protocol::events::Observed;
use crate::protocol::messages::{Message, MessageState};
use crate::protocol::peers::{Activity, Peer, PeerKind};
use crate::protocol::{PeerId, Timestamp};
use crate::sys::clock;

/// How many characters of a name a line has.
const NAME: usize = 60;

/// How many characters of a message a line has.
const TEXT: usize = 500;

/// One line: when, what, and whether the person is to be told.
pub struct Line {
    pub at: Timestamp,
    pub title: String,
    pub text: String,
    pub ink: Option<Ink>,
    pub concerns_person: bool,
}

impl Line {
    fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            at: clock::now(),
            title: title.into(),
            text: text.into(),
            ink: None,
            concerns_person: false,
        }
    }

    fn ink(self, ink: Ink) -> Self {
        Self { ink: Some(ink), ..self }
    }

    fn for_person(self, concerns: bool) -> Self {
        Self { concerns_person: concerns, ..self }
    }
}

/// Returns the lines for an event, of which the peers were known before.
pub fn of(event: &Observed, known: &HashMap<PeerId, Peer>) -> Vec<Line> {
    match event {
        Observed::Snapshot { peers, .. } => {
            let live = peers.iter().filter(|peer| peer.live).count();
            vec![Line::new("watching", format!("{live} live peers")).ink(Ink::Dim)]
        }
        Observed::Peer { peer } => changed(known.get(&peer.id), peer),
        Observed::PeerGone { id } => known
            .get(id)
            .map(|peer| Line::new(cell(peer.called(), NAME), "is gone").ink(Ink::Dim))
            .into_iter()
            .collect(),
        Observed::Message { message } => vec![message_line(message, known)],
        Observed::Bye { .. } | Observed::Unknown => Vec::new(),
    }
}

/// Returns what has changed of a peer, in a line for each.
fn changed(before: Option<&Peer>, now: &Peer) -> Vec<Line> {
    let name = cell(now.called(), NAME);
    let was_live = before.is_some_and(|before| before.live);
    if now.live && !was_live {
        let line = Line::new(&name, format!("is here, in {}", cell(&now.cwd, 200))).ink(Ink::Good);
        return vec![line];
    }
    let Some(before) = before else { return Vec::new() };
    if was_live && !now.live {
        return vec![Line::new(name, "is away").ink(Ink::Dim)];
    }
    let mut lines = Vec::new();
    if before.name != now.name {
        lines.push(Line::new(&name, format!("was called {}", cell(before.called(), NAME))));
    }
    if before.summary != now.summary && !now.summary.is_empty() {
        lines.push(Line::new(&name, cell(&now.summary, TEXT)));
    }
    if before.activity != now.activity {
        match now.activity {
            Activity::Waiting => {
                let line = Line::new(&name, "waits for you: a dialog is open");
                lines.push(line.ink(Ink::Attention).for_person(true));
            }
            Activity::Busy => lines.push(Line::new(&name, "is at work").ink(Ink::Dim)),
            Activity::Idle => lines.push(Line::new(&name, "is idle").ink(Ink::Dim)),
            Activity::Unknown => {}
        }
    }
    lines
}

fn message_line(message: &Message, known: &HashMap<PeerId, Peer>) -> Line {
    let way =
        format!("{} → {}", cell(message.from.called(), NAME), cell(message.to.called(), NAME));
    let (since, via) = message.standing();
    let via = via.map(|via| format!(" by {via}")).unwrap_or_default();
    let text = cell(&message.text, TEXT);
    let is_to_person = known.get(&message.to.id).is_some_and(|peer| peer.kind == PeerKind::Cli);
    let line = match message.state {
        MessageState::Queued | MessageState::Offered => {
            // One that the command line has just been shown is no news.
            let is_news = is_to_person && message.state == MessageState::Queued;
            Line::new(way, format!("{}{via}: {text}", message.state)).for_person(is_news)
        }
        MessageState::Read => {
            Line::new(way, format!("read{via}: {}", id(&message.id))).ink(Ink::Good)
        }
        MessageState::Expired | MessageState::Unconfirmed => {
            Line::new(way, format!("{}: {text}", message.state)).ink(Ink::Bad).for_person(true)
        }
        MessageState::Unknown => Line::new(way, text),
    };
    Line { at: since, ..line }
}

/// Prints a line.
pub fn print(line: &Line, out: &mut Out) -> Result<(), CliError> {
    let text = format!("{}  {}  {}", out.clock_time(line.at), line.title, line.text);
    match line.ink {
        Some(ink) => out.inked(ink, text)?,
        None => out.line(text)?,
    }
    Ok(())
}
