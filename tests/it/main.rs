//! Black-box tests: real processes, real sockets, real databases. One file per promise.

mod support;

mod talk;
