//! The terminal: taken over, and given back as it was, whatever ends the program.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::panic;
use std::thread;

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, read};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};
use rustix::termios::{QueueSelector, tcflush};
use tokio::sync::mpsc::{Receiver, channel};

/// Presses, releases and the wheel of the mouse, in coordinates without a limit. Movements are not asked
/// for: they would be traffic for nothing.
const MOUSE_ON: &str = "\u{1b}[?1000h\u{1b}[?1006h";
const MOUSE_OFF: &str = "\u{1b}[?1006l\u{1b}[?1000l";

/// How many events may wait until they are taken.
const WAITING_EVENTS: usize = 256;

/// Whether a person sits at both ends.
#[must_use]
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The terminal, while it is ours.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back first, so that its message is seen.
    pub fn open(mouse: bool) -> io::Result<Self> {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            previous(info);
        }));
        take(mouse)?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(64 * 1024, io::stdout()));
        let terminal = Terminal::new(backend).inspect_err(|_| give_back())?;
        Ok(Self { terminal, mouse })
    }

    /// Draws a picture. Only what differs from the last one is written.
    pub fn draw(
        &mut self,
        picture: impl FnOnce(&mut ratatui::Frame<'_>) -> Option<Position>,
    ) -> io::Result<()> {
        self.terminal.draw(|frame| {
            if let Some(cursor) = picture(frame) {
                frame.set_cursor_position(cursor);
            }
        })?;
        Ok(())
    }

    /// Has the next picture written whole.
    pub fn clear(&mut self) -> io::Result<()> {
        // Not by `Terminal::clear`, which asks the terminal where its cursor is: the answer would be
        // read as keys.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    /// Gives the terminal back for a while.
    pub fn release() {
        give_back();
    }

    /// Takes the terminal over again. Its modes may have been changed meanwhile.
    pub fn resume(&mut self) -> io::Result<()> {
        // It is not remembered as raw any more.
        disable_raw_mode()?;
        take(self.mouse)?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    let mut out = io::stdout();
    queue!(out, EnterAlternateScreen, EnableBracketedPaste)?;
    if mouse {
        queue!(out, Print(MOUSE_ON))?;
    }
    out.flush()
}

/// Restores the terminal. It may be gone: then nothing is left to restore.
fn give_back() {
    let mut out = io::stdout();
    let _ = queue!(out, Print(MOUSE_OFF), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = out.flush();
    // What the mouse has told meanwhile is nothing for a shell.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
    let _ = disable_raw_mode();
}

/// Reads keys, the mouse and the clipboard on a thread of its own: half a key sequence would keep
/// the reader waiting. The channel closes when the terminal is gone.
pub fn events() -> io::Result<Receiver<Event>> {
    let (sender, receiver) = channel(WAITING_EVENTS);
    let reading = move || {
        while let Ok(event) = read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(reading)?;
    Ok(receiver)
}
