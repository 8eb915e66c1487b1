//! `claude-peers hook Stop --wait`: waits beside an idle session, and wakes it when mail comes.
//!
//! Claude Code runs it at the end of each turn as an asynchronous hook ("asyncRewake") and goes
//! on. When it ends with exit code 2 the session begins a turn, whose own hook shows the mail.
//! The notice itself carries nothing of a peer.

use std::io::Read;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::input::Input;
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::process::{Process, ended};
use crate::protocol::wake::{AwaitWake, Wake};

/// Pauses between attempts to reach a broker that is not there. Its sessions start it, or the
/// service manager; a hook never does.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// How many refusals in a row end the wait: the session has no server of ours (any more).
const REFUSALS: u32 = 6;

/// Waits until the session is to be woken, and gives the notice for its model. `None` if it ends
/// first, or somebody else does it.
pub fn wait(input: impl Read, config: Config, runtime: &Runtime) -> Option<String> {
    // A session without a person (`claude -p`) must end with its answer.
    if config.claude.one_shot || !config.wake.value {
        return None;
    }
    let input = Input::read(input).filter(|input| !input.is_subagent())?;
    // Without it nobody would say when the session is over.
    let client = config.claude.pid.and_then(Process::find)?;
    let request = AwaitWake { session: input.session_id, client: Some(client.clone()) };
    runtime.block_on(async {
        tokio::select! {
            () = ended(&client) => None,
            waiting = await_wake(config, &request) => waiting.map(notice),
        }
    })
}

async fn await_wake(config: Config, request: &AwaitWake) -> Option<u64> {
    let client = Client::new(config).ok()?.without_start();
    let (mut pause, mut refusals) = (FIRST_PAUSE, 0);
    loop {
        match client.await_wake(request).await {
            Ok(Wake::Mail { waiting }) => return Some(waiting),
            Ok(Wake::Replaced | Wake::Unknown) => return None,
            // Its server may be about to come back, with the broker perhaps.
            Err(ClientError::Refused(_)) => {
                refusals += 1;
                if refusals == REFUSALS {
                    return None;
                }
            }
            Err(_) => refusals = 0,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

fn notice(waiting: u64) -> String {
    let what = match waiting {
        1 => "1 message of another session waits".to_owned(),
        count => format!("{count} messages of other sessions wait"),
    };
    format!("claude-peers: {what}. If it does not stand beside this, check_messages shows it.")
}
