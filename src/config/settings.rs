//! The table of settings: everything that can be set, each in one place.
//!
//! Loading, the list of `doctor`, the README's table, the man page, and the variables for a broker,
//! launchd and Codex all come from it. A new setting is one row here, one name in [`SettingId`], and
//! the line that uses its value.

/// The largest message in bytes, whatever the settings say: far above the default limit, and low enough
/// that no request can exhaust the broker's memory.
pub const MAX_MESSAGE_BYTES: u32 = 1024 * 1024;

/// The default port.
pub const DEFAULT_PORT: u16 = 7899;

/// Names a row of [`SETTINGS`]; the order is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingId {
    Port,
    Database,
    Socket,
    Name,
    Channel,
    Wake,
    HookMilliseconds,
    IdleExitSeconds,
    MessagesPerMinute,
    MessageBurst,
    LoopMessages,
    MaxUnread,
    MaxRecipients,
    MaxMessageBytes,
    MaxSummaryChars,
    MessageTtlSeconds,
    KeepDays,
    AutoSummary,
    SummaryBaseUrl,
    SummaryModel,
    Log,
    OpenaiApiKey,
}

/// Describes one setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    pub id: SettingId,
    /// Its key in the configuration file, after its table's name; `None` if only the environment has
    /// it.
    pub key: Option<&'static str>,
    /// Its environment variable, which has precedence over the file.
    pub variable: &'static str,
    /// Another program's variable, which counts if `variable` is not set.
    pub other_variable: Option<&'static str>,
    pub kind: Kind,
    pub default: Fallback,
    pub reader: Reader,
    /// Its value is never shown, only whether it is set.
    pub is_secret: bool,
    /// One line for the documentation, in Markdown.
    pub help: &'static str,
}

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number within bounds, both included.
    Number {
        from: u64,
        to: u64,
    },
    /// On or off; `true` or `false` in the file.
    Switch,
    /// One of several words.
    Choice(&'static [&'static str]),
    /// An absolute path; `~/` stands for the home directory.
    Path,
    Text,
    /// Text that may contain a password, which is not shown.
    Url,
}

/// The value if nothing is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value, written as in the environment.
    Value(&'static str),
    /// No fixed value; the text says what happens instead.
    Words(&'static str),
}

/// The processes that use a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The broker. Its value counts, and not that of its clients.
    Broker,
    /// A session's server, its hooks, or a command.
    Session,
    /// The broker and its clients, which must agree, because the setting says where they meet. A
    /// running broker cannot change it.
    Both,
    /// Every process, each with its own value.
    Each,
}

impl Setting {
    /// Returns the key, or the variable of a setting without one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.unwrap_or(self.variable)
    }

    /// Returns whether the broker uses the setting, so that client and broker should agree.
    #[must_use]
    pub fn is_of_broker(&self) -> bool {
        matches!(self.reader, Reader::Broker | Reader::Both)
    }

    /// Returns whether a new value needs a restart of the broker.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.reader == Reader::Both
    }
}

/// Returns a row of the table.
#[must_use]
pub fn setting(id: SettingId) -> &'static Setting {
    // The order is the same, as a test below shows.
    &SETTINGS[id as usize]
}

/// Returns a row for most settings, which are in file and environment, and no secret.
const fn row(id: SettingId, key: &'static str, variable: &'static str, reader: Reader) -> Setting {
    Setting {
        id,
        key: Some(key),
        variable,
        other_variable: None,
        kind: Kind::Text,
        default: Fallback::Words(""),
        reader,
        is_secret: false,
        help: "",
    }
}

const fn number(to: u64) -> Kind {
    Kind::Number { from: 0, to }
}

/// The largest number of a limit.
const MOST: u64 = u32::MAX as u64;

