//! Desktop notifications, by the program of the desktop.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::output::messages::Messages;
use crate::config::Config;
use crate::sys::subprocess;
use crate::text::terminal_line;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest text of a notification, in characters.
const TEXT: usize = 300;

/// A program that shows notifications.
pub enum Notifier {
    /// `notify-send` of a desktop that follows freedesktop.org's specification.
    NotifySend(PathBuf),
    /// `osascript` of macOS.
    Osascript(PathBuf),
}

impl Notifier {
    /// Finds the program.
    pub fn find(config: &Config) -> Result<Self, CliError> {
        let path = config.environment.get("PATH").unwrap_or_default();
        let found = |program| subprocess::find_in_path(path, program);
        found("notify-send")
            .map(Self::NotifySend)
            .or_else(|| found("osascript").map(Self::Osascript))
            .ok_or_else(|| {
                CliError::new("there is no program for desktop notifications in PATH")
                    .hint("Install notify-send (on Debian the package libnotify-bin), or leave --notify out.")
            })
    }

    /// Shows a notification. If that fails, the person is told on standard error.
    pub fn show(&self, title: &str, text: &str, messages: Messages) {
        let (title, text) = (terminal_line(title, 100), terminal_line(text, TEXT));
        let mut command = self.command(&title, &text);
        match subprocess::run(&mut command, PATIENCE) {
            Ok(Some(output)) if output.succeeded() => {}
            Ok(Some(output)) => {
                messages.note(&format!("no notification: {}", output.one_line()));
            }
            Ok(None) => messages.note("no notification: the program did not end in time"),
            Err(error) => messages.note(&format!("no notification: {error}")),
        }
    }

    fn command(&self, title: &str, text: &str) -> Command {
        match self {
            Self::NotifySend(program) => {
                let mut command = Command::new(program);
                // Its body may have markup, and a title none.
                command.args(["--app-name=claude-peers", "--", title]).arg(without_markup(text));
                command
            }
            Self::Osascript(program) => {
                let mut command = Command::new(program);
                // The texts are arguments, and no part of the script.
                command
                    .args(["-e", "on run argv"])
                    .args([
                        "-e",
                        "display notification (item 2 of argv) with title (item 1 of argv)",
                    ])
                    .args(["-e", "end run", "--", title, text]);
                command
            }
        }
    }
}

/// Returns a text with the characters of markup escaped.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_an_argument_and_nothing_else() {
        let arguments = |notifier: &Notifier| -> Vec<String> {
            let command = notifier.command("-t", "<b>\" & (do shell script \"x\")");
            command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
        };
        let send = arguments(&Notifier::NotifySend("notify-send".into()));
        assert_eq!(send[1..3], ["--", "-t"]);
        assert_eq!(send[3], "&lt;b&gt;\" &amp; (do shell script \"x\")");
        let script = arguments(&Notifier::Osascript("osascript".into()));
        assert_eq!(script[6..], ["--", "-t", "<b>\" & (do shell script \"x\")"]);
    }
}
