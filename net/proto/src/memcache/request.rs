//! Command lines: one in, one [`Request`] out.

mod command;
mod line;
mod usual;

pub use line::parse;

use super::bounds::KEY_BYTES_MAX;
use super::meta::Meta;
use super::steering::{Dump, Watched};

/// One command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub request: Request<'a>,
    /// Bytes of the line with its end; the value of a storage command comes behind them.
    pub consumed: usize,
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    Get(Get<'a>),
    Store(Store<'a>),
    Delete {
        key: &'a [u8],
        noreply: bool,
    },
    Touch {
        key: &'a [u8],
        exptime: i64,
        noreply: bool,
    },
    /// `incr` and `decr`.
    Count {
        key: &'a [u8],
        delta: u64,
        down: bool,
        noreply: bool,
    },
    Meta(Meta<'a>),
    /// `mn`
    MetaNoop,
    Flush {
        delay: i64,
        noreply: bool,
    },
    Version,
    /// A command that is well-formed, and has nothing to change: `verbosity`, `lru`, most of `lru_crawler`.
    Accepted {
        noreply: bool,
    },
    /// `cache_memlimit`
    MemoryLimit {
        megabytes: u32,
        noreply: bool,
    },
    /// All keys, or none: the classes that were asked for have no items.
    Dump {
        dump: Dump,
        has_any: bool,
    },
    Watch {
        watched: Watched,
    },
    /// `is_known`: in a way that there is.
    Shutdown {
        is_known: bool,
    },
    Stats {
        what: Option<&'a [u8]>,
    },
    Quit,
}

/// `get`, `gets`, `gat`, `gats`: one or more keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get<'a> {
    /// The first key.
    pub key: &'a [u8],
    /// All keys, checked, with their spaces: up to the end of the line if there are several.
    pub keys: &'a [u8],
    /// Answer with tokens (`gets`, `gats`).
    pub cas: bool,
    /// New expiry (`gat`, `gats`).
    pub exptime: Option<i64>,
}

impl<'a> Get<'a> {
    /// Whether there is but one key.
    #[inline]
    pub fn is_single(&self) -> bool {
        self.keys.len() == self.key.len()
    }
}

/// `set`, `add`, `replace`, `append`, `prepend`, `cas`, without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store<'a> {
    pub verb: StoreVerb,
    pub key: &'a [u8],
    pub flags: u32,
    pub exptime: i64,
    /// Length of the value that follows, its line end not counted.
    pub bytes: u64,
    /// The token that the item must have (`cas`), else 0.
    pub cas: u64,
    pub noreply: bool,
}

/// Which storage command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVerb {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
}

/// What a command line may be.
#[derive(Debug, Clone, Copy)]
pub struct LineLimits {
    /// Longest retrieval, bytes with its line end; other commands end at the smaller of this and
    /// [`LINE_BYTES_MAX`](super::LINE_BYTES_MAX).
    pub line_bytes_max: usize,
    /// Longest key, at most [`KEY_BYTES_MAX`].
    pub key_bytes_max: usize,
    /// Most keys of one retrieval.
    pub keys_max: usize,
}

impl LineLimits {
    /// Limits of a server, brought within those of the protocol.
    pub fn new(line_bytes_max: usize, key_bytes_max: usize, keys_max: usize) -> LineLimits {
        LineLimits { line_bytes_max, key_bytes_max: key_bytes_max.min(KEY_BYTES_MAX), keys_max }
    }
}
