//! The programs that write a log, and what each of them logs.

/// The program that writes the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Broker,
    Mcp,
}

impl Role {
    /// Returns the `SYSLOG_IDENTIFIER`, for `journalctl -t`.
    #[cfg(target_os = "linux")]
    pub(super) fn identifier(self) -> &'static str {
        match self {
            Self::Broker => "claude-peers",
            Self::Mcp => "claude-peers-mcp",
        }
    }

    /// Returns the filter that applies without `RUST_LOG`.
    pub(super) fn filter(self) -> &'static str {
        match self {
            Self::Broker => "info,hyper=warn",
            Self::Mcp => "info,rmcp=error,hyper=warn",
        }
    }

    /// Returns the filter for standard error, which for a session has only what its user should know.
    pub(super) fn stderr_filter(self) -> &'static str {
        match self {
            Self::Broker => self.filter(),
            Self::Mcp => "warn,rmcp=error",
        }
    }
}
