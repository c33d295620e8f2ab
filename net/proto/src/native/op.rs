//! Operations, statuses, and the bits of flags and marks.

/// The operation of frames that answer no request; no request has it ([N-PUSH-1]).
pub const PUSH: u8 = 0x7F;

/// What a request asks for ([N-HDR-3]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    Hello = 0x01,
    Ping = 0x02,
    Noop = 0x03,
    Topology = 0x04,
    Statistics = 0x05,
    Flush = 0x06,
    Attach = 0x07,
    Accesses = 0x08,
    Doubts = 0x09,
    Pair = 0x0A,
    Reads = 0x0B,
    Get = 0x10,
    MultiGet = 0x11,
    Set = 0x20,
    Add = 0x21,
    Replace = 0x22,
    Append = 0x23,
    Prepend = 0x24,
    Delete = 0x30,
    Expire = 0x38,
    Increment = 0x40,
    Decrement = 0x41,
    AddSigned = 0x42,
    AddFloat = 0x43,
}

impl Op {
    /// Every operation, in the order of the codes.
    pub const ALL: [Op; 24] = [
        Op::Hello,
        Op::Ping,
        Op::Noop,
        Op::Topology,
        Op::Statistics,
        Op::Flush,
        Op::Attach,
        Op::Accesses,
        Op::Doubts,
        Op::Pair,
        Op::Reads,
        Op::Get,
        Op::MultiGet,
        Op::Set,
        Op::Add,
        Op::Replace,
        Op::Append,
        Op::Prepend,
        Op::Delete,
        Op::Expire,
        Op::Increment,
        Op::Decrement,
        Op::AddSigned,
        Op::AddFloat,
    ];

    /// Its name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Op::Hello => "hello",
            Op::Ping => "ping",
            Op::Noop => "noop",
            Op::Topology => "topology",
            Op::Statistics => "statistics",
            Op::Flush => "flush",
            Op::Attach => "attach",
            Op::Accesses => "accesses",
            Op::Doubts => "doubts",
            Op::Pair => "pair",
            Op::Reads => "reads",
            Op::Get => "get",
            Op::MultiGet => "multi-get",
            Op::Set => "set",
            Op::Add => "add",
            Op::Replace => "replace",
            Op::Append => "append",
            Op::Prepend => "prepend",
            Op::Delete => "delete",
            Op::Expire => "expire",
            Op::Increment => "increment",
            Op::Decrement => "decrement",
            Op::AddSigned => "add-signed",
            Op::AddFloat => "add-float",
        }
    }

    /// The operation with this code.
    pub fn from_wire(code: u8) -> Option<Op> {
        Some(match code {
            0x01 => Op::Hello,
            0x02 => Op::Ping,
            0x03 => Op::Noop,
            0x04 => Op::Topology,
            0x05 => Op::Statistics,
            0x06 => Op::Flush,
            0x07 => Op::Attach,
            0x08 => Op::Accesses,
            0x09 => Op::Doubts,
            0x0A => Op::Pair,
            0x0B => Op::Reads,
            0x10 => Op::Get,
            0x11 => Op::MultiGet,
            0x20 => Op::Set,
            0x21 => Op::Add,
            0x22 => Op::Replace,
            0x23 => Op::Append,
            0x24 => Op::Prepend,
            0x30 => Op::Delete,
            0x38 => Op::Expire,
            0x40 => Op::Increment,
            0x41 => Op::Decrement,
            0x42 => Op::AddSigned,
            0x43 => Op::AddFloat,
            _ => return None,
        })
    }

    /// The bits that a request of this operation may set ([N-HDR-4]).
    pub fn flags_known(self) -> u16 {
        flags::COMMON
            | match self {
                Op::Get | Op::MultiGet => flags::NO_VALUE | flags::PEEK | flags::LEASES,
                Op::Set | Op::Add | Op::Replace | Op::Append | Op::Prepend => {
                    flags::INVALIDATE | flags::WANT_OLD
                }
                Op::Delete => flags::STALE | flags::WANT_OLD | flags::VALUE_ONLY,
                Op::Expire => flags::CONDITION,
                _ => 0,
            }
            | if self.is_change() || self == Op::Flush { flags::DURABILITY } else { 0 }
    }

    /// Whether the operation stores its value under its key.
    pub fn is_write(self) -> bool {
        matches!(self, Op::Set | Op::Add | Op::Replace | Op::Append | Op::Prepend)
    }

    /// Whether the operation is about one key, which its frame names.
    pub fn is_keyed(self) -> bool {
        self as u8 >= Op::Get as u8 && self != Op::MultiGet
    }

    /// Whether it tells of reads that a client has done itself ([N-SHM-15]).
    pub fn tells_reads(self) -> bool {
        matches!(self, Op::Accesses | Op::Doubts)
    }

    /// Whether a client numbers it in a session ([N-ONCE-1]).
    pub fn is_change(self) -> bool {
        self as u8 >= Op::Set as u8
    }
}

