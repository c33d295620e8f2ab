//! What a shard is asked and what it answers, in no protocol's words.
//!
//! Every protocol's keyed command becomes one [`Command`]; every answer is one [`Outcome`]. A multi-key
//! command of a protocol is several `Command`s. Values in an `Outcome` borrow the shard's memory: they are
//! copied or lent (see [`crate::segments::Lent`]) before the shard is asked again.
//!
//! Semantics that the protocols share:
//!
//! - Times are milliseconds of the Unix epoch ([`Millis`]), an argument of every call, never read here.
//! - The *token* is what clients see as CAS: the item's version, unless a client set one explicitly.
//! - A *lease placeholder* is a miss to a reader that does not know leases ([`Read::leases`] unset). A *stale* value is
//!   a value to everybody.

use crate::bytes::Bytes;
use crate::extended::Extended;
pub use crate::meta::{Lease, Meta, Millis, UploadId};
use crate::segments::Chain;

/// One keyed command. `key` is at most [`crate::item::KEY_BYTES_MAX`] bytes long; sessions check the
/// configured limit before.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// Whose key it is: the same bytes in two databases are two keys. Below [`DATABASES_MAX`](crate::spaces::DATABASES_MAX).
    pub database: u16,
    pub key: &'a [u8],
    pub op: Op<'a>,
}

/// What to do with the key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op<'a> {
    Read(Read),
    Write(Write<'a>),
    Delete(Delete),
    Arithmetic(Arithmetic),
    /// Change the expiry of an existing item (touch, EXPIRE family, PERSIST).
    Expire(Expire),
    /// Overwrite part of a value, zero-filled up to `offset` (SETRANGE).
    SetRange {
        offset: u64,
        value: Body<'a>,
    },
    /// Look at bits of a value, or change some.
    Bits(Bits<'a>),
    /// Remove or replace a value if it is a certain one (DELIFEQ, SET IFEQ).
    IfEqual(IfEqual<'a>),
    /// Store a value that comes packed (RESTORE).
    Unpack(Unpack<'a>),
}

/// A value packed with LZF, and how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpack<'a> {
    pub packed: &'a [u8],
    /// Bytes that it comes to.
    pub len: u32,
    /// [`WriteMode::Set`] or [`WriteMode::Add`].
    pub mode: WriteMode,
    pub expiry: Expiry,
}

/// What to do with the bits of a value, which are counted from the highest bit of its first byte. A range counts bytes
/// or bits, from the value's end if a number is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits<'a> {
    /// How many bits are set (BITCOUNT), in `range` or all of it.
    Count { range: Option<BitRange> },
    /// The first bit that is so (BITPOS). Behind a value without an `end` there are zeros.
    Find { bit: bool, start: i64, end: Option<i64>, by_bits: bool },
    /// Integers in a value (GETBIT, SETBIT, BITFIELD): [`Step`](crate::bits::Step)s, packed. `writes`: some of them may write; a value that
    /// is as it should be is left alone.
    Fields { steps: &'a [u8], writes: bool },
}

/// First and last of some bytes or bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitRange {
    pub start: i64,
    pub end: i64,
    /// They count bits.
    pub by_bits: bool,
}

/// A change of a value that must be a certain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfEqual<'a> {
    /// The value that must be there, then the new one.
    pub bytes: &'a [u8],
    pub expected_len: u32,
    pub then: Then,
}

/// What is done with a value that is the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Delete,
    Write {
        expiry: Expiry,
        /// Answer with the value that was there, be it the expected one or not.
        want_old: bool,
    },
}

/// When an item ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// As it is: an existing item keeps its own, a new one never expires.
    #[default]
    Keep,
    Never,
    /// The first millisecond at which it is gone. A time in the past makes it gone at once.
    At(Millis),
}

/// Look an item up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Read {
    /// New expiry given with the read (gat, meta `T`, GETEX).
    pub expiry: Expiry,
    /// On a miss, leave an empty placeholder with this expiry and give the reader the lease (meta `N`).
    pub vivify: Option<Expiry>,
    /// With `vivify`: explicit token of the placeholder (meta `E`).
    pub token: Option<u64>,
    /// Give the lease to the first reader that finds less than this to live (meta `R`).
    pub recache_below_ms: Option<u64>,
    /// What `recache_below_ms` is compared with is the expiry given with the read (meta `T` before `R`).
    pub recache_by_new: bool,
    /// The answer tells the expiry that the item had before the read (meta `t` before `T`).
    pub show_old_expiry: bool,
    /// The reader knows leases: it sees placeholders, and wins the lease of a stale item.
    pub leases: bool,
    /// The reader sees placeholders, but takes no lease and is told of none (meta `me`).
    pub inspect: bool,
    /// No access: neither the frequency nor the fetched mark changes (EXISTS, TTL, TYPE, meta without bump).
    pub peek: bool,
    /// What it finds decides on a change (RENAME, MSETNX, a script): like a change it waits until all is known of its key.
    pub decides: bool,
    /// It counts as neither a hit nor a miss: a command that is no read looks by it, or one that tells about items.
    pub uncounted: bool,
}

