//! Starts a broker when none listens: by the service where there is one, else as a process of our
//! own.
//!
//! A client connects; if that fails it takes the spawn lock, connects *again*, starts the service's
//! socket or spawns a broker, waits until it listens, and releases the lock. However many clients
//! find no broker at once, one starts it and the others find it listening. A spawned broker leaves the terminal's
//! session and process group, has no parent of ours, gets a cleared environment, and writes its log
//! to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::busy::{Tell, busy, refuse_if_busy};
use crate::client::error::StartError;
use crate::config::{Config, FALLBACK_REASON};
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Holder};
use crate::endpoint::ready::READY;
use crate::endpoint::release::wait_until_released;
use crate::endpoint::socket;
use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::{Unavailable, manager};
use crate::sys::files::{LockFile, open_own, open_own_to_write, private_directory, real_path};
use crate::sys::listening::Listening;
use crate::sys::self_exe::own_file;
use crate::sys::subprocess::{ReadUntil, read_until, run_in_background};
use crate::sys::trust::check_way;

/// The limit of a broker's start, and of the wait for another client that starts it.
const START: Duration = Duration::from_secs(12);

/// The interval of looks at what a broker does that does not serve yet.
pub(super) const LISTEN: Duration = Duration::from_secs(1);

/// The time that a broker may take to stop when it is replaced.
const STOP: Duration = Duration::from_secs(8);

/// A broker that holds its lock for longer than this is not in a crash loop.
const STAYS: Duration = Duration::from_millis(400);

const PAUSE: Duration = Duration::from_millis(10);

/// The most starts of one call, if directories are removed in the middle of each.
const MAX_STARTS: u32 = 20;

/// A log larger than this, in bytes, is truncated.
const MAX_LOG: u64 = 1024 * 1024;

/// The file that keeps nothing.
const NO_LOG: &str = "/dev/null";

/// Makes sure that a broker listens. With `tell`, waits without a limit for one that is still
/// opening its database.
pub async fn ensure(config: &Config, tell: Option<Tell>) -> Result<(), StartError> {
    if is_served(config)? {
        return Ok(());
    }
    let config = config.anew();
    run_on_thread(move || {
        for _ in 1..MAX_STARTS {
            match ensure_once(&config, tell.as_ref()) {
                Err(error) if is_removed(&config, &error) => {}
                ensured => return ensured,
            }
        }
        ensure_once(&config, tell.as_ref())
    })
    .await
}

fn ensure_once(config: &Config, tell: Option<&Tell>) -> Result<(), StartError> {
    refuse_if_busy(config)?;
    let _lock = spawn_lock(config)?;
    if is_served(config)? { Ok(()) } else { start(config, tell) }
}

/// Whether a start failed because a directory was removed in the middle of it: a login manager removes
/// the runtime directory at the end of the last session. The next start makes it again.
fn is_removed(config: &Config, error: &StartError) -> bool {
    match error {
        StartError::File { error, .. } => error.kind() == io::ErrorKind::NotFound,
        StartError::Failed(..) | StartError::Ended(_) => {
            !config.paths.runtime().is_dir() || !config.paths.spawn_lock.exists()
        }
        _ => false,
    }
}

/// Returns whether a broker listens. An error means that nothing may be started.
pub(super) fn is_served(config: &Config) -> Result<bool, StartError> {
    match socket::answers(config) {
        (Listening::Yes, _) => Ok(true),
        (Listening::Nobody, _) => Ok(false),
        (Listening::Unknown(error), socket) => Err(StartError::CannotLook { socket, error }),
    }
}

/// Starts the service, or else a broker of our own, which is told why.
fn start(config: &Config, tell: Option<&Tell>) -> Result<(), StartError> {
    match manager(config).start_on_demand() {
        Ok(()) => Ok(()),
        Err(why) => spawn(config, &why, tell),
    }
}

