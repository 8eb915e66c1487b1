//! The file with the secret that requests over TCP must carry.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::protocol::ids::is_secret;
use crate::sys::files;
use crate::sys::files::{MAX_RECORD, check_own, read_text};
use crate::sys::random;

/// Returns the token in the file at `path`.
///
/// A new one is written if there is none, if other users could have read it, or if what the file
/// holds is not a token.
///
/// # Errors
///
/// If the file cannot be read for another reason, or cannot be written.
pub fn read_or_create(path: &Path) -> io::Result<String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        // A pipe, say, or a link to one.
        Ok(found) if !found.is_file() => {
            check_own(path)?;
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(found) if found.mode() & 0o077 == 0 && found.uid() == files::effective_uid() => {
            match read_text(path, MAX_RECORD) {
                Ok(text) if is_secret(text.trim()) => return Ok(text.trim().to_owned()),
                Err(error) if !is_permanent(&error) => return Err(error),
                _ => tracing::warn!("{shown} did not hold a valid token; a new one was written"),
            }
        }
        Ok(_) => tracing::warn!("other users could read {shown}; a new token was written"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = random::new_secret();
    files::write_private(path, &format!("{token}\n"))?;
    Ok(token)
}

/// Whether another attempt to read the file would fail in the same way.
fn is_permanent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied)
}
