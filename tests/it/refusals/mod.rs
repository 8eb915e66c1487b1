//! Promise 4: callers and requests that are refused, while the broker goes on serving.

mod floods;
#[cfg(target_os = "linux")]
mod foreign_homes;
#[cfg(target_os = "linux")]
mod foreign_listeners;
mod impostors;
mod requests;
mod roles;
mod tcp;
mod users;

use crate::support::http::Request;
use crate::support::{Sandbox, process_status};

const ROUTES: [(&str, &str); 12] = [
    ("POST", "/v1/register"),
    ("GET", "/v1/stream"),
    ("GET", "/v1/peers"),
    ("POST", "/v1/profile"),
    ("POST", "/v1/messages"),
    ("GET", "/v1/messages"),
    ("POST", "/v1/mailbox/take"),
    ("POST", "/v1/mailbox/confirm"),
    ("POST", "/v1/mailbox/written"),
    ("POST", "/v1/shutdown"),
    ("POST", "/v1/afresh"),
    ("GET", "/no/such/route"),
];

/// A sandbox with a broker that must live through the test.
pub struct World {
    pub sandbox: Sandbox,
    pub pid: u32,
    pub token: String,
}

impl World {
    pub fn new() -> Self {
        Self::in_sandbox(Sandbox::new())
    }

    fn in_sandbox(sandbox: Sandbox) -> Self {
        sandbox.ok(["peers"]);
        let pid = sandbox.broker().unwrap().pid;
        let token = sandbox.token();
        Self { sandbox, pid, token }
    }

    /// Checks that the same broker serves the command line, the Unix socket and TCP.
    #[track_caller]
    fn still_serves(&self) {
        self.still_serves_after("");
    }

    /// The same; a failure says after what.
    #[track_caller]
    pub fn still_serves_after(&self, what: &str) {
        let health = Request::get("/health").unix(&self.sandbox);
        assert_eq!(health.json()["pid"], self.pid, "{what}: another broker answers");
        self.sandbox.ok(["peers"]);
        let peers = Request::get("/v1/peers").token(&self.token).tcp(&self.sandbox);
        assert_eq!(peers.status, 200, "{what}: {:?}", peers.refusal());
    }

    fn messages(&self) -> usize {
        self.sandbox.json(["log", "-n", "10000"])["messages"].as_array().unwrap().len()
    }

    fn process_status(&self, field: &str) -> u64 {
        process_status(self.pid, field)
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }
}
