//! A program on a terminal, and what a person would see there.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::termios::{Winsize, tcsetwinsize};

use super::processes::{ends, in_a_terminal_of};
use super::{PATIENCE, picture, within};

/// The variable that names a directory in which pictures of the screens are left.
const PICTURES: &str = "CLAUDE_PEERS_TEST_PICTURES";

/// A running program and its screen.
pub struct Screen {
    pub child: Child,
    terminal: std::fs::File,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

fn size(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

const fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Screen {
    /// Starts a program on a terminal of this size.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        command.env("TERM", "xterm-256color").env("TZ", "UTC");
        Self::start_as(command, columns, rows)
    }

    /// Starts a program that has its variables already.
    pub fn start_as(command: Command, columns: u16, rows: u16) -> Self {
        let (terminal, child) = in_a_terminal_of(command, |terminal| {
            tcsetwinsize(terminal, winsize(columns, rows)).unwrap();
        });
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(rows), size(columns), 0)));
        let shown = Arc::clone(&screen);
        let mut output = std::fs::File::from(terminal.try_clone().unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            // The last close of the other end is an error here.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                lock(&shown).process(&bytes[..count]);
            }
        });
        Self { child, terminal: terminal.into(), screen, reader: Some(reader) }
    }

    /// Types, as it would come from a keyboard.
    pub fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        lock(&self.screen).set_size(size(rows), size(columns));
        tcsetwinsize(self.terminal.as_fd(), winsize(columns, rows)).unwrap();
    }

    /// The text of the screen.
    pub fn text(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    /// Whether the screen is the one that a full-screen program has for itself.
    pub fn is_alternate(&self) -> bool {
        lock(&self.screen).screen().alternate_screen()
    }

    /// What the program has asked of the terminal: a bracketed clipboard, the mouse, no cursor.
    pub fn modes(&self) -> (bool, bool, bool) {
        let parser = lock(&self.screen);
        let screen = parser.screen();
        let mouse = screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
        (screen.bracketed_paste(), mouse, screen.hide_cursor())
    }

    /// Whether anything has a colour.
    pub fn has_colours(&self) -> bool {
        let parser = lock(&self.screen);
        let (rows, columns) = parser.screen().size();
        (0..rows.get()).any(|row| {
            (0..columns.get()).any(|column| {
                let cell = parser.screen().cell(row, column).unwrap();
                [cell.fgcolor(), cell.bgcolor()] != [vt100::Color::Default; 2]
            })
        })
    }

    /// Waits until the screen has a text.
    #[track_caller]
    pub fn until_shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn until(&self, what: &str, mut is_shown: impl FnMut(&str) -> bool) {
        let shown = within(PATIENCE, || is_shown(&self.text()));
        assert!(shown, "not shown: {what}\n{}", self.text());
    }

    /// Leaves a picture of the screen: as text, with its colours, and as SVG.
    pub fn picture(&self, name: &str) {
        let directory = std::env::var_os(PICTURES).map(PathBuf::from);
        let directory =
            directory.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures"));
        std::fs::create_dir_all(&directory).unwrap();
        let parser = lock(&self.screen);
        let write = |kind: &str, text: String| {
            std::fs::write(directory.join(format!("{name}.{kind}")), text).unwrap();
        };
        write("txt", format!("{}\n", parser.screen().contents()));
        write("ansi", parser.screen().contents_formatted());
        write("svg", picture::svg(parser.screen()));
    }

    /// Waits for the end of the program, and for all that it wrote.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let status = ends(&mut self.child);
        self.reader.take().unwrap().join().unwrap();
        status
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(screen: &Mutex<vt100::Parser>) -> MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
