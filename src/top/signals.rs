//! The signals that end, stop and continue a program on a terminal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// To end; with the number of the signal.
    End(i32),
    /// To stop until it is continued.
    Stop,
    /// It was continued: the terminal may have other modes.
    Continued,
}

/// The signals, each with what it asks for.
pub struct Signals {
    end: [(Signal, i32); 3],
    stop: Signal,
    continued: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        // Hangup, too, where it was ignored: without its terminal there is nothing to do.
        let end = |number| Ok::<_, io::Error>((of(number)?, number));
        Ok(Self {
            end: [end(libc::SIGTERM)?, end(libc::SIGHUP)?, end(libc::SIGINT)?],
            stop: of(libc::SIGTSTP)?,
            continued: of(libc::SIGCONT)?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Told {
        let [(terminate, a), (hangup, b), (interrupt, c)] = &mut self.end;
        tokio::select! {
            _ = terminate.recv() => Told::End(*a),
            _ = hangup.recv() => Told::End(*b),
            _ = interrupt.recv() => Told::End(*c),
            _ = self.stop.recv() => Told::Stop,
            _ = self.continued.recv() => Told::Continued,
        }
    }
}

fn of(number: i32) -> io::Result<Signal> {
    signal(SignalKind::from_raw(number))
}
