//! What can go wrong in a benchmark, in words that name the setting or the cause.

use std::io;

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A flag's value that cannot be used, or flags that exclude each other.
    #[error("--{setting}: {reason}")]
    Setting { setting: &'static str, reason: String },
    /// An operating-system call that failed.
    #[error("{action}: {source}")]
    Io { action: String, source: io::Error },
    /// Bytes that are no reply of the protocol in use, or more replies than requests.
    #[error("connection {connection}: the server's answer is no {protocol}: {detail}")]
    Protocol { connection: usize, protocol: &'static str, detail: String },
    /// The server closed a connection under load.
    #[error("connection {connection}: closed by the server; is its connection limit above {connections}?")]
    Closed { connection: usize, connections: usize },
    /// Requests are outstanding and nothing came back for a long time.
    #[error("no reply for {seconds} s with {outstanding} requests outstanding")]
    Stalled { seconds: u64, outstanding: u64 },
    /// The load was not what was asked for, so its figures would mislead.
    #[error("{0}")]
    Invalid(String),
}

impl BenchError {
    pub(crate) fn setting(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { setting, reason: reason.into() }
    }

    /// For `map_err`: attaches what was being done.
    pub(crate) fn io<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source: source.into() }
    }
}
