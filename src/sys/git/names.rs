//! Names of recent files, and which of them are better kept to ourselves.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Directory entries that are looked at where there is no repository.
const MAX_ENTRIES: usize = 2000;

/// Whether a repository's list of files is its own. A link in its place leads to another's names.
pub fn has_own_index(git_dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(git_dir) else {
        return false;
    };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        let is_index = name == "index" || name.as_bytes().starts_with(b"sharedindex.");
        !is_index || entry.file_type().is_ok_and(|kind| kind.is_file())
    })
}

/// The names of what was changed last, of those below `top`. A name that ends in a slash is a
/// directory's. Many files on a slow disk are not all looked at: it ends after `patience`.
pub fn newest(top: &Path, names: Vec<Vec<u8>>, limit: usize, patience: Duration) -> Vec<String> {
    let since = Instant::now();
    let found = names
        .into_iter()
        .take_while(|_| since.elapsed() < patience)
        .filter_map(|name| {
            let is_directory = name.ends_with(b"/");
            // Links are not followed, so that only what lies here is told.
            let data = top.join(OsStr::from_bytes(&name)).symlink_metadata().ok()?;
            (data.is_dir() == is_directory).then_some(())?;
            Some((data.modified().ok()?, lossy(&name)))
        })
        .filter(|(_, name)| !looks_secret(name))
        .collect();
    in_order(found, limit)
}

/// The visible files that lie directly in `dir`. Hidden ones are left out: in a home directory
/// the newest are shell histories and the like.
pub fn newest_in(dir: &Path, limit: usize) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let found = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = lossy(entry.file_name().as_bytes());
            if name.starts_with('.') || looks_secret(&name) {
                return None;
            }
            let data = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((data.modified().ok()?, name))
        })
        .collect();
    in_order(found, limit)
}

fn in_order(mut found: Vec<(SystemTime, String)>, limit: usize) -> Vec<String> {
    found.sort_by(|(a, a_name), (b, b_name)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
    found.dedup();
    found.into_iter().map(|(_, name)| name).take(limit).collect()
}

/// Whether even the name is better kept to ourselves. Wrong in doubt: a name too few harms nobody.
pub fn looks_secret(path: &str) -> bool {
    const NAMES: [&str; 7] =
        [".netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd", ".ssh", ".gnupg"];
    const STARTS: [&str; 7] =
        [".env", "credential", "secret", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];
    const ENDS: [&str; 11] = [
        ".env",
        ".pem",
        ".key",
        ".ppk",
        ".p12",
        ".pfx",
        ".jks",
        ".keystore",
        ".kdbx",
        ".gpg",
        ".asc",
    ];
    path.split('/').any(|part| {
        let part = part.to_lowercase();
        NAMES.contains(&&*part)
            || STARTS.iter().any(|start| part.starts_with(start))
            || ENDS.iter().any(|end| part.ends_with(end))
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
