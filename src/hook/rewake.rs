//! The waiting hook, `claude-peers hook Stop --wait` or `StopFailure --wait`: waits beside an idle
//! session, and wakes it when messages come.
//!
//! Claude Code runs it at the end of each turn as an asynchronous hook ("asyncRewake") and does not
//! wait for it. When it exits with code 2, the session begins a turn, whose own hook shows the
//! messages. The notice itself contains no text of a peer.

use std::io::Read;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::claude_code::client_process;
use crate::claude_code::session_file;
use crate::client::{Client, ClientError};
use crate::config::{Config, Entrypoint};
use crate::hook::input::Input;
use crate::protocol::ProcessId;
use crate::protocol::wake::{AwaitWake, Wake, WakeOptions};
use crate::sys::backoff::Backoff;
use crate::sys::process;

/// Pauses between attempts to reach a broker that is not running. Sessions or the service manager
/// start it; a hook never does.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Refusals in a row that end the wait: the session has no server of ours, or none any more.
const MAX_REFUSALS: u32 = 6;

/// Timeout for a report to the broker.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Seconds between two idle checks of a client that was at work.
const IDLE_CHECK_SECONDS: u64 = 3;

/// A wait that lasted longer than this had reached the broker. Failures after it are counted anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// Waits until the session is to be woken, and returns the notice for its model. Returns `None` if
/// the session ends first, or another receiver wakes it.
pub fn wait_for_wake(input: impl Read, config: Config, runtime: &Runtime) -> Option<String> {
    // A session without a person ends with its answer or its input, and the client does not exit
    // while a hook waits. If such a session lasts, it is woken through its inbox socket.
    if config.claude.entrypoint != Entrypoint::Person || !config.wake {
        return None;
    }
    let input = Input::read(input).filter(|input| !input.is_subagent())?;
    // The end of the client process is the only sign that the session is over.
    let client = client_process::client_of_hook(config.claude.pid)?;
    let request = AwaitWake { session: input.session_id, client: Some(client.clone()) };
    runtime.block_on(async {
        tokio::select! {
            () = process::exited(&client) => None,
            notice = await_wake(config, &client, &request) => notice,
        }
    })
}

async fn await_wake(config: Config, process: &ProcessId, request: &AwaitWake) -> Option<String> {
    let client = Client::new(config).ok()?.without_start();
    let mut failures = Failures::default();
    let mut looks = WakeOptions { look_in: Some(0) };
    loop {
        let since = Instant::now();
        let refused = match client.await_wake(request, looks).await {
            Ok(Wake::Look(look)) => {
                let idle = session_file::is_idle(&client.config().claude.directory, process).await;
                if let Some(idle) = idle {
                    let _ = tokio::time::timeout(REPORT_TIMEOUT, client.looked(&look, idle)).await;
                }
                // A state that could not be read is read at the next check: the file may be in the
                // middle of being written.
                looks.look_in = Some(IDLE_CHECK_SECONDS);
                continue;
            }
            Ok(Wake::Mail(reason)) => {
                // If the report fails, the session is woken once more.
                let _ = tokio::time::timeout(REPORT_TIMEOUT, client.wake_given(&reason)).await;
                return Some(notice(reason.waiting));
            }
            Ok(Wake::Replaced | Wake::Unknown) => return None,
            Err(error) => matches!(error, ClientError::Refused(_)),
        };
        tokio::time::sleep(failures.pause(refused, since.elapsed())?).await;
    }
}

/// The failures since a wait last lasted [`HEALTHY_AFTER`].
#[derive(Debug)]
struct Failures {
    backoff: Backoff,
    refusals: u32,
}

impl Default for Failures {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE), refusals: 0 }
    }
}

impl Failures {
    /// Counts one more failure of a wait that took `lasted`. Returns how long to pause, or `None` if
    /// there is nothing left to wait for.
    fn pause(&mut self, refused: bool, lasted: Duration) -> Option<Duration> {
        if lasted > HEALTHY_AFTER {
            *self = Self::default();
        }
        // After a refusal the session's server may be about to return, perhaps with the broker.
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        let pause = self.backoff.pause();
        (self.refusals < MAX_REFUSALS).then_some(pause)
    }
}

/// Returns the text with which the session is woken.
fn notice(waiting: u64) -> String {
    let what = match waiting {
        1 => "1 message from another session waits".to_owned(),
        count => format!("{count} messages from other sessions wait"),
    };
    format!(
        "claude-peers: {what}. If the message text is not shown next to this notice, call check_messages."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_a_row_end_the_wait_and_those_of_many_restarts_do_not() {
        let (soon, week) = (Duration::from_millis(5), Duration::from_secs(604_800));
        let mut failures = Failures::default();
        let pauses: Vec<_> = (0..MAX_REFUSALS).map(|_| failures.pause(true, soon)).collect();
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