impl Read {
    /// How GET looks: as [`Read::default`], for constants.
    pub const PLAIN: Read = Read {
        expiry: Expiry::Keep,
        vivify: None,
        token: None,
        recache_below_ms: None,
        recache_by_new: false,
        show_old_expiry: false,
        leases: false,
        inspect: false,
        peek: false,
        decides: false,
        uncounted: false,
    };

    /// A look that is no access, and is not counted.
    pub const LOOK: Read = Read { peek: true, uncounted: true, ..Read::PLAIN };

    /// Whether it changes nothing but the accesses that are counted, unless the reader knows leases and the item is stale or stands
    /// for one being fetched: then the owner may give the lease.
    #[inline]
    pub fn is_plain(&self) -> bool {
        !self.changes() && self.recache_below_ms.is_none() && !self.inspect
    }

    /// Whether it may miss while nobody knows what a tier has of its key.
    #[inline]
    pub fn may_miss(&self) -> bool {
        self.is_plain() && !self.decides
    }

    /// Whether it may give the item another version.
    #[inline]
    pub fn changes(&self) -> bool {
        self.vivify.is_some() || self.expiry != Expiry::Keep
    }
}

impl Op<'_> {
    /// Whether it may give the item another version, or take it away.
    #[inline]
    pub fn changes(&self) -> bool {
        match self {
            Op::Read(read) => read.changes(),
            Op::Bits(Bits::Fields { writes, .. }) => *writes,
            Op::Bits(_) => false,
            _ => true,
        }
    }
}

/// Which presence a write asks for and how it joins the old value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteMode {
    #[default]
    Set,
    /// Only if there is no item.
    Add,
    /// Only if there is an item.
    Replace,
    /// Behind the existing value; flags and expiry stay the item's own.
    Append,
    /// Before the existing value; flags and expiry stay the item's own.
    Prepend,
}

/// Where the bytes of a new value are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body<'a> {
    Bytes(&'a [u8]),
    /// Already in the shard, received in slices: see [`crate::Shard::upload_begin`].
    Upload(UploadId),
}

/// Store a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Write<'a> {
    pub mode: WriteMode,
    pub value: Body<'a>,
    /// The client's own 32 bits, given back with the value.
    pub flags: u32,
    pub expiry: Expiry,
    /// Only if the item's token is this one (cas, meta `C`); a miss answers [`Outcome::Miss`].
    pub compare: Option<u64>,
    /// Explicit token of the new item (meta `E`).
    pub token: Option<u64>,
    /// With append and prepend: on a miss, create the item with this expiry (meta `N`, APPEND).
    pub vivify: Option<Expiry>,
    /// With `compare`: a token smaller than the item's stores all the same and marks the item stale (meta `I`);
    /// expiry and lease stay those of the item before. It means nothing to append and prepend.
    pub invalidate: bool,
    /// Answer with the item that was there before (GETSET, SET GET).
    pub want_old: bool,
    /// The writer knows leases: a placeholder is an item to it, as it is to whoever names its token.
    pub leases: bool,
}

impl<'a> Write<'a> {
    /// An unconditional write without flags that never expires.
    pub fn set(value: &'a [u8]) -> Self {
        Write {
            mode: WriteMode::Set,
            value: Body::Bytes(value),
            flags: 0,
            expiry: Expiry::Never,
            compare: None,
            token: None,
            vivify: None,
            invalidate: false,
            want_old: false,
            leases: false,
        }
    }

    /// The same write of another value.
    pub fn with_value<'b>(self, value: Body<'b>) -> Write<'b> {
        let Write { mode, value: _, flags, expiry, compare, token, vivify, invalidate, want_old, leases } =
            self;
        Write { mode, value, flags, expiry, compare, token, vivify, invalidate, want_old, leases }
    }
}

/// Remove an item, or its value alone, or mark it stale. A placeholder goes in any case, and its lease with it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Delete {
    /// Only if the item's token is this one.
    pub compare: Option<u64>,
    /// Explicit token of the item that stays (meta `E` with `I` or `x`).
    pub token: Option<u64>,
    /// Keep the item and mark it stale, with this expiry (meta `I` and `T`).
    pub stale: Option<Expiry>,
    /// Keep the item, without its value and flags (meta `x`).
    pub value_only: bool,
    /// Answer with the removed item (GETDEL).
    pub want_old: bool,
    /// As [`Write::leases`]. To whoever does not know leases, the removal of a placeholder is a miss.
    pub leases: bool,
}

