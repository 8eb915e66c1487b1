//! The text of a message: from the command line's words, standard input, or a file.

use std::io::Read;
use std::path::Path;

use crate::cli::error::Failure;
use crate::config::MAX_MESSAGE_BYTES;

/// Stands for standard input, as a word or a file.
const STANDARD_INPUT: &str = "-";

/// The text of these words, or of the file that was named instead; `allowed` is how many bytes the
/// settings let a message have.
///
/// # Errors
///
/// If it cannot be read whole, or is no text.
pub fn text(words: &[&str], file: Option<&Path>, allowed: u32) -> Result<String, Failure> {
    match (words, file) {
        (_, Some(path)) if path != Path::new(STANDARD_INPUT) => of_file(path, allowed),
        (_, Some(_)) | ([STANDARD_INPUT], None) => {
            read("standard input", std::io::stdin().lock(), allowed)
        }
        (words, None) => Ok(words.join(" ")),
    }
}

fn of_file(path: &Path, allowed: u32) -> Result<String, Failure> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Failure::new(format!("{name} cannot be read: {error}"))
            .hint("Name a file with text; `-` is standard input.")
    };
    let text = read(&name, std::fs::File::open(path).map_err(unreadable)?, allowed)?;
    if text.trim().is_empty() {
        return Err(Failure::new(format!("{name} is empty; nothing was sent")));
    }
    Ok(text)
}

/// All of a source, without the byte order mark before and the line's end behind the text.
fn read(name: &str, source: impl Read, allowed: u32) -> Result<String, Failure> {
    let most = u64::from(MAX_MESSAGE_BYTES);
    let mut bytes = Vec::new();
    let read = source.take(most + 1).read_to_end(&mut bytes);
    let read = read.map_err(|e| Failure::new(format!("{name} cannot be read: {e}")))?;
    if read as u64 > most {
        let problem = format!("{name} has more than {most} bytes, {allowed} are allowed");
        return Err(Failure::new(problem).hint("Send the path of a file instead."));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(format!("{name} is not UTF-8 text")).hint("Send the path of the file instead.")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.strip_suffix('\n').unwrap_or(text).to_owned())
}
