//! Torc's own binary protocol: frames to the byte as `docs/protocol.md` defines them (clauses `[N-...]`).
//!
//! Goals: a frame is parsed without a copy and without an allocation (a plain get in a few nanoseconds: two
//! loads of the header and the bounds of the key); every length is checked before it is used; the header
//! alone is enough to begin a long value. Non-goals: sessions, deadlines, anything that needs a clock or
//! state (`torc-net` and `torc-client` have those).
//!
//! ```text
//! request  [ header 16 ][ extensions ][ key ][ value ]      frame.rs: headers and whole frames
//! answer   [ header 24 ][ extensions ][ key ][ value ]      extension.rs: options of a request, facts of an item
//!                                                           hello.rs, topology.rs, attach.rs, pair.rs, reads.rs, keys.rs: values with a layout
//! ```

pub mod accesses;
pub mod attach;
pub mod doubts;
pub mod extension;
pub mod frame;
pub mod fuzz;
pub mod hello;
pub mod keys;
pub mod op;
pub mod pair;
pub mod reads;
pub mod told;
pub mod topology;

pub use accesses::{Accessed, Accesses};
pub use attach::{Attach, Attached, Descriptor, DescriptorKind};
pub use doubts::Doubts;
pub use extension::{Change, Expiry, Initial, ItemFacts, ItemMeta, Options, Trace};
pub use frame::{Answer, AnswerHeader, FrameLimits, Request, RequestHeader};
pub use hello::{Hello, HelloAnswer};
pub use keys::Keys;
pub use op::{Op, Status, flags, marks};
pub use pair::PairEnd;
pub use reads::{ReadablePiece, ReadsAsked, ReadsGiven};
pub use told::{ReadCounts, Untold};
pub use topology::{ShardAddress, SlotRange, Topology};

/// First byte of every native frame: no ASCII, and none of 0x80, 0x81 (memcached binary) and 0x16 (TLS).
pub const MAGIC: u8 = 0xC7;

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// Why bytes are not (yet) a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// At least `missing` more bytes are needed.
    #[error("incomplete frame: at least {missing} bytes are missing")]
    Incomplete { missing: usize },
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What is wrong with bytes that can never become a frame, or with a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a frame begins with 0xC7, not with {0:#04x}")]
    Magic(u8),
    /// A request where an answer must be, or the other way round.
    #[error("the operation {0:#04x} belongs to the other direction")]
    Direction(u8),
    #[error("the length of all extensions is no multiple of 8: {0}")]
    ExtensionLength(u16),
    #[error("an extension reaches over the end of its frame's extensions")]
    ExtensionOverrun,
    #[error("the extension {0:#04x} has a wrong length")]
    ExtensionData(u8),
    #[error("the critical extension {0:#04x} is unknown")]
    ExtensionUnknown(u8),
    #[error("unknown kind of expiry: {0}")]
    ExpiryKind(u32),
    #[error("the value is longer than the limit: {value_bytes} of {limit} bytes")]
    ValueTooLong { value_bytes: u64, limit: u64 },
    #[error("the key is longer than the limit: {key_bytes} of {limit} bytes")]
    KeyTooLong { key_bytes: usize, limit: usize },
    #[error("more keys than the limit: {limit}")]
    TooManyKeys { limit: usize },
    #[error("a value with a layout ends too early")]
    Layout,
}