/// Count up or down on a value that is a decimal number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arithmetic {
    pub delta: Delta,
    /// On a miss, create the item with this number and expiry (meta `N` and `J`; Redis: zero).
    pub initial: Option<(Number, Expiry)>,
    pub expiry: Expiry,
    pub compare: Option<u64>,
    pub token: Option<u64>,
    /// As [`Write::leases`].
    pub leases: bool,
}

/// Step and arithmetic of a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delta {
    /// memcached: unsigned 64 bits, wraps.
    Increment(u64),
    /// memcached: unsigned 64 bits, stops at 0.
    Decrement(u64),
    /// Redis: signed 64 bits, an overflow is refused.
    Signed(i64),
    /// Native: 64 bits; a result that is not finite is refused.
    Float(f64),
    /// Redis INCRBYFLOAT: 80 bits; a result that is not finite is refused.
    Extended(Extended),
}

/// A counter's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Extended(Extended),
}

/// Change the expiry of an existing item, which counts as an access.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expire {
    pub expiry: Expiry,
    pub condition: ExpireCondition,
    /// As [`Write::leases`].
    pub leases: bool,
}

/// The options of Redis' EXPIRE. An item without expiry counts as infinitely far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpireCondition {
    #[default]
    Always,
    /// Only if the item has no expiry.
    Unset,
    /// Only if the item has an expiry (PERSIST, XX).
    Set,
    /// Only if the new one is later.
    Later,
    /// Only if the new one is earlier.
    Earlier,
    /// XX and GT together.
    SetAndLater,
    /// XX and LT together.
    SetAndEarlier,
}

/// An item that is there.
#[derive(Debug, Clone, Copy)]
pub struct Found<'s> {
    pub meta: Meta,
    pub value: Value<'s>,
}

/// A value in the shard's memory.
#[derive(Debug, Clone, Copy)]
pub enum Value<'s> {
    Inline(Bytes<'s>),
    /// Longer than an item may be: a chain of chunks.
    Chained(Chain<'s>),
}

impl Value<'_> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Value::Inline(bytes) => bytes.len() as u64,
            Value::Chained(chain) => chain.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The answer to a [`Command`].
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'s> {
    /// There is no such item.
    Miss,
    /// `Read`: the item. A won lease of a vivified placeholder is here too, with an empty value.
    Item(Found<'s>),
    /// `Write`, `SetRange`: done; `meta` is the new item's, `old` only if it was asked for and there was one.
    Stored {
        meta: Meta,
        old: Option<Found<'s>>,
    },
    /// `Write`: the item is there (Add) or is not (Replace, Append, Prepend). `IfEqual`: it has another value.
    NotStored {
        old: Option<Found<'s>>,
    },
    /// `compare` named another token.
    Exists,
    /// `Delete`: done (removed, marked stale or emptied) under this version.
    Deleted {
        old: Option<Found<'s>>,
        version: u64,
    },
    /// `Expire`: done.
    Touched {
        meta: Meta,
    },
    /// `Expire`: the condition does not hold.
    Untouched,
    /// `Arithmetic`: the new number.
    Counter {
        number: Number,
        meta: Meta,
    },
    /// `Bits`: how many, or which is the first; -1 for none.
    Number(i64),
    /// `Bits`: what came of each step, as [`bits::results`](crate::bits::results) reads it.
    Fields(Bytes<'s>),
    Refused(Refusal),
    /// The item is not in DRAM: nothing is done. Its bytes are to be fetched and given to [`crate::Shard::promote`] with
    /// this ticket; then the command is executed again, from its lookup.
    Pending(Ticket),
}

/// The place where an item lies that is not in DRAM, as its medium understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Nobody knows yet whether there is an item: see [`crate::Shard::begin_recovery`]. No item lies there.
    pub const UNKNOWN: Ticket = Ticket(u64::MAX);
}

/// Why a shard refuses a command. No refusal changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than `--max-value`.
    #[error("value longer than --max-value")]
    ValueTooLarge,
    #[error("key longer than --max-key")]
    KeyTooLarge,
    /// Nothing could be evicted: all memory is pinned, under way, or smaller than the item.
    #[error("out of memory: nothing can be evicted")]
    OutOfMemory,
    /// A counter command on a value that is no number.
    #[error("value is not a number")]
    NotANumber,
    /// A counter would leave its range.
    #[error("number out of range")]
    Overflow,
    /// What was packed is no value of the length that it should have.
    #[error("bad packed value")]
    BadPacked,
    /// Bits are looked at in more bytes than one command may, or changed too far apart.
    #[error("range too long")]
    RangeTooLong,
}