/// All settings, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    Setting {
        kind: Kind::Number { from: 1, to: 65_535 },
        default: Fallback::Value("7899"),
        help: "TCP port on 127.0.0.1. Another port is another broker, with files of its own",
        ..row(SettingId::Port, "port", "CLAUDE_PEERS_PORT", Reader::Both)
    },
    Setting {
        kind: Kind::Path,
        default: Fallback::Words("`~/.claude-peers.db`"),
        help: "the database: peers, mail and history",
        ..row(SettingId::Database, "database", "CLAUDE_PEERS_DB", Reader::Both)
    },
    Setting {
        key: None,
        kind: Kind::Path,
        default: Fallback::Words("in the runtime directory"),
        help: "the broker's Unix socket. If it is set, a client uses the broker at that socket, whichever database that broker has. In a container, set it to the host's socket",
        ..row(SettingId::Socket, "", "CLAUDE_PEERS_SOCKET", Reader::Both)
    },
    Setting {
        default: Fallback::Words("as in the client, else from the directory"),
        help: "the session's name: a letter of any script, then letters, digits, `.`, `_` and `-`, at most 40 characters",
        ..row(SettingId::Name, "name", "CLAUDE_PEERS_NAME", Reader::Session)
    },
    Setting {
        kind: Kind::Choice(&["on", "off", "auto"]),
        default: Fallback::Value("auto"),
        help: "`on`: push into the session; `off`: never push; `auto`: find out whether it shows pushes",
        ..row(SettingId::Channel, "channel", "CLAUDE_PEERS_CHANNEL", Reader::Session)
    },
    Setting {
        kind: Kind::Switch,
        default: Fallback::Value("on"),
        help: "`off`: an idle session is not woken when mail waits",
        ..row(SettingId::Wake, "wake", "CLAUDE_PEERS_WAKE", Reader::Session)
    },
    Setting {
        kind: number(u64::MAX),
        default: Fallback::Value("200"),
        help: "how long a hook waits for the broker; raise it on a slow machine. The maximum is 50000, but Claude Code ends our hooks after 5 seconds (5000)",
        ..row(
            SettingId::HookMilliseconds,
            "hook_milliseconds",
            "CLAUDE_PEERS_HOOK_MILLISECONDS",
            Reader::Session,
        )
    },
    Setting {
        kind: number(u64::MAX),
        default: Fallback::Value("600"),
        help: "how long the broker stays without peers and calls; 0: for ever",
        ..row(
            SettingId::IdleExitSeconds,
            "idle_exit_seconds",
            "CLAUDE_PEERS_IDLE_EXIT_SECONDS",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("60"),
        help: "messages from each sender to each recipient",
        ..row(
            SettingId::MessagesPerMinute,
            "limits.messages_per_minute",
            "CLAUDE_PEERS_MESSAGES_PER_MINUTE",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("20"),
        help: "how many of these may come at once",
        ..row(
            SettingId::MessageBurst,
            "limits.message_burst",
            "CLAUDE_PEERS_MESSAGE_BURST",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("60"),
        help: "short messages that two sessions may exchange in turn without a person or other work; 0: no such limit",
        ..row(
            SettingId::LoopMessages,
            "limits.loop_messages",
            "CLAUDE_PEERS_LOOP_MESSAGES",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("1000"),
        help: "unread messages in one mailbox",
        ..row(SettingId::MaxUnread, "limits.max_unread", "CLAUDE_PEERS_MAX_UNREAD", Reader::Broker)
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("50"),
        help: "recipients of one message to a scope",
        ..row(
            SettingId::MaxRecipients,
            "limits.max_recipients",
            "CLAUDE_PEERS_MAX_RECIPIENTS",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("65536"),
        help: "size of one message; never more than 1 MiB",
        ..row(
            SettingId::MaxMessageBytes,
            "limits.max_message_bytes",
            "CLAUDE_PEERS_MAX_MESSAGE_BYTES",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(MOST),
        default: Fallback::Value("500"),
        help: "length of a session's summary",
        ..row(
            SettingId::MaxSummaryChars,
            "limits.max_summary_chars",
            "CLAUDE_PEERS_MAX_SUMMARY_CHARS",
            Reader::Broker,
        )
    },
    Setting {
        kind: number(u64::MAX),
        default: Fallback::Value("604800"),
        help: "how long a message is offered: 7 days",
        ..row(
            SettingId::MessageTtlSeconds,
            "limits.message_ttl_seconds",
            "CLAUDE_PEERS_MESSAGE_TTL_SECONDS",
            Reader::Broker,
        )
    },
    Setting {
        kind: Kind::Number { from: 0, to: 36_500 },
        default: Fallback::Value("0"),
        help: "days that messages stay in the history once they are not unread; 0 keeps them for ever",
        ..row(SettingId::KeepDays, "limits.keep_days", "CLAUDE_PEERS_KEEP_DAYS", Reader::Broker)
    },
    Setting {
        kind: Kind::Switch,
        default: Fallback::Value("on"),
        help: "whether a session without a summary describes itself; needs a key",
        ..row(
            SettingId::AutoSummary,
            "auto_summary.enabled",
            "CLAUDE_PEERS_AUTO_SUMMARY",
            Reader::Session,
        )
    },
    Setting {
        other_variable: Some("OPENAI_BASE_URL"),
        kind: Kind::Url,
        default: Fallback::Value("https://api.openai.com/v1"),
        help: "where it asks for the description: https, or http on this machine; `OPENAI_BASE_URL` counts too",
        ..row(
            SettingId::SummaryBaseUrl,
            "auto_summary.base_url",
            "CLAUDE_PEERS_SUMMARY_BASE_URL",
            Reader::Session,
        )
    },
    Setting {
        default: Fallback::Value("gpt-4o-mini"),
        help: "the model that it asks",
        ..row(
            SettingId::SummaryModel,
            "auto_summary.model",
            "CLAUDE_PEERS_SUMMARY_MODEL",
            Reader::Session,
        )
    },
    Setting {
        key: None,
        kind: Kind::Choice(&["journal", "stderr", "both"]),
        default: Fallback::Words("depends on how the program was started"),
        help: "where the log goes: `journal`, `stderr` or `both`; `RUST_LOG` filters it",
        ..row(SettingId::Log, "", "CLAUDE_PEERS_LOG", Reader::Each)
    },
    Setting {
        key: None,
        default: Fallback::Words("not set"),
        is_secret: true,
        help: "the key for automatic summaries; without one there are none",
        ..row(SettingId::OpenaiApiKey, "", "OPENAI_API_KEY", Reader::Session)
    },
];

const _: () = assert!(MAX_MESSAGE_BYTES == 1024 * 1024, "the table's help says so");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::value::{Value, parse};

    #[test]
    fn every_row_stands_at_its_place_and_is_complete() {
        let (mut variables, mut names) = (HashSet::new(), HashSet::new());
        for (at, row) in SETTINGS.iter().enumerate() {
            assert_eq!(row.id as usize, at, "{:?}", row.id);
            assert!(variables.insert(row.variable) && names.insert(row.name()), "{:?}", row.id);
            assert!(row.key.is_none_or(|key| !key.is_empty()), "{:?}", row.id);
            assert!(!row.help.is_empty() && !row.help.contains('\n'), "{:?}", row.id);
            match row.default {
                Fallback::Value(text) => assert!(parse(row.kind, text.as_ref()).is_ok()),
                Fallback::Words(words) => assert!(!words.is_empty(), "{:?}", row.id),
            }
            // The code that reads a number or a switch finds one.
            let is_typed = matches!(row.kind, Kind::Number { .. } | Kind::Switch);
            assert!(!is_typed || matches!(row.default, Fallback::Value(_)), "{:?}", row.id);
        }
        assert!(matches!(
            parse(setting(SettingId::Port).kind, "7899".as_ref()),
            Ok(Value::Number(_))
        ));
    }
}
