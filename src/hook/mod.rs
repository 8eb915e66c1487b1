//! `claude-peers hook EVENT`: what Claude Code runs at its own events, once for each.
//!
//! It reports to the broker which session the client shows, and adds unread messages to what the
//! model reads next. Claude Code waits for a hook, so this one fails open: without a broker, with a
//! slow one, or with an input that it cannot read, it prints nothing and exits with code 0. It never
//! starts a broker.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
mod output;
mod rewake;

use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::claude_code::client_process;
use crate::claude_code::session_file;
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::endpoint::hook_spool;
use crate::endpoint::hook_spool::SpooledEvent;
use crate::protocol::CallerContext;
use crate::protocol::hook::{DirectoryChanged, HookEvent, HookEventName, HookMail, HookWritten};
use crate::sys::clock;
use crate::sys::git::Git;
use input::Input;

pub use rewake::wait_for_wake;

/// The time for the receipt, as a share of the time that the broker has for its answer. Without a
/// receipt, the messages are offered once more.
const RECEIPT_SHARE_OF_LIMIT: f32 = 0.4;

/// Longest context that Claude Code shows, in UTF-16 code units. A longer one it writes to a file,
/// which the model may not open.
const MAX_CONTEXT_UNITS: usize = 10_000;

/// What the broker may fill with messages. The rest is for the text around them, see
/// [`output::FRAME_UNITS`].
const MAIL_UNITS: usize = MAX_CONTEXT_UNITS - output::FRAME_UNITS;

/// Handles one event. Nothing is reported: whatever goes wrong, the session goes on.
pub fn run(event: HookEventName, input: impl Read, config: Config, runtime: Runtime) {
    let limit = TimeLimit::start(config.hook_wait);
    let Some(input) = Input::read(input) else { return };
    // Subagents run hooks as well, and what a subagent reads ends with it.
    if input.is_subagent() || input.is_irrelevant(event) {
        return;
    }
    failpoint!("hook.event.read");
    let request = request(event, &input, &config);
    let around = around(&request, &config);
    if let Ok(client) = Client::new(config) {
        handle(request, &client.without_start().around(&around), &runtime, &limit);
    }
    // Tasks of the runtime may still wait for something; the process does not wait for them.
    runtime.shutdown_background();
}

/// Reports the event and prints what the broker answers.
fn handle(request: HookEvent, client: &Client, runtime: &Runtime, limit: &TimeLimit) {
    let wait = client.config().hook_wait;
    let mail = match runtime.block_on(client.hook(&request, wait)) {
        Ok(mail) => mail,
        Err(ClientError::Broken { .. } | ClientError::Silent) => {
            return append_to_spool(request, client.config());
        }
        Err(_) => return,
    };
    failpoint!("hook.mail.received");
    // Last, because messages must not wait for a file system.
    let moved = mail.moved.then(|| request.clone());
    show(request, mail, client, runtime, limit);
    if let Some(request) = moved {
        let _ = runtime.block_on(async { timeout(wait, report_directory(request, client)).await });
    }
}

/// Reports where the session works now.
async fn report_directory(request: HookEvent, client: &Client) {
    let HookEvent { session, client: process, cwd, .. } = request;
    let path = Path::new(&cwd);
    let Ok(directory) = tokio::fs::canonicalize(path).await else { return };
    let repository = Git::new(client.config().environment.iter()).repository(path).await.ok();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let moved = DirectoryChanged {
        directory: Some(text(&directory)),
        repo: repository.as_ref().map(|repository| text(&repository.common_dir)),
        worktree: repository.as_ref().map(|repository| text(&repository.top)),
        session,
        client: process,
        cwd,
    };
    // If this fails, the broker asks again at the next event.
    let _ = client.hook_moved(&moved, client.config().hook_wait).await;
}

/// Prints messages, and reports them as written.
fn show(request: HookEvent, mail: HookMail, client: &Client, runtime: &Runtime, limit: &TimeLimit) {
    let server = client.config().claude.server;
    let output = output::context(request.event, mail, MAX_CONTEXT_UNITS, server);
    let Some((text, ids)) = output else { return };
    limit.lift();
    let mut out = io::stdout();
    // If nothing reads the output, no evidence follows either, and the messages are offered again.
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        return;
    }
    failpoint!("hook.output.written");
    if !ids.is_empty() {
        let written = HookWritten { session: request.session, turn: request.turn, ids };
        let wait = client.config().hook_wait.mul_f32(RECEIPT_SHARE_OF_LIMIT);
        let _ = runtime.block_on(client.hook_written(&written, wait));
        failpoint!("hook.receipt.answered");
    }
}

/// Leaves the event in the hook spool, because no broker runs. The session's server is about to
/// start one, which should know the event.
fn append_to_spool(request: HookEvent, config: &Config) {
    if let (HookEventName::SessionStart, Some(client)) = (request.event, request.client) {
        let (session, source) = (request.session, request.source);
        let event = SpooledEvent { client, session, source, said_at: clock::now() };
        // Where nothing can be written, no broker can run either.
        let _ = hook_spool::append(&config.paths, &event);
    }
}

/// Returns what the broker is asked at this event.
fn request(event: HookEventName, input: &Input, config: &Config) -> HookEvent {
    let room = match event {
        // Either a prompt follows, whose own hook shows the messages together with it, or Claude
        // Code ignores the output.
        HookEventName::SessionStart
        | HookEventName::StopFailure
        | HookEventName::Notification
        | HookEventName::SessionEnd => 0,
        // The turn already goes on because a hook said so: once is enough.
        HookEventName::Stop if input.stop_hook_active => 0,
        HookEventName::UserPromptSubmit | HookEventName::PostToolUse | HookEventName::Stop => {
            MAIL_UNITS
        }
    };
    let is_prompt = event == HookEventName::UserPromptSubmit;
    HookEvent {
        event,
        session: input.session_id.clone(),
        client: client_process::client_of_hook(config.claude.pid),
        turn: input.prompt_id.clone(),
        occasion: input.event_key(event),
        lasted: input.tool_duration(),
        seen: if is_prompt { input.pushes_in_prompt() } else { Vec::new() },
        room,
        source: if event == HookEventName::SessionStart {
            input.source.clone()
        } else {
            String::new()
        },
        cwd: input.cwd().to_owned(),
    }
}

/// Returns the session's title, which may have changed since its last event.
fn around(request: &HookEvent, config: &Config) -> CallerContext {
    let title = request
        .client
        .as_ref()
        .and_then(|client| session_file::session_title(&config.claude.directory, client));
    CallerContext { title, ..CallerContext::default() }
}

/// The time limit of the whole process, whatever it waits for: the client may keep our input open,
/// and a file system may hang.
struct TimeLimit {
    is_lifted: Arc<AtomicBool>,
}

impl TimeLimit {
    /// Starts the limit: the process exits with code 0 when `wait` and the time for the receipt are
    /// over.
    fn start(wait: Duration) -> Self {
        let limit = wait + wait.mul_f32(RECEIPT_SHARE_OF_LIMIT);
        let is_lifted = Arc::new(AtomicBool::new(false));
        let lifted = Arc::clone(&is_lifted);
        let spawned = std::thread::Builder::new().name("limit".to_owned()).spawn(move || {
            std::thread::sleep(limit);
            if !lifted.load(Ordering::Acquire) {
                std::process::exit(0);
            }
        });
        // Without the thread, the limits of the single steps must do.
        drop(spawned);
        Self { is_lifted }
    }

    /// Lets the process go on after the limit, so that output that has begun is written whole.
    fn lift(&self) {
        self.is_lifted.store(true, Ordering::Release);
    }
}
