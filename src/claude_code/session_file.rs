//! The file that Claude Code keeps for each running session: `sessions/PID.json` in its
//! configuration directory.
//!
//! The MCP server and the hooks read the session's title from it and, while mail waits, whether the
//! session is idle: no hook reports the end of an interrupted turn, but the file shows it within a
//! second. The file is undocumented, so absent or unexpected content counts as unknown and never as
//! an error.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::protocol::ProcessId;
use crate::protocol::peers::Activity;
use crate::sys::process;
use crate::sys::subprocess::run_in_background;

/// The largest file that is read, in bytes. It normally has some hundred.
const LARGEST: u64 = 64 * 1024;

/// The time limit for reading, because a home directory may be on a network file system.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most characters of a title; longer ones are cut.
const LONGEST: usize = 200;

/// The fields that are used here.
#[derive(Debug, Deserialize)]
struct SessionFile {
    pid: u32,
    #[serde(default)]
    name: Option<String>,
    /// The source of the name; absent for a name from the command line or of a resumed session.
    #[serde(default, rename = "nameSource")]
    source: Option<String>,
    /// The start time of the process as the system writes it, if the client records it.
    #[serde(default, rename = "procStart")]
    start: Option<String>,
    #[serde(default)]
    status: serde_json::Value,
}

impl SessionFile {
    /// Returns whether the file is about this client and not about an earlier process of that pid.
    fn is_of(&self, client: &ProcessId) -> bool {
        let counts = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let another_start = self
            .start
            .as_deref()
            .is_some_and(|start| counts(start) && counts(&client.start) && start != client.start);
        self.pid == client.pid && !another_start
    }
}

/// Returns the name that the person gave the session of this client, by `--name` or `/rename`.
///
/// `None` for a name that the client generated, and where nothing is known.
#[must_use]
pub fn session_title(config_directory: &Path, client: &ProcessId) -> Option<String> {
    let file = config_directory.join("sessions").join(format!("{}.json", client.pid));
    let in_file = read(&file).filter(|file| file.is_of(client));
    let named = match in_file {
        Some(SessionFile { name: Some(name), source, .. }) => {
            // A "collision" is the person's name with a suffix that the client added.
            let by_person = matches!(source.as_deref(), None | Some("user" | "peer" | "collision"));
            Some(name).filter(|_| by_person)
        }
        _ => process::argv(client.pid).and_then(|words| named_by(&words)),
    };
    let name: String = named?.trim().chars().take(LONGEST).collect();
    Some(name).filter(|name| !name.is_empty())
}

/// Returns the same as [`session_title`], with a time limit and without blocking other tasks.
pub async fn session_title_async(config_directory: &Path, client: &ProcessId) -> Option<String> {
    let (directory, client) = (config_directory.to_owned(), client.clone());
    let read = run_in_background("own name", move || session_title(&directory, &client));
    tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?
}

/// Returns whether this client waits for its person; `None` if that is not known.
pub async fn is_idle(config_directory: &Path, client: &ProcessId) -> Option<bool> {
    let (directory, client) = (config_directory.to_owned(), client.clone());
    let read = run_in_background("idle", move || idle(&directory, &client));
    tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?
}

fn idle(config_directory: &Path, client: &ProcessId) -> Option<bool> {
    match activity(config_directory, client) {
        Activity::Idle => Some(true),
        // In a dialog the client accepts no other prompt.
        Activity::Busy | Activity::Waiting => Some(false),
        Activity::Unknown => None,
    }
}

fn activity(config_directory: &Path, client: &ProcessId) -> Activity {
    let file = config_directory.join("sessions").join(format!("{}.json", client.pid));
    let file = read(&file).filter(|file| file.is_of(client));
    match file.as_ref().and_then(|file| file.status.as_str()) {
        Some("idle") => Activity::Idle,
        Some("busy") => Activity::Busy,
        Some("waiting") => Activity::Waiting,
        _ => Activity::Unknown,
    }
}

/// Returns what each of these clients says that its session does, in the same order; nothing if their
/// files cannot be read in time.
pub async fn activities(config_directory: &Path, clients: Vec<ProcessId>) -> Vec<Activity> {
    let directory = config_directory.to_owned();
    let read = run_in_background("activity", move || {
        clients.iter().map(|client| activity(&directory, client)).collect()
    });
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(activities)) => activities,
        _ => Vec::new(),
    }
}

