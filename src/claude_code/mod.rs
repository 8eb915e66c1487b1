//! Claude Code as a program: its processes and its session files.

pub mod client_process;
pub mod session_file;
