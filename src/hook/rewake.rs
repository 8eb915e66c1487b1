//! `claude-peers hook Stop --wait`, and the same after a turn that failed: waits beside an idle session, and wakes it when mail comes.
//!
//! Claude Code runs it at the end of each turn as an asynchronous hook ("asyncRewake") and goes
//! on. When it ends with exit code 2 the session begins a turn, whose own hook shows the mail.
//! The notice itself carries nothing of a peer.

use std::io::Read;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::claude_code::client_process;
use crate::claude_code::session_file;
use crate::client::{Client, ClientError};
use crate::config::{Config, Entrypoint};
use crate::hook::input::Input;
use crate::protocol::wake::{AwaitWake, Looks, Wake};
use crate::sys::process::{Process, ended};

/// Pauses between attempts to reach a broker that is not there. Its sessions start it, or the
/// service manager; a hook never does.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// How many refusals in a row end the wait: the session has no server of ours (any more).
const REFUSALS: u32 = 6;

/// How long the broker may take to hear that the session is woken.
const GIVEN: Duration = Duration::from_secs(1);

/// Seconds until it wants to look again whether a client that was at work is idle.
const LOOK_AGAIN: u64 = 3;

/// A wait that lasted so long had begun well: what goes wrong from then on is counted anew.
const LASTED: Duration = Duration::from_secs(5);

/// Waits until the session is to be woken, and gives the notice for its model. `None` if it ends
/// first, or somebody else does it.
pub fn wait(input: impl Read, config: Config, runtime: &Runtime) -> Option<String> {
    // Without a person a session ends with its answer or its input, and the client does not end
    // while a hook waits. One that lasts is woken through its inbox.
    if config.claude.entrypoint != Entrypoint::Person || !config.wake.value {
        return None;
    }
    let input = Input::read(input).filter(|input| !input.is_subagent())?;
    // Without it nobody would say when the session is over.
    let client = client_process::of_hook(config.claude.pid)?;
    let request = AwaitWake { session: input.session_id, client: Some(client.clone()) };
    runtime.block_on(async {
        tokio::select! {
            () = ended(&client) => None,
            notice = await_wake(config, &client, &request) => notice,
        }
    })
}

async fn await_wake(config: Config, process: &Process, request: &AwaitWake) -> Option<String> {
    let client = Client::new(config).ok()?.without_start();
    let mut failures = Failures::default();
    let mut looks = Looks { look_in: Some(0) };
    loop {
        let since = Instant::now();
        let refused = match client.await_wake(request, looks).await {
            Ok(Wake::Look(look)) => {
                let idle = session_file::is_idle(&client.config().claude.directory, process).await;
                if let Some(idle) = idle {
                    let _ = tokio::time::timeout(GIVEN, client.looked(&look, idle)).await;
                }
                // What it could not read it may read the next time: it is being written, say.
                looks.look_in = Some(LOOK_AGAIN);
                continue;
            }
            Ok(Wake::Mail(reason)) => {
                // A broker that does not hear it has somebody wake the session once more.
                let _ = tokio::time::timeout(GIVEN, client.wake_given(&reason)).await;
                return Some(notice(reason.waiting));
            }
            Ok(Wake::Replaced | Wake::Unknown) => return None,
            Err(error) => matches!(error, ClientError::Refused(_)),
        };
        tokio::time::sleep(failures.pause(refused, since.elapsed())?).await;
    }
}

/// What went wrong since a wait last began well.
#[derive(Debug, Default)]
struct Failures {
    all: u32,
    refusals: u32,
}

impl Failures {
    /// How long to pause after another; `None` if there is nothing to wait for any more.
    fn pause(&mut self, refused: bool, lasted: Duration) -> Option<Duration> {
        if lasted > LASTED {
            *self = Self::default();
        }
        // Where it is refused, its server may be about to come back, with the broker perhaps.
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.all)).min(LAST_PAUSE);
        self.all = self.all.saturating_add(1);
        (self.refusals < REFUSALS).then_some(pause)
    }
}

fn notice(waiting: u64) -> String {
    let what = match waiting {
        1 => "1 message of another session waits".to_owned(),
        count => format!("{count} messages of other sessions wait"),
    };
    format!("claude-peers: {what}. If it does not stand beside this, check_messages shows it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_a_row_end_the_wait_and_those_of_many_restarts_do_not() {
        let (soon, week) = (Duration::from_millis(5), Duration::from_secs(604_800));
        let mut failures = Failures::default();
        let pauses: Vec<_> = (0..REFUSALS).map(|_| failures.pause(true, soon)).collect();
        assert_eq!(pauses[..2], [Some(FIRST_PAUSE), Some(FIRST_PAUSE * 2)]);
        assert_eq!(pauses.last(), Some(&None));

        let mut failures = Failures::default();
        for _ in 0..20 {
            // The broker stops, and the next one does not know the session yet.
            assert_eq!(failures.pause(true, week), Some(FIRST_PAUSE));
            assert_eq!(failures.pause(true, soon), Some(FIRST_PAUSE * 2));
        }
        for _ in 0..100 {
            assert!(failures.pause(false, soon).is_some_and(|pause| pause <= LAST_PAUSE));
        }
    }
}