/// Flags of a request.
pub mod flags {
    /// No answer if the status is `ok`.
    pub const QUIET_OK: u16 = 1 << 0;
    /// No answer if the status is `miss`.
    pub const QUIET_MISS: u16 = 1 << 1;
    /// The answer repeats the key.
    pub const RETURN_KEY: u16 = 1 << 2;
    /// The answer carries the facts of the item.
    pub const WANT_META: u16 = 1 << 3;
    /// The bits that every operation knows.
    pub const COMMON: u16 = QUIET_OK | QUIET_MISS | RETURN_KEY | WANT_META;

    /// Get: no value in the answer.
    pub const NO_VALUE: u16 = 1 << 4;
    /// Get: no access.
    pub const PEEK: u16 = 1 << 5;
    /// Get: the client knows leases.
    pub const LEASES: u16 = 1 << 6;

    /// Write: a smaller token stores all the same, stale.
    pub const INVALIDATE: u16 = 1 << 4;
    /// Write, delete: answer with the item that was there.
    pub const WANT_OLD: u16 = 1 << 5;

    /// Delete: keep the item, stale.
    pub const STALE: u16 = 1 << 4;
    /// Delete: keep the item, empty.
    pub const VALUE_ONLY: u16 = 1 << 6;

    /// Change, flush: answered when it is safe ([N-DUR-2]).
    pub const DURABLE: u16 = 1 << 14;
    /// Change, flush: answered at once ([N-DUR-3]).
    pub const AT_ONCE: u16 = 1 << 15;
    /// One of the two at most.
    pub const DURABILITY: u16 = DURABLE | AT_ONCE;

    /// Expire: three bits, a number.
    pub const CONDITION: u16 = 7 << CONDITION_SHIFT;
    pub const CONDITION_SHIFT: u32 = 4;
}

/// Marks of an answer.
pub mod marks {
    pub const STALE: u8 = 1 << 0;
    /// This client holds the lease.
    pub const WON: u8 = 1 << 1;
    /// Another client holds the lease.
    pub const GIVEN: u8 = 1 << 2;
    /// The item had been read before.
    pub const FETCHED: u8 = 1 << 3;
    /// The value is the one before the change.
    pub const OLD: u8 = 1 << 4;
    /// The old value was not kept for a repeat.
    pub const OLD_LOST: u8 = 1 << 5;
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    Ok = 0x00,
    Miss = 0x01,
    NotStored = 0x02,
    Exists = 0x03,
    Untouched = 0x04,
    Malformed = 0x20,
    UnknownOperation = 0x21,
    UnknownExtension = 0x22,
    BadArgument = 0x23,
    UnsupportedVersion = 0x24,
    KeyTooLong = 0x25,
    ValueTooLong = 0x26,
    NotANumber = 0x27,
    Overflow = 0x28,
    OutOfMemory = 0x29,
    Busy = 0x2A,
    WrongOwner = 0x2B,
    DeadlineExceeded = 0x2C,
    OutcomeUnknown = 0x2D,
    NotSupported = 0x2E,
    Unauthenticated = 0x2F,
}

