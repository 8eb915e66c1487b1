//! The identity of a process: boot, pid namespace, start time and pid.
//!
//! Plain data, as it is on the wire and in the database. `sys::process` finds out whether such a
//! process runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Identifies one process for its whole life.
///
/// Two processes are the same only if all four parts agree: pids are reused, and mean other processes
/// in other containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessId {
    pub pid: u32,
    /// The start time as the system writes it; empty where it cannot be read.
    #[serde(default)]
    pub start: String,
    /// The id of the boot from which the start time counts; empty where it cannot be read.
    #[serde(default)]
    pub boot: String,
    /// The inode of the pid namespace of `pid` (see pid_namespaces(7)); empty where it cannot be
    /// read, and for the initial namespace of the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Writes `PID:START:BOOT`, and `PID:START:BOOT:NAMESPACE` in a container.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start, self.boot)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, ":{}", self.namespace) }
    }
}

/// The error for a text that is not a process identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a process identity of the form PID:START:BOOT")]
pub struct InvalidProcessId;

/// Reads what [`fmt::Display`] writes.
impl FromStr for ProcessId {
    type Err = InvalidProcessId;

    fn from_str(text: &str) -> Result<Self, InvalidProcessId> {
        let mut parts = text.split(':');
        let pid = parts.next().and_then(|pid| pid.parse().ok()).ok_or(InvalidProcessId)?;
        let parts: Vec<&str> = parts.collect();
        let (start, boot, namespace) = match parts.as_slice() {
            [start, boot] => ((*start).to_owned(), *boot, ""),
            [start, boot, namespace] => ((*start).to_owned(), *boot, *namespace),
            // `ps` writes a time of day, which contains two colons. It is only used on systems without
            // pid namespaces.
            [start @ .., boot] if !start.is_empty() => (start.join(":"), *boot, ""),
            _ => return Err(InvalidProcessId),
        };
        Ok(Self { pid, start, boot: boot.to_owned(), namespace: namespace.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_back_on_every_system() {
        for (start, boot, namespace) in [
            ("123456", "4f1c-9e", ""),
            ("123456", "4f1c-9e", "4026539999"),
            ("Thu Nov 26 18:04:53 2026", "4F1C-9E", ""),
            ("", "", ""),
        ] {
            let [start, boot, namespace] = [start, boot, namespace].map(str::to_owned);
            let process = ProcessId { pid: 7, start, boot, namespace };
            assert_eq!(process.to_string().parse(), Ok(process));
        }
        for wrong in ["", "7", "x:1:2", "-7:1:2", ":1:2"] {
            assert_eq!(wrong.parse::<ProcessId>(), Err(InvalidProcessId), "{wrong}");
        }
    }

    #[test]
    fn the_wire_form_names_a_namespace_only_where_there_is_one() {
        let process =
            ProcessId { pid: 7, start: "1".into(), boot: "b".into(), namespace: String::new() };
        let json = serde_json::to_string(&process).unwrap();
        assert_eq!(json, r#"{"pid":7,"start":"1","boot":"b"}"#);
        assert_eq!(serde_json::from_str::<ProcessId>(r#"{"pid":7}"#).unwrap().pid, 7);
    }
}
