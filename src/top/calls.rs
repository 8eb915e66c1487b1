//! The calls that the model asks for.

use crate::client::Client;
use crate::protocol::messages::{ListMessages, SendMessage};
use crate::top::model::command::{Command, Outcome, PAGE, Problem, Surroundings};

/// How many messages are read that were sent after one that was found.
const AFTER_FOUND: u32 = 200;

/// Makes the call that a command asks for; `None` if it asks for none.
pub async fn call(client: Client, command: Command) -> Option<Outcome> {
    let page = || ListMessages { limit: PAGE, ..ListMessages::default() };
    match command {
        Command::History { serial, peer, before } => {
            let request = ListMessages { peer: Some(peer.to_string()), before, ..page() };
            let result = client.messages(&request).await.map_err(|error| Problem::from(&error));
            Some(Outcome::History { serial, result })
        }
        Command::Around { serial, peer, message, sent_at } => {
            let peer = Some(peer.to_string());
            let before =
                ListMessages { peer: peer.clone(), before: Some(message.clone()), ..page() };
            let limit = AFTER_FOUND;
            let after =
                ListMessages { limit, peer, since: Some(sent_at), ..ListMessages::default() };
            let found = ListMessages { id: Some(message.clone()), ..ListMessages::default() };
            let [before, found, after] = [&before, &found, &after].map(|it| client.messages(it));
            let result = match tokio::join!(before, found, after) {
                (Ok(before), Ok(found), Ok(after)) => Ok(Surroundings { before, found, after }),
                (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                    Err(Problem::from(&error))
                }
            };
            Some(Outcome::Around { serial, found: message, result })
        }
        Command::Search { serial, words, before } => {
            let request = ListMessages { search: Some(words), before, ..page() };
            let result = client.messages(&request).await.map_err(|error| Problem::from(&error));
            Some(Outcome::Search { serial, result })
        }
        Command::Send { to, text } => {
            let request = SendMessage {
                to: to.to_string(),
                text,
                reply_to: None,
                from_session: client.config().claude.session.clone(),
                wait: false,
            };
            let result = client.send(&request).await;
            let result = result.map(Box::new).map_err(|error| Problem::from(&error));
            Some(Outcome::Sent { to, result })
        }
        Command::Connect | Command::Redraw | Command::Suspend | Command::Quit => None,
    }
}
