//! Parses, dispatches, and turns the outcome into an exit code. Nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: the first thing in `main`, before any thread is started.
    let inherited = unsafe { claude_peers::broker::activation::inherit() };
    claude_peers::cli::main(inherited)
}
