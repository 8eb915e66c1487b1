//! What is set, for people: every value in words, and where it came from. No secret is among them.

use crate::config::file::File;
use crate::config::{ChannelSetting, Config, Source};

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Its key in the configuration file; empty if it has none.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    pub value: String,
    pub source: Source,
    /// The broker goes by it, so client and broker should agree. The others are the session's.
    pub of_broker: bool,
}

impl InForce {
    /// Whether only a restart of the broker changes it: where it serves, and from which database.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        ["CLAUDE_PEERS_PORT", "CLAUDE_PEERS_SOCKET", "CLAUDE_PEERS_DB"].contains(&self.variable)
    }

    /// What to call it: its key, else its variable.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.key.is_empty() { self.variable } else { self.key }
    }
}

type Text<'a> = &'a dyn Fn(&str) -> Option<String>;

/// All settings, those of the broker first.
pub(super) fn list(config: &Config, text: Text<'_>, file: &File) -> Vec<InForce> {
    let mut all = of_broker(config, text, file);
    all.extend(of_session(config, text, file));
    all
}

fn source(text: Text<'_>, variable: &str, in_file: bool) -> Source {
    match (text(variable), in_file) {
        (Some(_), _) => Source::Environment,
        (None, true) => Source::File,
        (None, false) => Source::Default,
    }
}

fn of_broker(config: &Config, text: Text<'_>, file: &File) -> Vec<InForce> {
    let broker = |key, variable, in_file, value| {
        let source = source(text, variable, in_file);
        InForce { key, variable, value, source, of_broker: true }
    };
    let Config { limits, paths, .. } = config;
    vec![
        broker("port", "CLAUDE_PEERS_PORT", file.port.is_some(), config.port.value.to_string()),
        broker("", "CLAUDE_PEERS_SOCKET", false, paths.socket.display().to_string()),
        broker(
            "database",
            "CLAUDE_PEERS_DB",
            file.database.is_some(),
            config.database.value.display().to_string(),
        ),
        broker(
            "idle_exit_seconds",
            "CLAUDE_PEERS_IDLE_EXIT_SECONDS",
            file.idle_exit_seconds.is_some(),
            config.idle_exit.as_secs().to_string(),
        ),
        broker(
            "limits.messages_per_minute",
            "CLAUDE_PEERS_MESSAGES_PER_MINUTE",
            file.limits.messages_per_minute.is_some(),
            limits.messages_per_minute.to_string(),
        ),
        broker(
            "limits.message_burst",
            "CLAUDE_PEERS_MESSAGE_BURST",
            file.limits.message_burst.is_some(),
            limits.burst.to_string(),
        ),
        broker(
            "limits.max_unread",
            "CLAUDE_PEERS_MAX_UNREAD",
            file.limits.max_unread.is_some(),
            limits.max_unread.to_string(),
        ),
        broker(
            "limits.max_recipients",
            "CLAUDE_PEERS_MAX_RECIPIENTS",
            file.limits.max_recipients.is_some(),
            limits.max_recipients.to_string(),
        ),
        broker(
            "limits.max_message_bytes",
            "CLAUDE_PEERS_MAX_MESSAGE_BYTES",
            file.limits.max_message_bytes.is_some(),
            limits.max_message_bytes.to_string(),
        ),
        broker(
            "limits.max_summary_chars",
            "CLAUDE_PEERS_MAX_SUMMARY_CHARS",
            file.limits.max_summary_chars.is_some(),
            limits.max_summary_chars.to_string(),
        ),
        broker(
            "limits.message_ttl_seconds",
            "CLAUDE_PEERS_MESSAGE_TTL_SECONDS",
            file.limits.message_ttl_seconds.is_some(),
            limits.time_to_live.as_secs().to_string(),
        ),
    ]
}

fn of_session(config: &Config, text: Text<'_>, file: &File) -> Vec<InForce> {
    let session = |key, variable, in_file, value| {
        let source = source(text, variable, in_file);
        InForce { key, variable, value, source, of_broker: false }
    };
    let auto_summary = &config.auto_summary;
    let base_url = match text("CLAUDE_PEERS_SUMMARY_BASE_URL") {
        None if text("OPENAI_BASE_URL").is_some() => "OPENAI_BASE_URL",
        _ => "CLAUDE_PEERS_SUMMARY_BASE_URL",
    };
    vec![
        session(
            "name",
            "CLAUDE_PEERS_NAME",
            file.name.is_some(),
            config.name.clone().unwrap_or_else(|| "of the directory".to_owned()),
        ),
        session(
            "channel",
            "CLAUDE_PEERS_CHANNEL",
            file.channel.is_some(),
            match config.channel {
                ChannelSetting::Auto => "auto",
                ChannelSetting::On => "on",
                ChannelSetting::Off => "off",
            }
            .to_owned(),
        ),
        session("wake", "CLAUDE_PEERS_WAKE", file.wake.is_some(), config.wake.value.to_string()),
        session(
            "hook_milliseconds",
            "CLAUDE_PEERS_HOOK_MILLISECONDS",
            file.hook_milliseconds.is_some(),
            config.hook_wait.as_millis().to_string(),
        ),
        session(
            "auto_summary.enabled",
            "CLAUDE_PEERS_AUTO_SUMMARY",
            file.auto_summary.enabled.is_some(),
            auto_summary.enabled.to_string(),
        ),
        session(
            "auto_summary.base_url",
            base_url,
            file.auto_summary.base_url.is_some(),
            without_password(&auto_summary.base_url),
        ),
        session(
            "auto_summary.model",
            "CLAUDE_PEERS_SUMMARY_MODEL",
            file.auto_summary.model.is_some(),
            auto_summary.model.clone(),
        ),
        session(
            "",
            "OPENAI_API_KEY",
            false,
            if config.openai_api_key.is_some() { "set" } else { "not set" }.to_owned(),
        ),
    ]
}

/// A URL without what may stand before its host: a name and a password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (url, shown) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://me:secret@host/v1?a=@", "https://…@host/v1?a=@"),
            ("https://me:sec@ret@host", "https://…@host"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
