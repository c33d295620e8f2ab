//! Operations without their values, and with them again.

use torc_engine::command::{Bits, Body, Command, Expiry, IfEqual, Op, Unpack, Write, WriteMode};

/// Options of a write that come behind its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Options {
    pub(crate) mode: WriteMode,
    pub(crate) expiry: Expiry,
    pub(crate) want_old: bool,
}

impl Options {
    pub(crate) fn apply(self, op: Op<'static>) -> Op<'static> {
        match op {
            Op::Write(write) => {
                Op::Write(Write { mode: self.mode, expiry: self.expiry, want_old: self.want_old, ..write })
            }
            other => other,
        }
    }
}

/// The value in an operation.
pub(crate) fn op_value<'a>(op: &Op<'a>) -> &'a [u8] {
    match op {
        Op::Write(Write { value: Body::Bytes(bytes), .. })
        | Op::SetRange { value: Body::Bytes(bytes), .. }
        | Op::Bits(Bits::Fields { steps: bytes, .. })
        | Op::IfEqual(IfEqual { bytes, .. })
        | Op::Unpack(Unpack { packed: bytes, .. }) => bytes,
        _ => b"",
    }
}

/// The operation without its value.
pub(crate) fn strip_op(op: Op<'_>) -> Op<'static> {
    match op {
        Op::Read(read) => Op::Read(read),
        Op::Write(write) => Op::Write(write.with_value(strip_body(write.value))),
        Op::Delete(delete) => Op::Delete(delete),
        Op::Arithmetic(arithmetic) => Op::Arithmetic(arithmetic),
        Op::Expire(expire) => Op::Expire(expire),
        Op::SetRange { offset, value } => Op::SetRange { offset, value: strip_body(value) },
        Op::Bits(Bits::Fields { writes, .. }) => Op::Bits(Bits::Fields { steps: &[], writes }),
        Op::Bits(Bits::Count { range }) => Op::Bits(Bits::Count { range }),
        Op::Bits(Bits::Find { bit, start, end, by_bits }) => {
            Op::Bits(Bits::Find { bit, start, end, by_bits })
        }
        Op::IfEqual(IfEqual { expected_len, then, .. }) => {
            Op::IfEqual(IfEqual { bytes: &[], expected_len, then })
        }
        Op::Unpack(Unpack { len, mode, expiry, .. }) => Op::Unpack(Unpack { packed: &[], len, mode, expiry }),
    }
}

fn strip_body(body: Body<'_>) -> Body<'static> {
    match body {
        Body::Bytes(_) => Body::Bytes(&[]),
        Body::Upload(upload) => Body::Upload(upload),
    }
}

/// The command of a key, an operation and its value.
#[inline]
pub(crate) fn fill_command<'a>(
    database: u16,
    key: &'a [u8],
    op: &Op<'static>,
    value: &'a [u8],
) -> Command<'a> {
    let op = match *op {
        Op::Write(write @ Write { value: Body::Bytes(_), .. }) => {
            Op::Write(Write { value: Body::Bytes(value), ..write })
        }
        Op::SetRange { offset, value: Body::Bytes(_) } => Op::SetRange { offset, value: Body::Bytes(value) },
        Op::Bits(Bits::Fields { writes, .. }) => Op::Bits(Bits::Fields { steps: value, writes }),
        Op::IfEqual(ask) => Op::IfEqual(IfEqual { bytes: value, ..ask }),
        Op::Unpack(ask) => Op::Unpack(Unpack { packed: value, ..ask }),
        other => other,
    };
    Command { database, key, op }
}
