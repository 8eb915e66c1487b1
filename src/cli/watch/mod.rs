//! `claude-peers watch`: prints what happens, a line for each event.

mod lines;
mod notify;

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::events::Events;
use crate::cli::output::Out;
use crate::client::Client;
use crate::protocol::PeerId;
use crate::protocol::events::Observed;
use crate::protocol::peers::Peer;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  claude-peers watch
  claude-peers watch --notify
  claude-peers watch --json | jq -r 'select(.type == \"message\") | .message.text'")]
pub struct Arguments {
    /// Show desktop notifications for what concerns you: messages to the command line, sessions that
    /// wait for you, and messages that nobody read
    #[arg(long, conflicts_with = "json")]
    notify: bool,
    /// Print JSON: one event a line, as the broker's event stream has them
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let notifier =
        if arguments.notify { Some(notify::Notifier::find(client.config())?) } else { None };
    let mut events = Events::open(client, 0).await?;
    let mut peers: HashMap<PeerId, Peer> = HashMap::new();
    loop {
        let event = events.next(client, out.messages()).await?;
        if arguments.json {
            out.json_line(&event)?;
        } else {
            let lines = lines::of(&event, &peers);
            lines.iter().try_for_each(|line| lines::print(line, out))?;
            out.flush()?;
            for line in lines.iter().filter(|line| line.concerns_person) {
                if let Some(notifier) = &notifier {
                    notifier.show(&line.title, &line.text, out.messages());
                }
            }
        }
        out.flush()?;
        follow(&mut peers, event);
    }
}

/// Takes account of an event.
fn follow(known: &mut HashMap<PeerId, Peer>, event: Observed) {
    match event {
        Observed::Snapshot { peers, .. } => {
            *known = peers.into_iter().map(|peer| (peer.id.clone(), peer)).collect();
        }
        Observed::Peer { peer } => {
            known.insert(peer.id.clone(), *peer);
        }
        Observed::PeerGone { id } => {
            known.remove(&id);
        }
        Observed::Message { .. } | Observed::Bye { .. } | Observed::Unknown => {}
    }
}