impl Status {
    /// Every status, in the order of the codes.
    pub const ALL: [Status; 21] = [
        Status::Ok,
        Status::Miss,
        Status::NotStored,
        Status::Exists,
        Status::Untouched,
        Status::Malformed,
        Status::UnknownOperation,
        Status::UnknownExtension,
        Status::BadArgument,
        Status::UnsupportedVersion,
        Status::KeyTooLong,
        Status::ValueTooLong,
        Status::NotANumber,
        Status::Overflow,
        Status::OutOfMemory,
        Status::Busy,
        Status::WrongOwner,
        Status::DeadlineExceeded,
        Status::OutcomeUnknown,
        Status::NotSupported,
        Status::Unauthenticated,
    ];

    /// The status with this code; an unknown one is taken as [N-ANS-3] says.
    pub fn from_wire(code: u8) -> Status {
        match code {
            0x00 => Status::Ok,
            0x01 => Status::Miss,
            0x02 => Status::NotStored,
            0x03 => Status::Exists,
            0x04 => Status::Untouched,
            0x05..=0x1F => Status::NotStored,
            0x20 => Status::Malformed,
            0x21 => Status::UnknownOperation,
            0x22 => Status::UnknownExtension,
            0x23 => Status::BadArgument,
            0x24 => Status::UnsupportedVersion,
            0x25 => Status::KeyTooLong,
            0x26 => Status::ValueTooLong,
            0x27 => Status::NotANumber,
            0x28 => Status::Overflow,
            0x29 => Status::OutOfMemory,
            0x2A => Status::Busy,
            0x2B => Status::WrongOwner,
            0x2C => Status::DeadlineExceeded,
            0x2D => Status::OutcomeUnknown,
            0x2F => Status::Unauthenticated,
            _ => Status::NotSupported,
        }
    }

    /// Whether nothing was changed because the request was refused ([N-ANS-1]).
    pub fn is_refusal(self) -> bool {
        self as u8 >= Status::Malformed as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N-HDR-3]
    #[test]
    fn every_operation_code_round_trips_and_no_other_exists() {
        let known = (0..=255).filter_map(Op::from_wire).collect::<Vec<_>>();
        assert_eq!(known, Op::ALL);
        assert!(Op::ALL.iter().all(|&op| Op::from_wire(op as u8) == Some(op)));
    }

    /// [N-ANS-3]
    #[test]
    fn unknown_statuses_keep_their_class() {
        for code in 0..=255 {
            assert_eq!(Status::from_wire(code).is_refusal(), code >= 0x20, "{code:#04x}");
        }
        assert!(Status::ALL.iter().all(|&status| Status::from_wire(status as u8) == status));
    }

    /// [N-HDR-4]
    #[test]
    fn the_bits_of_an_operation_lie_above_the_common_ones() {
        for op in Op::ALL {
            assert_eq!(op.flags_known() & flags::COMMON, flags::COMMON);
        }
        assert_eq!(flags::COMMON & (flags::CONDITION | flags::STALE | flags::NO_VALUE), 0);
    }

    /// [N-DUR-1]
    #[test]
    fn the_bits_of_durability_are_of_changes_and_flush_and_of_nothing_else() {
        for op in Op::ALL {
            let is_changing = op.is_change() || op == Op::Flush;
            let known = if is_changing { flags::DURABILITY } else { 0 };
            assert_eq!(op.flags_known() & flags::DURABILITY, known, "{op:?}");
        }
        let others =
            flags::INVALIDATE | flags::WANT_OLD | flags::STALE | flags::VALUE_ONLY | flags::CONDITION;
        assert_eq!(flags::DURABILITY & (others | flags::COMMON), 0);
    }
}