/// Replaces a service that is in a crash loop, for a call that got no answer.
///
/// Such a service keeps its socket open, so its clients would wait. Its sockets are closed and a
/// broker of our own serves.
pub async fn unstick(config: &Config) -> Result<(), StartError> {
    let config = config.anew();
    run_on_thread(move || {
        if manager(&config).availability().is_err() || a_broker_stays(&config) {
            return Ok(());
        }
        let _lock = spawn_lock(&config)?;
        // Another client may have done it while this one waited for the lock.
        if holder(&config).is_some() || manager(&config).availability().is_err() {
            return Ok(());
        }
        match manager(&config).crash_loop() {
            None => Ok(()),
            Some(why) => {
                manager(&config).disable(&why);
                spawn(&config, &why, None)
            }
        }
    })
    .await
}

/// Returns whether one process holds the broker's lock for some time: it is slow, not crashing.
fn a_broker_stays(config: &Config) -> bool {
    let pid = || holder(config).map(|holder| holder.pid);
    let Some(first) = pid() else { return false };
    let since = Instant::now();
    while since.elapsed() < STAYS {
        std::thread::sleep(PAUSE);
        if pid() != Some(first) {
            return false;
        }
    }
    true
}

/// Replaces a fallback broker that is older than this client. All it knows is in the database.
pub async fn replace(config: &Config) -> Result<(), StartError> {
    let config = config.anew();
    run_on_thread(move || {
        let _lock = spawn_lock(&config)?;
        if let Some(running) = holder(&config).filter(|h| h.protocol < crate::protocol::PROTOCOL) {
            stop(&config, &running)?;
        }
        if is_served(&config)? { Ok(()) } else { start(&config, None) }
    })
    .await
}

async fn run_on_thread(
    work: impl FnOnce() -> Result<(), StartError> + Send + 'static,
) -> Result<(), StartError> {
    run_in_background("starter", work)
        .await
        .unwrap_or_else(|error| Err(StartError::NoThread(error)))
}

fn spawn_lock(config: &Config) -> Result<LockFile, StartError> {
    let runtime = config.paths.runtime();
    private_directory(runtime).map_err(file("the runtime directory", runtime))?;
    check_way(&config.paths.socket, &config.paths.home)?;
    let path = &config.paths.spawn_lock;
    let since = Instant::now();
    loop {
        match LockFile::try_take(path).map_err(file("the lock file", path))? {
            Some(lock) => return Ok(lock),
            None if since.elapsed() > START => {
                refuse_if_busy(config)?;
                return Err(StartError::Locked(since.elapsed()));
            }
            None => std::thread::sleep(PAUSE),
        }
    }
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |error| StartError::File { what, path, error }
}

/// Stops a broker if it may be stopped: if a client started it.
fn stop(config: &Config, running: &Holder) -> Result<(), StartError> {
    let cannot = |reason: &str, hint: &str| StartError::CannotReplace {
        version: running.version.clone(),
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    };
    match running.started {
        Started::Fallback => {}
        Started::Systemd => {
            return Err(cannot(
                "runs under systemd",
                "Restart it: `claude-peers service restart`. If it still runs the old program, \
                 `claude-peers service install` switches it to the new one.",
            ));
        }
        Started::Launchd => {
            return Err(cannot("runs under launchd", "Restart it: `claude-peers kill-broker`."));
        }
        Started::Foreground | Started::Unknown => {
            return Err(cannot("was started by hand", "Stop it and start it again."));
        }
    }
    if !running.ask_to_stop() {
        return Err(cannot(&format!("is {}", running.described()), ELSEWHERE_HINT));
    }
    if wait_until_released(config, running, STOP) {
        return Ok(());
    }
    Err(cannot("does not stop", "Stop it with `claude-peers kill-broker`."))
}

