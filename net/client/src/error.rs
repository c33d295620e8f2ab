//! What can go wrong with a request.

use std::time::Duration;
use torc_proto::native::Status;

/// Why a request has no answer, or a refusing one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not reached within the request's time; `cause` is what the last try came to.
    #[error("{address} cannot be reached: {cause}")]
    Unreachable { address: String, cause: String },
    /// No answer within the request's time. With `maybe_done` it had been sent, and may still be done.
    #[error("no answer within {after:?}{}", if *.maybe_done { "; it may have been done all the same" } else { "" })]
    Timeout { after: Duration, maybe_done: bool },
    /// The server saw the deadline pass before it came to the request: it was not done.
    #[error("the deadline passed before the server came to it; nothing was done")]
    DeadlineExceeded,
    /// The connection was lost and nobody knows whether the change was done: the server was restarted in between, or the
    /// change cannot be repeated safely. Read the item and decide.
    #[error("nobody knows whether the change was done: read the item and decide")]
    OutcomeUnknown,
    /// A limit of the server is met; `limit` is the name of its setting. Try again later.
    #[error("the server is busy: {limit}")]
    Busy { limit: String },
    /// The server does not do this. Nothing was changed.
    #[error("refused ({status:?}): {message}")]
    Refused { status: Status, message: String },
    /// The item's token is another one.
    #[error("the item has another token")]
    TokenMismatch,
    /// The server's bytes are no answer of the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// [`crate::Config::requests_max`] requests are unanswered.
    #[error("{limit} requests are unanswered; raise Config::requests_max or wait for some")]
    TooManyRequests { limit: usize },
    /// A key or value that no frame can hold.
    #[error("{0}")]
    TooLong(#[from] torc_proto::native::Invalid),
    /// The client's thread could not be started.
    #[error("the client cannot start: {0}")]
    Start(String),
    /// The client was dropped before the answer came.
    #[error("the client is closed")]
    Closed,
}
