//! Whether a push can reach this session's model.
//!
//! There is no acknowledgement: a push into a session without the channel vanishes in silence.
//! So the question is only whether it can be ruled out; that it works is shown by evidence, in
//! the broker.

use crate::claude_code::client_process;
use crate::config::{ChannelSetting, Entrypoint};
use crate::protocol::peers::Channel;
use crate::sys::process;
use crate::sys::process::Process;

/// The options of Claude Code that load a channel.
const OPTIONS: [&str; 2] = ["--dangerously-load-development-channels", "--channels"];

/// What to believe at start.
pub fn detect(
    setting: ChannelSetting,
    is_claude: bool,
    entrypoint: Entrypoint,
    client: Option<&Process>,
) -> Channel {
    match setting {
        ChannelSetting::On => return Channel::Presumed,
        ChannelSetting::Off => return Channel::Absent,
        ChannelSetting::Auto => {}
    }
    // Other clients have no channel, and without a terminal the option is ignored in silence.
    if !is_claude || entrypoint != Entrypoint::Person {
        return Channel::Absent;
    }
    let command_line = client.filter(|c| is_claude_binary(c)).and_then(|c| process::argv(c.pid));
    match command_line {
        Some(argv) if !loads_channel(&argv) => Channel::Absent,
        _ => Channel::Presumed,
    }
}

/// Only Claude Code's own command line says something; a wrapper's does not.
fn is_claude_binary(client: &Process) -> bool {
    client_process::is_claude(client.pid)
}

/// Whether any channel is loaded. Ours may be configured under any name, so the names say nothing.
fn loads_channel(argv: &[String]) -> bool {
    argv.iter().skip(1).any(|word| {
        OPTIONS.iter().any(|option| {
            word.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: Entrypoint = Entrypoint::Person;
    const PRINT: Entrypoint = Entrypoint::Print;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn the_command_line_tells_whether_a_channel_is_loaded() {
        assert!(loads_channel(&argv(&["claude", "--channels", "plugin:peers@market"])));
        assert!(loads_channel(&argv(&[
            "claude",
            "--dangerously-load-development-channels=server:claude-peers"
        ])));
        assert!(!loads_channel(&argv(&["claude", "--channels-off", "x"])));
        assert!(!loads_channel(&argv(&["claude", "--continue"])));
    }

    #[test]
    fn the_setting_wins_and_others_have_no_channel() {
        assert_eq!(detect(ChannelSetting::On, false, PRINT, None), Channel::Presumed);
        assert_eq!(detect(ChannelSetting::Off, true, PERSON, None), Channel::Absent);
        assert_eq!(detect(ChannelSetting::Auto, false, PERSON, None), Channel::Absent);
        assert_eq!(detect(ChannelSetting::Auto, true, PRINT, None), Channel::Absent);
        assert_eq!(detect(ChannelSetting::Auto, true, PERSON, None), Channel::Presumed);
        // A test's own process is not Claude Code, so its command line rules nothing out.
        let me = Process::find(std::process::id());
        assert_eq!(detect(ChannelSetting::Auto, true, PERSON, me.as_ref()), Channel::Presumed);
    }
}
