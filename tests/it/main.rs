//! Black-box tests: real processes, real sockets, real databases. One file per promise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod activation;
mod crowds;
mod durability;
mod receivers;
mod start;
mod stop;
mod talk;
mod upgrade;