fn spawn(config: &Config, why: &Unavailable, tell: Option<&Tell>) -> Result<(), StartError> {
    let logs = config.paths.logs();
    private_directory(logs).map_err(file("the log's directory", logs))?;
    let log_path = &config.paths.log;
    check_way(log_path, &config.paths.home)?;
    let log = open_log(log_path).map_err(file("the log file", log_path))?;
    let log_start = log.metadata().map_or(0, |m| m.len());
    let program = own_file().map_err(file("this program's own file", Path::new("claude-peers")))?;
    let mut command = Command::new(&program);
    command
        .args(["broker", "--detach"])
        .env_clear()
        .envs(config.environment.for_broker())
        .env(FALLBACK_REASON, why.to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().map_err(file("the broker's program", &program))?;
    let Some(output) = child.stdout.take() else {
        return Err(StartError::Failed("its output cannot be read".to_owned(), None));
    };
    // The child daemonises: it starts the broker and exits.
    child.wait().map_err(file("the broker's program", &program))?;
    match hear_ready(config, output, tell)? {
        ReadUntil::Enough => Ok(()),
        ReadUntil::Closed(said) => Err(last_words(&said, log_path, log_start)),
        ReadUntil::TooSlow => Err(StartError::TooSlow(START)),
    }
}

/// Waits until the broker reports that it serves. With `tell`, a broker that is still opening its
/// database has no limit.
fn hear_ready(
    config: &Config,
    mut output: ChildStdout,
    tell: Option<&Tell>,
) -> Result<ReadUntil, StartError> {
    let is_ready = |said: &[u8]| said.starts_with(READY.as_bytes());
    let since = Instant::now();
    loop {
        let heard = read_until(&mut output, LISTEN, is_ready);
        let heard = heard.map_err(|error| StartError::Failed(error.to_string(), None))?;
        if heard != ReadUntil::TooSlow {
            return Ok(heard);
        }
        let over = since.elapsed() >= START;
        match (busy(config), tell) {
            (Some(what), Some(tell)) => tell.say(&what),
            (Some(what), None) if over => return Err(StartError::Busy { what, listens: false }),
            (None, _) if over => return Ok(heard),
            _ => {}
        }
    }
}

/// Opens the log, also where a link leads: only our user and root can have made one on the way.
fn open_log(path: &Path) -> io::Result<File> {
    let real = real_path(path);
    // A person's way to keep no log.
    if real == Path::new(NO_LOG) {
        return OpenOptions::new().append(true).open(real);
    }
    let file = open_own_to_write(&real, OpenOptions::new().append(true).create(true))?;
    if file.metadata()?.len() > MAX_LOG {
        file.set_len(0)?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Returns the last error of a broker that died, and its hint: from its output, else from its log.
fn last_words(said: &[u8], log: &Path, from: u64) -> StartError {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = open_own(&real_path(log), OpenOptions::new().read(true))?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(64 * 1024).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = if said.is_empty() { read().unwrap_or_default() } else { said.to_vec() };
    let text = String::from_utf8_lossy(&bytes);
    let last = |prefix: &str| {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix(prefix))
            .map(|line| line.trim().to_owned())
    };
    match last("error: ") {
        Some(message) => StartError::Failed(message, last("hint: ")),
        None => StartError::Ended(
            text.lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("it said nothing")
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broker_that_a_client_started_is_replaced_by_a_client() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().display().to_string();
        let variables = [("HOME".to_owned(), home)];
        let config = Config::from_environment(&variables.into_iter().collect()).unwrap();
        for (started, reason) in [
            (Started::Systemd, "runs under systemd"),
            (Started::Launchd, "runs under launchd"),
            (Started::Foreground, "was started by hand"),
            (Started::Unknown, "was started by hand"),
            // This one would be, but it is no process here.
            (Started::Fallback, "is an unknown process"),
        ] {
            let text = serde_json::json!({ "pid": 0, "started": started });
            let running: Holder = serde_json::from_value(text).unwrap();
            let error = stop(&config, &running).unwrap_err().to_string();
            assert!(error.contains(reason), "{started:?}: {error}");
        }
    }
}
