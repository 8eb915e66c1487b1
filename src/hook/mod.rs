//! `claude-peers hook EVENT`: what Claude Code runs at its own events, once for each.
//!
//! It tells the broker which session the client shows, and adds unread mail to what the model
//! reads next. A hook holds its session up, so this one fails open: no broker, a slow one, or an
//! input that it does not understand mean no output and exit code 0. It never starts a broker.

mod input;
mod output;
mod rewake;

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::claude_code::client_process;
use crate::claude_code::session_file;
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::endpoint::hook_spool;
use crate::endpoint::hook_spool::Word;
use crate::protocol::hook::{Event, HookEvent, HookMail, HookMoved, HookWritten};
use crate::protocol::{Around, Timestamp};
use crate::sys::git;
use input::Input;

pub use rewake::wait_for_wake;

/// Which part of the broker's time for its answer it also has to note that our output is out;
/// without that, mail is offered once more.
const NOTE_PART: f32 = 0.4;

/// Longer context is put into a file by the client, which the model may not open. It counts UTF-16
/// code units.
const MOST: usize = 10_000;

/// What stands around the messages has its room in the difference.
const ROOM: usize = 9_400;

/// Set once there is something to say, so that it is said whole.
static SPEAKS: AtomicBool = AtomicBool::new(false);

/// Handles one event. There is nothing to report: whatever goes wrong, the session goes on.
pub fn run(event: Event, input: impl Read, config: Config, runtime: Runtime) {
    end_in_time(config.hook_wait);
    let Some(input) = Input::read(input) else { return };
    // A subagent fires hooks as well, and what it reads ends with it.
    if input.is_subagent() || input.is_beside_the_point(event) {
        return;
    }
    let request = request(event, &input, &config);
    let around = around(&request, &config);
    if let Ok(client) = Client::new(config) {
        speak(event, request, &client.without_start().around(&around), &runtime);
    }
    // Its threads may still wait for something; the process does not.
    runtime.shutdown_background();
}

fn speak(event: Event, request: HookEvent, client: &Client, runtime: &Runtime) {
    let wait = client.config().hook_wait;
    let mail = match runtime.block_on(client.hook(&request, wait)) {
        Ok(mail) => mail,
        Err(ClientError::Broken(_) | ClientError::Silent) => {
            return leave_word(request, client.config());
        }
        Err(_) => return,
    };
    // Last, because mail must not wait for a file system.
    let place = mail.moved.then(|| request.clone());
    show(event, request, mail, client, runtime);
    if let Some(request) = place {
        let _ = runtime.block_on(async { timeout(wait, tell_place(request, client)).await });
    }
}

/// Where the session works now.
async fn tell_place(request: HookEvent, client: &Client) {
    let HookEvent { session, client: process, cwd, .. } = request;
    let path = Path::new(&cwd);
    let Ok(directory) = tokio::fs::canonicalize(path).await else { return };
    let repository = git::repository(path).await.ok();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let moved = HookMoved {
        directory: Some(text(&directory)),
        repo: repository.as_ref().map(|repository| text(&repository.common_dir)),
        worktree: repository.as_ref().map(|repository| text(&repository.top)),
        session,
        client: process,
        cwd,
    };
    // What is not heard now is asked for again at the next event.
    let _ = client.hook_moved(&moved, client.config().hook_wait).await;
}

fn show(event: Event, request: HookEvent, mail: HookMail, client: &Client, runtime: &Runtime) {
    let server = client.config().claude.server;
    let Some((text, ids)) = output::context(event, mail, MOST, server) else { return };
    SPEAKS.store(true, Ordering::Release);
    let mut out = io::stdout();
    // Should nobody read it, there is no evidence either, and the mail is offered again.
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        return;
    }
    if !ids.is_empty() {
        let written = HookWritten { session: request.session, turn: request.turn, ids };
        let wait = client.config().hook_wait.mul_f32(NOTE_PART);
        let _ = runtime.block_on(client.hook_written(&written, wait));
    }
}

/// Nobody heard it. The session's server is about to start a broker, which should know.
fn leave_word(request: HookEvent, config: &Config) {
    if let (Event::SessionStart, Some(client)) = (request.event, request.client) {
        let (session, source) = (request.session, request.source);
        let word = Word { client, session, source, said_at: Timestamp::now() };
        // Where nothing can be written no broker can run either.
        let _ = hook_spool::leave(&config.paths, &word);
    }
}

fn request(event: Event, input: &Input, config: &Config) -> HookEvent {
    let room = match event {
        // A prompt follows, and its own hook shows the mail together with it; or nothing that is
        // printed is read.
        Event::SessionStart | Event::StopFailure | Event::Notification | Event::SessionEnd => 0,
        // The turn goes on because a hook said so: once is enough.
        Event::Stop if input.stop_hook_active => 0,
        Event::UserPromptSubmit | Event::PostToolUse | Event::Stop => ROOM,
    };
    HookEvent {
        event,
        session: input.session_id.clone(),
        client: client_process::of_hook(config.claude.pid),
        turn: input.prompt_id.clone(),
        occasion: input.occasion(event),
        lasted: input.lasted(),
        seen: if event == Event::UserPromptSubmit { input.pushes() } else { Vec::new() },
        room,
        source: if event == Event::SessionStart { input.source.clone() } else { String::new() },
        cwd: input.cwd().to_owned(),
    }
}

/// The session may have been named, or named anew, since its last event.
fn around(request: &HookEvent, config: &Config) -> Around {
    let title = request
        .client
        .as_ref()
        .and_then(|client| session_file::own_name(&config.claude.directory, client));
    Around { title, ..Around::default() }
}

/// Ends the process without a word when its time is over, whatever it waits for: a client may hold
/// our input open, and a file system may hang.
fn end_in_time(wait: Duration) {
    let limit = wait + wait.mul_f32(NOTE_PART);
    let spawned = std::thread::Builder::new().name("limit".to_owned()).spawn(move || {
        std::thread::sleep(limit);
        if !SPEAKS.load(Ordering::Acquire) {
            std::process::exit(0);
        }
    });
    // Without the thread the limits of the single steps must do.
    drop(spawned);
}
