//! RESP2 and RESP3: requests as Redis 7.0 reads them, replies as it writes them.
//!
//! ```text
//!   request   *2\r\n $3\r\nGET\r\n $1\r\nk\r\n      an array of bulk strings, or
//!             GET k\r\n                             an inline command: words, quoted as in a shell
//!   reply     $5\r\nvalue\r\n                       one of the types in `compose`
//! ```
//!
//! - [`request::parse`] finds the arguments of one request as [`Span`]s of the input: nothing is copied and,
//!   once `Arguments` has grown, nothing is allocated. [`request::parse_small`] is the fast path for the
//!   short arrays of GET and SET.
//! - [`compose`] appends replies to a `Vec<u8>`.
//! - [`reply::parse`] is the client's side.
//! - [`glob`] is the pattern language of SCAN.
//!
//! Non-goals: what a command means; streamed (chunked) RESP3 types, which no server sends.
//!
//! Source: the RESP specification (redis.io, "Redis serialization protocol specification"), and the answers of
//! redis-server 7.0 where that says nothing.

pub mod compose;
pub mod dump;
pub mod fuzz;
pub mod glob;
mod inline;
mod number;
pub mod reply;
pub mod request;

pub use number::parse_i64;
pub use request::{Arguments, ProtocolError, Span, Step};

/// Longest value that RESP knows here, bytes: Redis' default `proto-max-bulk-len`.
pub const BULK_BYTES_MAX: u64 = 512 << 20;

/// Longest inline request, and longest line with a length in it, bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;
