//! The clients: one file each, and what is particular to Claude Code.

pub mod claude;
pub mod claude_command;
pub mod codex;
pub mod cursor;
pub mod effective_hooks;
pub mod gemini;
pub mod hooks;
pub mod opencode;
pub mod permission;
pub mod sandbox;
pub mod servers;
pub mod statusline;
