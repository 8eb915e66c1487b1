//! The text of a message: from words of the command line, standard input, or a file.

use std::io::Read;
use std::path::Path;

use crate::cli::error::CliError;
use crate::config::MAX_MESSAGE_BYTES;

/// The word or file name that means standard input.
const STANDARD_INPUT: &str = "-";

/// Returns the text of these words, or of the file if one is named.
///
/// `allowed` is the size limit of a message, in bytes, for the error's text.
///
/// # Errors
///
/// Returns why the text cannot be read, or that it is not UTF-8, empty, or longer than any limit.
pub fn text(words: &[&str], file: Option<&Path>, allowed: u32) -> Result<String, CliError> {
    match (words, file) {
        (_, Some(path)) if path != Path::new(STANDARD_INPUT) => of_file(path, allowed),
        (_, Some(_)) | ([STANDARD_INPUT], None) => {
            read("standard input", std::io::stdin().lock(), allowed)
        }
        (words, None) => Ok(words.join(" ")),
    }
}

fn of_file(path: &Path, allowed: u32) -> Result<String, CliError> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        CliError::new(format!("{name} cannot be read: {error}"))
            .hint("Give the path of a text file, or `-` for standard input.")
    };
    let text = read(&name, std::fs::File::open(path).map_err(unreadable)?, allowed)?;
    if text.trim().is_empty() {
        return Err(CliError::new(format!("{name} is empty; nothing was sent")));
    }
    Ok(text)
}

/// Reads a source whole, and removes a byte order mark before and a line end after the text.
fn read(name: &str, source: impl Read, allowed: u32) -> Result<String, CliError> {
    let most = u64::from(MAX_MESSAGE_BYTES);
    let mut bytes = Vec::new();
    let read = source.take(most + 1).read_to_end(&mut bytes);
    let read = read.map_err(|e| CliError::new(format!("{name} cannot be read: {e}")))?;
    if read as u64 > most {
        let problem = format!("{name} is longer than {most} bytes; the limit is {allowed}");
        return Err(CliError::new(problem).hint("Send the path of a file in the message instead."));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        CliError::new(format!("{name} is not UTF-8 text"))
            .hint("Send the path of the file in the message instead.")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.strip_suffix('\n').unwrap_or(text).to_owned())
}
