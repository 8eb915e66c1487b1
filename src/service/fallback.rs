//! A broker that a session started, in the way of the service.

use std::time::Duration;

use crate::config::Config;
use crate::endpoint::release::wait_until_released;
use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::manager::Step;

/// How long it may take to leave. If it takes longer, the service takes over from it all the same.
const LEAVE: Duration = Duration::from_secs(5);

/// It makes way for the service; its clients come back to that.
pub fn end(config: &Config, steps: &mut Vec<Step>) {
    let running = holder(config).filter(|running| running.started == Started::Fallback);
    let Some(running) = running else { return };
    if !running.ask_to_stop() {
        steps.push(Step::note(format!(
            "The broker that a session had started is {}, and stays.",
            running.described()
        )));
        return;
    }
    // A broker that takes longer is replaced all the same.
    let _ = wait_until_released(config, &running, LEAVE);
    steps.push(Step::done(format!(
        "The broker that a session had started (process {}) makes way.",
        running.pid
    )));
}
