//! Whether Claude Code itself says that it is idle.
//!
//! It keeps a file for each of its processes, `sessions/PID.json` beside its settings, in which it
//! says whether it is at work. An interrupted turn has an end that no hook tells, and it stands
//! there within a second. The file is documented nowhere: what is missing, of another form or of
//! another process says nothing, and whoever asks goes by what it knew without it.
//!
//! Asked by whoever is to wake a session, its MCP server or the hook that waits: they have the
//! client's environment and see its process by the number that it has itself.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::process::Process;

/// What is longer is no such file.
const LIMIT: u64 = 64 * 1024;

/// How long the file may take: a home may be somewhere in the network.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    pid: u32,
    /// As the system counts it, where it is the same everywhere.
    proc_start: Option<String>,
    status: Option<String>,
}

/// Whether this client says that it waits for its person; `None` where it does not say.
/// `directory` is the client's own, the one with its settings.
pub async fn says(directory: &Path, client: &Process) -> Option<bool> {
    let (directory, client) = (directory.to_owned(), client.clone());
    let asked = tokio::task::spawn_blocking(move || ask(&directory, &client));
    tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?
}

fn ask(directory: &Path, client: &Process) -> Option<bool> {
    let path = directory.join("sessions").join(format!("{}.json", client.pid));
    // Whatever else has that name must not hold us.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    read(&text, client)
}

fn read(text: &[u8], client: &Process) -> Option<bool> {
    let said: Said = serde_json::from_slice(text).ok()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let another_start = said.proc_start.is_some_and(|start| {
        is_number(&start) && is_number(&client.start) && start != client.start
    });
    if said.pid != client.pid || another_start {
        return None;
    }
    match said.status?.as_str() {
        "idle" => Some(true),
        // In a dialog it takes no other prompt.
        "busy" | "waiting" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client() -> Process {
        let mut client = Process::find(std::process::id()).unwrap();
        client.pid = 7;
        client.start = "123".to_owned();
        client
    }

    #[test]
    fn what_the_client_says_of_itself_is_believed_and_what_is_odd_is_not() {
        let says = |value: serde_json::Value| read(value.to_string().as_bytes(), &client());
        let of =
            |status: &str| says(json!({ "pid": 7, "procStart": "123", "status": status, "x": [] }));
        assert_eq!(of("idle"), Some(true));
        assert_eq!([of("busy"), of("waiting")], [Some(false); 2]);
        assert_eq!([of(""), of("sleepy")], [None; 2]);
        assert_eq!(says(json!({ "pid": 7, "status": "idle" })), Some(true), "no start is said");
        for odd in [
            json!({ "pid": 8, "procStart": "123", "status": "idle" }),
            json!({ "pid": 7, "procStart": "124", "status": "idle" }),
            json!({ "pid": 7, "procStart": "123" }),
            json!({ "pid": 7, "status": 1 }),
            json!({ "pid": "7", "status": "idle" }),
            json!(["idle"]),
        ] {
            assert_eq!(says(odd.clone()), None, "{odd}");
        }
        assert_eq!(read(b"{\"pid\": 7, \"stat", &client()), None, "half of it");
    }

    #[test]
    fn what_is_no_file_holds_nobody() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ask(directory.path(), &client()), None);
        let file = directory.path().join("sessions/7.json");
        std::fs::create_dir_all(&file).unwrap();
        assert_eq!(ask(directory.path(), &client()), None);
        std::fs::remove_dir(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert_eq!(ask(directory.path(), &client()), None);
    }
}
