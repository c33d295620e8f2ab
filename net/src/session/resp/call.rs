//! One request under work, and the parts that it becomes.

use super::error::Error;
use super::reply_kind::{Kind, ReplyKind as RespReplyKind};
use super::row::Row;
use crate::session::parsing::Limits;
use crate::session::part::{Once, Part, ReplyKind, Work};
use crate::session::scratch::Scratch;
use torc_engine::command::{Command, Millis, Op};
use torc_proto::resp::request::inline_word;
use torc_proto::resp::{Span, parse_i64};
use torc_proto::slot::slot_of;

/// A request whose command is known and whose number of arguments is right.
pub(super) struct Call<'r, 'a> {
    pub row: &'static Row,
    /// The request, or its start as far as it is here.
    pub frame: &'a [u8],
    pub spans: &'r [Span],
    /// Whether the request is a line with escapes.
    pub is_escaped: bool,
    /// Where arguments are decoded, and what is made of them is kept.
    pub scratch: &'a Scratch,
    pub now: Millis,
    pub limits: &'r Limits,
}

impl<'r, 'a> Call<'r, 'a> {
    /// Number of arguments, the name among them.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// An argument; 0 is the name. Empty beyond the last.
    #[inline]
    pub(super) fn argument(&self, index: usize) -> &'a [u8] {
        let argument = self.spans.get(index).map(|span| span.of(self.frame)).unwrap_or_default();
        if self.is_escaped { self.scratch.keep(&inline_word(argument)) } else { argument }
    }

    /// The arguments from `index` on.
    pub(super) fn arguments_from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        (index..self.len()).map(|index| self.argument(index))
    }

    /// An argument that is a key.
    pub(super) fn key(&self, index: usize) -> Result<&'a [u8], Error> {
        let key = self.argument(index);
        if key.len() > self.limits.key_bytes_max { Err(Error::KeyTooLong) } else { Ok(key) }
    }

    /// The numbers of the arguments that are keys.
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = usize> {
        self.row.keys_of(self.len(), self.argument(1))
    }

    pub(super) fn integer(&self, index: usize) -> Result<i64, Error> {
        parse_i64(self.argument(index)).ok_or(Error::NotAnInteger)
    }

    /// Whether all keys are of one slot, so that one node can do all of the command.
    pub(super) fn has_one_slot(&self) -> bool {
        let mut slots = self.keys().map(|index| slot_of(self.argument(index)));
        slots.next().is_none_or(|first| slots.all(|slot| slot == first))
    }
}

/// A part for the shard that owns the key.
#[inline]
pub(super) fn keyed<'a>(key: &'a [u8], op: Op<'a>, kind: Kind) -> Part<'a> {
    part(Work::Keyed(Command { database: 0, key, op }), kind, &[])
}

/// A part of the command in this row of the table.
#[inline]
pub(super) fn named<'a>(mut part: Part<'a>, command: u8) -> Part<'a> {
    if let ReplyKind::Resp(reply) = &mut part.reply {
        reply.command = command;
    }
    part
}

/// A part that is answered here.
pub(super) fn local<'a>(kind: Kind, echo: &'a [u8]) -> Part<'a> {
    part(Work::Local, kind, echo)
}

#[inline]
pub(super) fn part<'a>(work: Work<'a>, kind: Kind, echo: &'a [u8]) -> Part<'a> {
    const ONCE: Option<Once> = None;
    Part { work, reply: ReplyKind::Resp(RespReplyKind::new(kind)), echo, once: ONCE }
}
