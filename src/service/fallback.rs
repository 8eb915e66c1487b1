//! Stops a fallback broker (one that a session started) to make room for the service.

use std::time::Duration;

use crate::config::Config;
use crate::endpoint::release::wait_until_released;
use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::manager::Step;

/// The time that a fallback broker may take to exit. After that the service takes over from it anyway.
const LEAVE: Duration = Duration::from_secs(5);

/// Stops the fallback broker, if one runs. Its clients reconnect to the service.
pub fn end(config: &Config, steps: &mut Vec<Step>) {
    let running = holder(config).filter(|running| running.started == Started::Fallback);
    let Some(running) = running else { return };
    if !running.ask_to_stop() {
        steps.push(Step::note(format!(
            "The broker that a session had started is {}, and keeps running.",
            running.described()
        )));
        return;
    }
    // A broker that takes longer is replaced anyway.
    let _ = wait_until_released(config, &running, LEAVE);
    steps.push(Step::done(format!(
        "The broker that a session had started (process {}) is stopped; the service takes over.",
        running.pid
    )));
}
