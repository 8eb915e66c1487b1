//! Parses, dispatches, and turns the outcome into an exit code. Nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    claude_peers::sys::signals::reset_inherited();
    // SAFETY: before any thread is started, and nobody has opened a descriptor yet.
    let inherited = unsafe { claude_peers::broker::daemon::activation::inherit() };
    claude_peers::cli::main(inherited)
}
