//! Black-box tests: real processes, real sockets, real databases. One file per promise.

// A test may fail loudly, and repeats itself where that is plainer.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod support;

mod activation;
mod cli;
mod colours;
#[cfg(target_os = "linux")]
mod containers;
mod crowds;
mod database;
mod doctor;
mod documents;
mod durability;
mod elsewhere;
mod expiry;
mod heirs;
mod help;
mod hook_spool;
mod hooks;
mod identity;
#[cfg(target_os = "linux")]
mod idle;
mod inherited;
mod inside;
mod kills;
mod layering;
mod lifetime;
mod limits;
mod manual;
mod moves;
mod names;
mod odd_input;
mod other_brokers;
mod places;
mod plugin;
mod receivers;
mod refusals;
#[cfg(target_os = "linux")]
mod sandboxed;
mod scopes;
mod send_text;
mod server_gone;
mod service;
mod settings;
mod setup;
mod start;
mod stdio;
mod stop;
mod strangers;
mod summaries;
mod supervised;
mod takeover;
mod talk;
mod truth;
mod turns;
mod untold;
mod upgrade;
mod waiting;
mod waiting_cli;
mod waiting_kills;
mod wake;
mod windows;
mod wire;
