//! How a broker that a client started reports that it is ready: a line on its standard output.
//!
//! That output is a pipe to the client, which reads until the line comes or the pipe is closed.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

/// The line by which a broker reports on its standard output that it serves.
pub const READY: &str = "ready";

/// Reports that this broker serves, and closes the pipe on its standard output.
///
/// # Errors
///
/// Returns why standard output cannot be replaced.
pub fn report_ready() -> io::Result<()> {
    let mut output = io::stdout().lock();
    // The client may have given up; that is no reason not to serve.
    let _ = writeln!(output, "{READY}").and_then(|()| output.flush());
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    Ok(())
}
