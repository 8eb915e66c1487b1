//! A broker that a session started, in the way of the service.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::manager::Step;

/// How long it may take to leave. If it takes longer, the service takes over from it all the same.
const LEAVE: Duration = Duration::from_secs(5);

const LOOK: Duration = Duration::from_millis(10);

/// It makes way for the service; its clients come back to that.
pub fn end(config: &Config, steps: &mut Vec<Step>) {
    let fallback = || holder(config).filter(|h| h.started == Started::Fallback);
    let Some(running) = fallback() else { return };
    if !running.ask_to_stop() {
        steps.push(Step::note(format!(
            "The broker that a session had started is {}, and stays.",
            running.described()
        )));
        return;
    }
    let since = Instant::now();
    while fallback().is_some_and(|now| now.is_same(&running)) && since.elapsed() < LEAVE {
        std::thread::sleep(LOOK);
    }
    steps.push(Step::done(format!(
        "The broker that a session had started (process {}) makes way.",
        running.pid
    )));
}
