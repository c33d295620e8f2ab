//! Rings in memory that a server and a client on its host share: a connection's bytes without a system call.
//!
//! ```text
//!   client                                                    server
//!   requests --copy--> [ client's file: words, ring ] --copy--> session ... as over any socket
//!   answers <--copy--- [ server's file: words, ring ] <--copy--
//!           <--------- Unix socket: bells, the end --------->
//! ```
//!
//! The bytes are those of the native protocol, and what they mean is no matter of this crate. The socket stays: a byte on it is the
//! bell that wakes who sleeps ([`sleep`]), and its end is that of the other side.
//!
//! Neither side trusts the other. Each writes only to its own file; the client has the server's read-only, by seals; what the other
//! tells is checked, and what it says is copied before it is looked at ([`end`]).
//!
//! | module | holds |
//! |---|---|
//! | [`end`] | one side: positions, copying |
//! | [`sleep`] | who sleeps, who is woken: the protocol step by step |
//! | `words`, `map`, `copy` | the layout, files and their seals, reads of memory that changes |
//! | [`pair`] | a pair of rings, made by the server |
//! | `pass` | descriptors over a socket |
//! | [`mod@connect`], `find` | how a client gets one, and where |
//! | `reads` | the server's shards, read by a client itself (feature `reads`) |
//! | `steps` | where tests let the other side act (feature `steps`) |

pub mod connect;
mod copy;
pub mod end;
mod find;
mod map;
pub mod pair;
mod pass;
#[cfg(feature = "reads")]
pub mod reads;
pub mod sleep;
#[cfg(test)]
mod sleep_tests;
#[cfg(feature = "steps")]
pub mod steps;
mod sync;
mod words;

pub use connect::{ConnectError, Connected, connect, connect_as, connect_to_read};
pub use end::{Broken, End, RING_BYTES_MAX, RING_BYTES_MIN};
pub use find::find;
pub use pair::Pair;
pub use pass::send_with_descriptors;
pub use sleep::full_fence;
pub use words::WORDS_BYTES;
