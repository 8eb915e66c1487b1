//! Setup: other programs' configuration is changed no more than needed, and undone to the byte.

mod claude;
mod clients;
mod question;
mod standin;
mod undo;

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::{PROGRAM, Sandbox, chmod, write_program};

/// A home without clients, unless a test adds one.
pub fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let bin = sandbox.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    sandbox.with("PATH", path)
}

/// Runs setup in the home of the sandbox.
pub fn setup(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    sandbox.run(std::iter::once("setup").chain(arguments.iter().copied()))
}

#[track_caller]
pub fn succeeds(sandbox: &Sandbox, arguments: &[&str]) -> String {
    sandbox.ok(std::iter::once("setup").chain(arguments.iter().copied()))
}

#[track_caller]
pub fn fails(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let (code, error) = sandbox.fails(std::iter::once("setup").chain(arguments.iter().copied()));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("\nhint: "), "{error}");
    error
}

/// All files below the home and the configuration directory, with content, mode and links, without
/// setup's undo records.
pub fn everything(sandbox: &Sandbox) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![sandbox.home(), sandbox.path().join("config")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let mode = metadata.mode();
            let content = if metadata.is_symlink() {
                format!("{:?}", std::fs::read_link(&path).unwrap())
            } else if metadata.is_dir() {
                open.push(path.clone());
                String::new()
            } else {
                String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
            };
            found.push((path, format!("{mode:o} {content}")));
        }
    }
    found.sort();
    found
}

/// The names of setup's undo records, without the lock.
pub fn remembered(sandbox: &Sandbox) -> Vec<String> {
    let directory = sandbox.path().join("state/claude-peers/setup");
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Identifies a version of a file, to show that it was not written again.
pub fn identity(path: &Path) -> (u64, i64, i64) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

/// Parses JSON with comments and trailing commas, as the clients read it.
pub fn jsonc(text: &str) -> Value {
    let mut plain = String::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.split("//").next().unwrap();
        plain.push_str(line.split("/*").next().unwrap());
        plain.push('\n');
    }
    let mut without = String::new();
    let mut characters = plain.chars().peekable();
    while let Some(c) = characters.next() {
        if c == ',' {
            let rest: String =
                characters.clone().skip_while(|c| c.is_whitespace()).take(1).collect();
            if rest == "}" || rest == "]" {
                continue;
            }
        }
        without.push(c);
    }
    serde_json::from_str(&without).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A form of a configuration file: its name, and what writes it.
pub type Case = (&'static str, fn(&Path, &str));

/// The same content in every form that a file can have.
pub const WAYS: [Case; 5] = [
    ("plain", |path, text| write(path, text)),
    ("without a line end at its end", |path, text| write(path, text.trim_end())),
    ("CRLF", |path, text| write(path, &text.replace('\n', "\r\n"))),
    ("with a byte order mark", |path, text| write(path, &format!("\u{feff}{text}"))),
    ("a link", |path, text| {
        let real = path.parent().unwrap().parent().unwrap().join("dotfiles/real");
        write(&real, text);
        chmod(&real, 0o640);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&real, path).unwrap();
    }),
];

/// The program under another path, as another package would have it.
pub fn elsewhere(sandbox: &Sandbox, directory: &str) -> PathBuf {
    let link = sandbox.path().join(directory).join("claude-peers");
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(PROGRAM, &link).unwrap();
    link
}

/// Checks that every line of `before` is still in `after`, in the same order. A comma may have been
/// added to its end, and an object or array of one line may have become longer: then its content is
/// there.
#[track_caller]
pub fn keeps_lines(before: &str, after: &str) {
    let mut rest = after;
    for line in before.trim_end().split('\n') {
        let line = line.trim_end_matches(['\r', ',']);
        let content = match (line.find(['{', '[']), line.rfind(['}', ']'])) {
            (Some(open), Some(close)) if open < close => line[open + 1..close].trim(),
            _ => line,
        };
        let Some(at) = rest.find(content) else {
            panic!("{line:?} is gone or moved: {after}");
        };
        rest = &rest[at + content.len()..];
    }
}
