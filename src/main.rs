//! Takes over inherited descriptors and hands control to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    claude_peers::sys::signals::reset_inherited();
    // SAFETY: no thread has been started and no descriptor opened yet.
    let inherited = unsafe { claude_peers::broker::daemon::activation::inherit() };
    claude_peers::cli::main(inherited)
}
