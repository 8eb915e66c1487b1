//! The program that shows long output page by page, as git runs it.

use std::ffi::OsString;
use std::io;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::config::Environment;
use crate::sys::signals;

/// The pager if `PAGER` names none.
const DEFAULT: &str = "less";

/// What `less` does if `LESS` does not say otherwise: it ends at once if all fits on the screen, shows
/// colours, and leaves the text on the screen.
const LESS: &str = "FRX";

/// A pager to start.
#[derive(Debug, Clone)]
pub struct Pager {
    command: OsString,
    /// The value for `LESS`, if it is not set.
    less: Option<&'static str>,
}

impl Pager {
    /// Returns the pager of this person; `None` if they want none.
    #[must_use]
    pub fn of(environment: &Environment) -> Option<Self> {
        // A terminal that cannot move its cursor.
        if environment.get("TERM").is_none_or(|kind| kind == "dumb") {
            return None;
        }
        let named = environment.iter().find(|(name, _)| *name == "PAGER").map(|(_, value)| value);
        let command = named.map_or_else(|| DEFAULT.into(), OsString::from);
        let is_none = command.is_empty() || command == "cat";
        let less = environment.get("LESS").is_none().then_some(LESS);
        (!is_none).then_some(Self { command, less })
    }

    /// Starts the pager, which writes to our standard output.
    ///
    /// Returns `None` if there is no such program: the output then goes to the terminal as it is.
    pub fn start(&self) -> Option<Paged> {
        let mut command = Command::new("sh");
        // `exec` fails with 127 where there is no such program, so it is looked for before.
        command.arg("-c").arg(&self.command).stdin(Stdio::piped());
        if let Some(less) = self.less {
            command.env("LESS", less);
        }
        if !self.is_there() {
            return None;
        }
        let mut child = command.spawn().ok()?;
        let input = child.stdin.take()?;
        // An interrupt is for the pager. It was started before this, so that it does not inherit it.
        signals::ignore_interrupts();
        Some(Paged { child, input: Some(input) })
    }

    /// Whether the shell knows the first word of the command.
    fn is_there(&self) -> bool {
        let command = self.command.to_string_lossy();
        let Some(program) = command.split_whitespace().next() else { return false };
        let looked = Command::new("sh")
            .args(["-c", "command -v \"$1\"", "sh", program])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        looked.is_ok_and(|status| status.success())
    }
}

/// A running pager.
#[derive(Debug)]
pub struct Paged {
    child: Child,
    input: Option<ChildStdin>,
}

impl Paged {
    /// Closes the pager's input, and waits until the person has left it.
    pub fn finish(&mut self) {
        drop(self.input.take());
        // If it cannot be waited for, there is nothing to wait for.
        let _ = self.child.wait();
    }
}

impl io::Write for Paged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pager_is_started_only_where_one_is_wanted() {
        let pager = |set: &[(&str, &str)]| {
            let environment: Environment = set.iter().copied().collect();
            Pager::of(&environment).map(|pager| (pager.command, pager.less))
        };
        let term = ("TERM", "xterm");
        assert_eq!(pager(&[term]), Some(("less".into(), Some("FRX"))));
        assert_eq!(pager(&[term, ("LESS", "R")]), Some(("less".into(), None)));
        assert_eq!(pager(&[term, ("PAGER", "more -e")]), Some(("more -e".into(), Some("FRX"))));
        for none in
            [&[term, ("PAGER", "")][..], &[term, ("PAGER", "cat")], &[("TERM", "dumb")], &[]]
        {
            assert_eq!(pager(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_pager_that_is_not_there_is_not_started() {
        let pager = Pager { command: "no-such-pager --now".into(), less: None };
        assert!(pager.start().is_none());
    }
}
