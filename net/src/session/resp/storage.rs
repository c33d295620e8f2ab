//! A command that stores one value, as it stands before the value is there.

use super::error::Error;
use super::reply_kind::Kind;
use crate::session::parsing::Limits;
use torc_engine::command::{Body, Command, Expiry, Op, Write, WriteMode};
use torc_proto::resp::BULK_BYTES_MAX;

/// What a command that stores one value says before the value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage<'a> {
    pub key: &'a [u8],
    pub mode: WriteMode,
    pub want_old: bool,
    pub vivify: Option<Expiry>,
    /// The value overwrites bytes of the old one, from this offset on.
    pub offset: Option<u64>,
    /// Milliseconds to live, counted from when the command is whole.
    pub to_live_ms: Option<i64>,
    /// Options may follow behind the value.
    pub options: bool,
    pub kind: Kind,
}

impl<'a> Storage<'a> {
    /// An unconditional write that never expires.
    pub(super) fn new(key: &'a [u8], kind: Kind) -> Storage<'a> {
        Storage {
            key,
            mode: WriteMode::Set,
            want_old: false,
            vivify: None,
            offset: None,
            to_live_ms: None,
            options: false,
            kind,
        }
    }

    /// Whether a value of `len` bytes at the offset keeps the whole value within the limits.
    pub(super) fn fits(&self, len: u64, limits: &Limits) -> Result<(), Error> {
        let Some(offset) = self.offset else { return Ok(()) };
        match offset.saturating_add(len) {
            end if end > BULK_BYTES_MAX => Err(Error::StringTooLong),
            end if end > limits.value_bytes_max => Err(Error::ValueTooLong),
            _ => Ok(()),
        }
    }

    /// The command, for a value that is `value`.
    pub(super) fn command(&self, value: &'a [u8], expiry: Expiry) -> Command<'a> {
        let value = Body::Bytes(value);
        let op = match self.offset {
            Some(offset) => Op::SetRange { offset, value },
            None => Op::Write(Write {
                mode: self.mode,
                value,
                expiry,
                vivify: self.vivify,
                want_old: self.want_old,
                ..Write::set(&[])
            }),
        };
        Command { database: 0, key: self.key, op }
    }
}
