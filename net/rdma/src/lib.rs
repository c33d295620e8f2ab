//! A connection over RDMA: the stream of bytes of a native connection, by messages of a queue pair.
//!
//! ```text
//!   pair     both sides tell each other of their queue pairs, over TCP (`torc_proto::native::pair`)
//!   message  SEND: up to so many bytes of the stream, or a word about it; its immediate says which, and gives back (note.rs)
//!   landed   long parts of answers: WRITE from where the server has them, into the client's landing
//!   lent     long parts of requests: the server READs them in the client's lending, to where they stay
//! ```
//!
//! Whoever sends has a credit for each message, so none comes without a receive; who is given room gives it back when it has used
//! what lay there. [`server`] is one connection of a server, whose shards have receives and completions in common;
//! [`client`] is a client's end, all of it; [`connect`] makes one, waiting for it. [`Local`] is the device of this machine that either
//! goes over, and [`Cause`] why a connection does not.
//!
//! Nothing that the other side tells is believed: what cannot be ends the connection ([`Broken`]).

mod cause;
pub mod client;
pub mod connect;
mod link;
mod local;
mod note;
#[cfg(feature = "reads")]
pub mod reads;
mod sends;
pub mod server;
mod setup;
#[cfg(test)]
mod tests;
mod window;

pub use cause::Cause;
pub use link::{SPARE_RECEIVES, Slots};
pub use local::{Local, Unavailable};
pub use setup::{Place, Refused};
pub use torc_verbs as verbs;

use torc_verbs::completion::Failure;
use torc_verbs::error::VerbsError;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Failed(#[from] Failure),
    #[error("{0}")]
    Verbs(#[from] VerbsError),
    #[error("the other side sent a message that is none")]
    Message,
    #[error("the other side gave more credits than it has")]
    Credits,
    #[error("the other side gave room back that was not used")]
    Room,
    #[error("the other side sent more than it had credits for")]
    Flooded,
    #[error("a message of the other side was lost")]
    Lost,
    #[error("the device completed what was not posted")]
    Completion,
    #[error("the other side has gone silent")]
    Silent,
    #[error("the device is gone, or its port")]
    Gone,
}