fn read(path: &Path) -> Option<SessionFile> {
    // A pipe of that name must not block us.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns the name in the arguments of a command line.
fn named_by(words: &[String]) -> Option<String> {
    let mut words = words.iter().skip(1).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if let Some(name) = word.strip_prefix("--name=") {
            return Some(name.to_owned());
        }
        if word == "--name" || word == "-n" {
            return words.next().cloned();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_persons_name_counts_and_none_that_the_client_made_up() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sessions")).unwrap();
        // A process without such a command line.
        let client = process::own();
        let file = directory.path().join("sessions").join(format!("{}.json", client.pid));
        let pid = client.pid;
        for (text, name) in [
            (format!(r#"{{"pid":{pid},"name":"auth","nameSource":"user"}}"#), Some("auth")),
            (format!(r#"{{"pid":{pid},"name":" 支払い ","status":"idle"}}"#), Some("支払い")),
            (
                format!(r#"{{"pid":{pid},"name":"shop-1","nameSource":"collision"}}"#),
                Some("shop-1"),
            ),
            (format!(r#"{{"pid":{pid},"name":"shop-a1","nameSource":"derived"}}"#), None),
            (format!(r#"{{"pid":{pid},"name":"Mending","nameSource":"auto"}}"#), None),
            (format!(r#"{{"pid":{pid},"name":"x","nameSource":"of a later version"}}"#), None),
            (format!(r#"{{"pid":{},"name":"of another"}}"#, pid + 1), None),
            (format!(r#"{{"pid":{pid},"name":"of another","procStart":"1"}}"#), None),
            (format!(r#"{{"pid":{pid},"name":"new","procStart":"Thu Nov 26"}}"#), Some("new")),
            (format!(r#"{{"pid":{pid},"name":5}}"#), None),
            (format!(r#"{{"pid":{pid},"name":""}}"#), None),
            ("nonsense".to_owned(), None),
        ] {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(session_title(directory.path(), &client).as_deref(), name, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(session_title(directory.path(), &client), None);
    }

    #[test]
    fn what_the_client_says_of_its_work_is_believed_and_what_is_odd_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let client = ProcessId { pid: 7, start: "123".to_owned(), ..process::own() };
        let file = directory.path().join("sessions/7.json");
        assert_eq!(idle(directory.path(), &client), None, "there is none");
        std::fs::create_dir_all(&file).unwrap();
        assert_eq!(idle(directory.path(), &client), None, "a directory");
        std::fs::remove_dir(&file).unwrap();
        for (text, said) in [
            (r#"{"pid":7,"procStart":"123","status":"idle","x":[]}"#, Some(true)),
            (r#"{"pid":7,"status":"idle"}"#, Some(true)),
            (r#"{"pid":7,"procStart":"123","status":"busy"}"#, Some(false)),
            (r#"{"pid":7,"status":"waiting","waitingFor":"permission prompt"}"#, Some(false)),
            (r#"{"pid":7,"status":"sleepy"}"#, None),
            (r#"{"pid":7,"status":1}"#, None),
            (r#"{"pid":7}"#, None),
            (r#"{"pid":8,"status":"idle"}"#, None),
            (r#"{"pid":7,"procStart":"124","status":"idle"}"#, None),
            (r#"{"pid":"7","status":"idle"}"#, None),
            (r#"["idle"]"#, None),
            (r#"{"pid":7,"stat"#, None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(idle(directory.path(), &client), said, "{text}");
        }
        // Something other than a file blocks no reader.
        std::fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert_eq!(idle(directory.path(), &client), None, "a pipe");
    }

    #[test]
    fn a_name_stands_in_the_command_line_too() {
        let named = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            named_by(&words)
        };
        for line in ["claude --name auth", "claude -p -n auth hello", "claude --name=auth -r"] {
            assert_eq!(named(line).as_deref(), Some("auth"), "{line}");
        }
        for line in ["claude", "claude -- --name auth", "claude --name", "claude --names auth"] {
            assert_eq!(named(line), None, "{line}");
        }
    }
}
