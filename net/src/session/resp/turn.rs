//! What one call of `parse` works with.

use super::call::{self, Call};
use super::error::Error;
use super::reply_kind::Kind;
use super::row::Row;
use crate::session::parsing::Limits;
use crate::session::part::Part;
use crate::session::scratch::Scratch;
use torc_engine::command::Millis;
use torc_proto::resp::request::{Arguments, SMALL_ARGUMENTS_MAX};

/// What one call of `parse` works with.
pub(super) struct Turn<'t, 'a> {
    pub(super) scratch: &'a Scratch,
    pub(super) now: Millis,
    pub(super) limits: &'t Limits,
    pub(super) parts: &'t mut Vec<Part<'a>>,
    pub(super) parts_max: usize,
    /// The first part that no database was chosen for.
    pub(super) from: usize,
    /// Requests were accepted before, and are parsed again to be run.
    pub(super) is_replay: bool,
    /// A GET or SET may be taken in its usual form, with a value of so many bytes.
    pub(super) may_be_usual: bool,
    pub(super) value_bytes_usual: usize,
    /// GETs and SETs in their usual form, which are so quick that they are counted together.
    pub(super) gets: u64,
    pub(super) sets: u64,
}

impl<'t, 'a> Turn<'t, 'a> {
    pub(super) fn new(
        scratch: &'a Scratch,
        now: Millis,
        limits: &'t Limits,
        parts: &'t mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Turn<'t, 'a> {
        let from = parts.len();
        Turn {
            scratch,
            now,
            limits,
            parts,
            parts_max,
            from,
            is_replay: false,
            may_be_usual: !scratch.is_noting() && limits.arguments_max >= SMALL_ARGUMENTS_MAX,
            value_bytes_usual: limits.value_bytes_max.min(limits.value_bytes_inline as u64) as usize,
            gets: 0,
            sets: 0,
        }
    }

    pub(super) fn call<'r>(
        &self,
        row: &'static Row,
        frame: &'a [u8],
        arguments: &'r Arguments,
    ) -> Call<'r, 'a>
    where
        't: 'r,
    {
        let (spans, is_escaped) = (&arguments.spans, arguments.escaped);
        Call { row, frame, spans, is_escaped, scratch: self.scratch, now: self.now, limits: self.limits }
    }

    pub(super) fn error(&mut self, error: Error, frame: &'a [u8]) {
        // A part that has to wait is copied with its echo, so only errors that repeat the request have one.
        let echo = match error {
            Error::UnknownCommand
            | Error::UnknownSubcommand
            | Error::SubcommandSyntax
            | Error::AmongMessages(_)
            | Error::ClientType(_)
            | Error::User(_)
            | Error::PrefixesOverlap(..)
            | Error::UnsupportedOption(_) => frame,
            _ => &[],
        };
        self.parts.push(call::local(Kind::Error(error), echo));
    }
}
