//! The programs that write a log, and what each writes.

/// The program that writes the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Broker,
    Mcp,
}

impl Role {
    /// `SYSLOG_IDENTIFIER`, for `journalctl -t`.
    #[cfg(target_os = "linux")]
    pub(super) fn identifier(self) -> &'static str {
        match self {
            Self::Broker => "claude-peers",
            Self::Mcp => "claude-peers-mcp",
        }
    }

    /// What is logged where `RUST_LOG` does not say otherwise.
    pub(super) fn filter(self) -> &'static str {
        match self {
            Self::Broker => "info,hyper=warn",
            Self::Mcp => "info,rmcp=error,hyper=warn",
        }
    }

    /// Standard error of a session is for what its user should know.
    pub(super) fn stderr_filter(self) -> &'static str {
        match self {
            Self::Broker => self.filter(),
            Self::Mcp => "warn,rmcp=error",
        }
    }
}
