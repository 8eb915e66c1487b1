//! Whether a push can reach this session's model.
//!
//! Claude Code does not acknowledge a push, and silently drops it if the session does not use the
//! channel. So at the start only one thing can be known: that the channel is absent. The broker
//! learns from evidence that it works.

use crate::claude_code::client_process;
use crate::config::{ChannelSetting, Entrypoint};
use crate::protocol::ProcessId;
use crate::protocol::peers::Channel;
use crate::sys::process;

/// Claude Code's options that load a channel.
const OPTIONS: [&str; 2] = ["--dangerously-load-development-channels", "--channels"];

/// Returns the state of the channel at the start of an instance.
pub fn detect(
    setting: ChannelSetting,
    is_claude: bool,
    entrypoint: Entrypoint,
    client: Option<&ProcessId>,
) -> Channel {
    match setting {
        ChannelSetting::On => return Channel::Presumed,
        ChannelSetting::Off => return Channel::Absent,
        ChannelSetting::Auto => {}
    }
    // Other clients have no channel, and without a terminal Claude Code ignores the option.
    if !is_claude || entrypoint != Entrypoint::Person {
        return Channel::Absent;
    }
    let command_line = client.filter(|c| is_claude_binary(c)).and_then(|c| process::argv(c.pid));
    match command_line {
        Some(argv) if !loads_channel(&argv) => Channel::Absent,
        _ => Channel::Presumed,
    }
}

/// Whether the process is Claude Code itself. The command line of a wrapper says nothing.
fn is_claude_binary(client: &ProcessId) -> bool {
    client_process::is_claude(client.pid)
}

/// Whether any channel is loaded. Ours may be configured under any name, so names are not compared.
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
    fn a_client_whose_command_line_loads_no_channel_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let claude = directory.path().join("claude");
        std::os::unix::fs::symlink("/bin/sh", &claude).unwrap();
        for (option, channel) in
            [("--continue", Channel::Absent), ("--channels=plugin:peers@market", Channel::Presumed)]
        {
            let mut client = std::process::Command::new(&claude)
                .args(["-c", "read line", option])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let process = process::of_pid(client.id()).unwrap();
            // The kernel lets go of us before the new program's name and arguments can be read.
            let since = std::time::Instant::now();
            while !is_claude_binary(&process) || process::argv(process.pid).is_none() {
                assert!(since.elapsed().as_secs() < 30, "it does not run");
            }
            assert_eq!(detect(ChannelSetting::Auto, true, PERSON, Some(&process)), channel);
            client.kill().unwrap();
            client.wait().unwrap();
        }
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
        // The process of a test is not Claude Code, so its command line rules nothing out.
        let me = process::of_pid(std::process::id());
        assert_eq!(detect(ChannelSetting::Auto, true, PERSON, me.as_ref()), Channel::Presumed);
    }
}
