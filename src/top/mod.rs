//! `claude-peers top`: what happens, on a terminal, as it happens.
//!
//! Data goes one way. Events of the broker and answers to calls change the `model`; the picture
//! (`view`) is a function of the model; keys become actions on the model, which asks for calls.
//! Nothing polls: with no event and no key nothing runs, and nothing is drawn.

mod calls;
mod keys;
mod layout;
mod look;
mod matches;
mod model;
mod signals;
mod stream;
mod terminal;
mod view;
mod wrap;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::Event;
use crossterm::style::force_color_output;
use jiff::tz::TimeZone;
use ratatui::layout::Rect;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::Client;
use crate::sys::clock;
use crate::sys::signals::stop_this_process;
use look::Look;
use model::Model;
use model::command::{Command, Outcome};
use signals::{Signals, Told};
use stream::{News, follow};
use terminal::Screen;

pub use terminal::is_there;

/// The least time between two pictures.
const FRAME: Duration = Duration::from_millis(33);

/// How many events of the broker may wait until they are taken.
const WAITING_NEWS: usize = 256;

/// How it is shown.
#[derive(Debug, Clone)]
pub struct Options {
    pub mouse: bool,
    pub colours: bool,
    /// The directory that is written as `~`.
    pub home: PathBuf,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The person left.
    Quit,
    /// The terminal is gone.
    NoTerminal,
    /// A signal of this number ended it.
    Signal(i32),
}

/// Shows what happens until the person leaves. The terminal is as it was then.
///
/// # Errors
///
/// If the terminal cannot be read or written.
pub async fn run(client: &Client, options: &Options) -> io::Result<End> {
    let mut signals = Signals::new()?;
    let (sender, mut news) = channel(WAITING_NEWS);
    let connect = Arc::new(Notify::new());
    let mut calls = JoinSet::new();
    let following = follow(client.clone(), sender, Arc::clone(&connect));
    calls.spawn(async move {
        following.await;
        None
    });
    // The variable `NO_COLOR` is not read a second time.
    force_color_output(options.colours);
    let zone = TimeZone::system();
    let mut top = Top {
        model: Model::new(options.home.clone(), zone.clone()),
        look: Look { colours: options.colours, zone },
        screen: Screen::open(options.mouse)?,
        client: client.clone(),
        calls,
        connect,
        drawn: None,
        due: Some(Instant::now()),
    };
    let mut events = terminal::events()?;
    loop {
        tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::End(signal) => return Ok(End::Signal(signal)),
                Told::Stop => top.stop(false)?,
                Told::Continued => top.resume()?,
            },
            event = events.recv() => {
                let Some(event) = event else { return Ok(End::NoTerminal) };
                top.take_event(&event);
                take_waiting(&mut events, |event| top.take_event(&event));
            }
            () = at(top.due) => top.draw()?,
            told = news.recv() => {
                if let Some(told) = told {
                    top.take_news(told);
                    take_waiting(&mut news, |told| top.take_news(told));
                }
            }
            Some(done) = top.calls.join_next() => match done {
                Ok(Some(outcome)) => top.model.finish(outcome),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(None) | Err(_) => {}
            }
        }
        for command in top.model.take_commands() {
            match command {
                Command::Quit => return Ok(End::Quit),
                command => top.carry_out(command)?,
            }
        }
        top.plan_picture();
    }
}

/// Takes what waits already, so that many changes are one picture.
fn take_waiting<T>(receiver: &mut Receiver<T>, mut take: impl FnMut(T)) {
    for _ in 0..WAITING_NEWS {
        match receiver.try_recv() {
            Ok(value) => take(value),
            Err(_) => return,
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The running program.
struct Top {
    model: Model,
    look: Look,
    screen: Screen,
    client: Client,
    calls: JoinSet<Option<Outcome>>,
    /// Has the stream connected at once.
    connect: Arc<Notify>,
    /// When the last picture was drawn.
    drawn: Option<Instant>,
    /// When the next one is due.
    due: Option<Instant>,
}

impl Top {
    fn take_event(&mut self, event: &Event) {
        if let Event::Resize(width, height) = event {
            self.model.resize(*width, *height);
        } else if let Some(action) = keys::action(event, self.model.is_typing()) {
            self.model.act(action);
        }
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Observed(event) => self.model.observe(event),
            News::Lost(problem) => self.model.lost(problem),
        }
    }

    fn carry_out(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Connect => self.connect.notify_one(),
            Command::Redraw => self.screen.clear()?,
            Command::Suspend => self.stop(true)?,
            command => {
                self.calls.spawn(calls::call(self.client.clone(), command));
            }
        }
        Ok(())
    }

    /// Has a picture drawn if anything has changed: at once after a pause, and soon where much happens.
    fn plan_picture(&mut self) {
        if self.model.take_changed() {
            let earliest = self.drawn.map_or_else(Instant::now, |drawn| drawn + FRAME);
            self.due.get_or_insert(earliest);
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (model, look) = (&mut self.model, &self.look);
        self.screen.draw(|frame| {
            let Rect { width, height, .. } = frame.area();
            model.resize(width, height);
            view::draw(frame.buffer_mut(), model, look, clock::now())
        })?;
        // A new size is in the picture already.
        self.model.take_changed();
        (self.drawn, self.due) = (Some(Instant::now()), None);
        Ok(())
    }

    /// Stops the program until it is continued; with all processes of its group if the person pressed
    /// the key, as the terminal does it.
    fn stop(&mut self, group: bool) -> io::Result<()> {
        Screen::release();
        stop_this_process(group)?;
        self.resume()
    }

    fn resume(&mut self) -> io::Result<()> {
        self.screen.resume()?;
        self.due = Some(Instant::now());
        Ok(())
    }
}
