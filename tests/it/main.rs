//! Black-box tests: real processes, real sockets, real databases.
//!
//! `tests/README.md` says which test shows which promise, how to run them, and where a new one
//! goes.

// A test may fail loudly, and repeats itself where that is plainer.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

#[allow(dead_code, unused_imports)]
#[path = "../support/history/mod.rs"]
mod history;
mod shortages;
mod support;

mod activation;
mod api;
mod batches;
mod bursts;
mod cli;
mod colours;
#[cfg(target_os = "linux")]
mod containers;
mod crowds;
mod database;
mod doctor;
mod documented;
mod documents;
mod durability;
mod earlier;
mod expiry;
mod failing_disks;
mod foreign_locks;
mod help;
mod histories;
mod hook_kills;
mod hook_spool;
mod hooks;
mod hostile;
mod identity;
#[cfg(target_os = "linux")]
mod idle;
mod inherited;
mod json;
mod layering;
mod lifetime;
mod limits;
mod live_view;
mod manual;
mod names;
mod odd_input;
mod one_broker;
mod other_brokers;
mod page;
mod plugin;
mod promises;
mod pushed_and_shown;
mod receivers;
mod refusals;
mod resumed_sessions;
#[cfg(target_os = "linux")]
mod sandboxed;
mod scopes;
mod seen;
mod send_text;
mod server_gone;
mod service;
mod session_shell;
mod settings;
mod setup;
mod snapshots;
mod start;
mod stdio;
mod stop;
mod successors;
mod summaries;
mod supervised;
mod supply_chain;
#[cfg(target_os = "linux")]
mod synced;
mod takeover;
mod talk;
mod truth;
mod turns;
mod unknown_outcomes;
mod unsafe_code;
mod untrusted_directories;
mod upgrade;
mod waiting;
mod waiting_cli;
mod waiting_kills;
mod wake;
mod wall_clock;
mod windows;
mod wire;
mod without_session_id;
mod working_directory;
