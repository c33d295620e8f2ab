//! A shard's answer as a native frame.

use super::plain::{self, marks_of};
use super::refusal::Refusal;
use super::reply_kind::{Kind, ReplyKind};
use crate::session::answer::Answer;
use crate::session::output::Output;
use crate::session::push::Push;
use torc_engine::command::{Found, Meta, Millis, Number, Outcome, Refusal as ShardRefusal, Value};
use torc_proto::native::extension::ItemMeta;
use torc_proto::native::topology::WrongOwner;
use torc_proto::native::{AnswerHeader, ItemFacts, Status, flags, marks, op};

impl ReplyKind {
    /// Writes an answer that is free: see [`crate::session::Session::free`].
    #[inline]
    pub fn compose(self, key: &[u8], echo: &[u8], answer: &Answer<'_>, now: Millis, out: &mut Output) {
        match (self.kind, answer) {
            (Kind::Outcome, Answer::Outcome(outcome)) if plain::answer(&self, outcome, out) => {}
            (Kind::Outcome, Answer::Outcome(outcome)) => self::outcome(&self, key, outcome, now, out),
            (Kind::Outcome, answer) => other(&self, key, answer, out),
            (Kind::Refused(why), _) => refusal(&self, key, why, out),
            _ => small(&self, Status::Ok, echo, out),
        }
    }
}

/// The answer to a keyed part.
#[inline]
pub(super) fn outcome(reply: &ReplyKind, key: &[u8], outcome: &Outcome<'_>, now: Millis, out: &mut Output) {
    match outcome {
        Outcome::Item(found) => item(reply, key, found, now, out),
        Outcome::Miss => bare(reply, Status::Miss, key, out),
        Outcome::Stored { meta, old } => {
            changed(reply, Status::Ok, key, Some(meta), meta.token, old.as_ref(), now, out)
        }
        Outcome::NotStored { old } => {
            let token = old.as_ref().map_or(0, |old| old.meta.token);
            changed(reply, Status::NotStored, key, None, token, old.as_ref(), now, out)
        }
        Outcome::Deleted { old, .. } => {
            let token = old.as_ref().map_or(0, |old| old.meta.token);
            changed(reply, Status::Ok, key, None, token, old.as_ref(), now, out)
        }
        Outcome::Touched { meta } => changed(reply, Status::Ok, key, Some(meta), meta.token, None, now, out),
        Outcome::Counter { number, meta } => counter(reply, key, *number, meta, now, out),
        Outcome::Exists => bare(reply, Status::Exists, key, out),
        Outcome::Untouched => bare(reply, Status::Untouched, key, out),
        Outcome::Refused(why) => {
            text(reply, shard_refusal(*why), key, &why.to_string(), out);
        }
        // The worker composes a part only when it is answered.
        // No native request asks for them.
        Outcome::Number(_) | Outcome::Fields(_) | Outcome::Pending(_) => {
            text(reply, Status::NotSupported, key, "the answer is not there", out)
        }
    }
}

/// Answers that are no outcome of a shard.
pub(super) fn other(reply: &ReplyKind, key: &[u8], answer: &Answer<'_>, out: &mut Output) {
    match answer {
        Answer::Moved { slot, shard, epoch } => {
            let mut value = Vec::with_capacity(WrongOwner::BYTES);
            WrongOwner { slot: *slot, shard: *shard, epoch: *epoch }.compose(&mut value);
            frame(reply, Status::WrongOwner, 0, 0, &ItemFacts::default(), key, &value, out);
        }
        Answer::Busy { limit } => text(reply, Status::Busy, key, limit, out),
        Answer::OutcomeUnknown => {
            text(reply, Status::OutcomeUnknown, key, "the outcome is not on record any more", out)
        }
        Answer::DeadlineExceeded => text(reply, Status::DeadlineExceeded, key, "", out),
        // Databases are the affair of Redis' clients.
        Answer::NotFlushed(_)
        | Answer::Exec(_)
        | Answer::Jointly(_)
        | Answer::Compared { .. }
        | Answer::Script(_) => bare(reply, Status::BadArgument, key, out),
        Answer::Flushed => bare(reply, Status::Ok, key, out),
        Answer::Subscribed(_)
        | Answer::Unsubscribed { .. }
        | Answer::Published(_)
        | Answer::Inspected(_)
        | Answer::Tracking { .. }
        | Answer::Attach(_)
        | Answer::Pair(_)
        | Answer::Reads(_)
        | Answer::Outcome(_)
        | Answer::Scanned { .. }
        | Answer::Walked { .. }
        | Answer::NotWalked(_)
        | Answer::Entered(_)
        | Answer::Local => text(reply, Status::NotSupported, key, "no answer to this operation", out),
    }
}

/// A request that no shard has seen.
pub(super) fn refusal(reply: &ReplyKind, key: &[u8], refusal: Refusal, out: &mut Output) {
    let (status, words) = refusal.wire();
    refusal.bad_input().into_iter().for_each(|what| out.count_error(what));
    text(reply, status, key, words, out);
}

/// A frame that answers no request ([N-PUSH-1]).
pub(super) fn push(push: Push<'_>, out: &mut Output) -> bool {
    let value = push.bytes();
    let Ok(value_bytes) = u32::try_from(value.len()) else { return false };
    let tail = out.tail();
    AnswerHeader { op: op::PUSH, value_bytes, ..AnswerHeader::default() }.compose(tail);
    tail.extend_from_slice(value);
    true
}

/// A short answer without item.
pub(super) fn small(reply: &ReplyKind, status: Status, value: &[u8], out: &mut Output) {
    frame(reply, status, 0, 0, &ItemFacts::default(), &[], value, out);
}

/// A hit: 24 bytes and the value, if nothing more was asked for ([N-GET-1]).
#[inline]
fn item(reply: &ReplyKind, key: &[u8], found: &Found<'_>, now: Millis, out: &mut Output) {
    let facts = facts(reply, &found.meta, now);
    let marks = marks_of(&found.meta);
    if reply.flags & flags::NO_VALUE != 0 {
        return frame(reply, Status::Ok, marks, found.meta.token, &facts, key, &[], out);
    }
    with_value(reply, Status::Ok, marks, found.meta.token, &facts, key, &found.value, out);
}

/// After a change: the new item's facts, and the old item's value if it was asked for ([N-SET-5], [N-ANS-5]).
#[allow(clippy::too_many_arguments, reason = "the fields of one frame")]
fn changed(
    reply: &ReplyKind,
    status: Status,
    key: &[u8],
    meta: Option<&Meta>,
    token: u64,
    old: Option<&Found<'_>>,
    now: Millis,
    out: &mut Output,
) {
    if quiet(reply, status) {
        return;
    }
    let want_meta = reply.flags & flags::WANT_META != 0;
    let mut facts = match meta {
        Some(meta) if want_meta => facts(reply, meta, now),
        _ => ItemFacts::default(),
    };
    let Some(old) = old else {
        let lost = reply.repeat && reply.flags & flags::WANT_OLD != 0;
        let marks = if lost { marks::OLD_LOST } else { 0 };
        return frame(reply, status, marks, token, &facts, key, &[], out);
    };
    // With an old value, `client-flags` are the old item's.
    facts.client_flags = old.meta.flags;
    let marks = marks_of(&old.meta) | marks::OLD;
    with_value(reply, status, marks, token, &facts, key, &old.value, out);
}

fn counter(reply: &ReplyKind, key: &[u8], number: Number, meta: &Meta, now: Millis, out: &mut Output) {
    let raw = match number {
        Number::Unsigned(number) => number.to_le_bytes(),
        Number::Signed(number) => number.to_le_bytes(),
        Number::Float(number) => number.to_le_bytes(),
        Number::Extended(number) => number.to_f64().to_le_bytes(),
    };
    let want_meta = reply.flags & flags::WANT_META != 0;
    let facts = if want_meta { facts(reply, meta, now) } else { ItemFacts::default() };
    frame(reply, Status::Ok, 0, meta.token, &facts, key, &raw, out);
}

fn bare(reply: &ReplyKind, status: Status, key: &[u8], out: &mut Output) {
    frame(reply, status, 0, 0, &ItemFacts::default(), key, &[], out);
}

fn text(reply: &ReplyKind, status: Status, key: &[u8], words: &str, out: &mut Output) {
    frame(reply, status, 0, 0, &ItemFacts::default(), key, words.as_bytes(), out);
}

/// Whether the request's flags leave this answer out ([N-QUIET-1]).
#[inline]
fn quiet(reply: &ReplyKind, status: Status) -> bool {
    match status {
        Status::Ok => reply.flags & flags::QUIET_OK != 0,
        Status::Miss => reply.flags & flags::QUIET_MISS != 0,
        _ => false,
    }
}

#[inline]
#[allow(clippy::too_many_arguments, reason = "the fields of one frame")]
fn frame(
    reply: &ReplyKind,
    status: Status,
    marks: u8,
    token: u64,
    facts: &ItemFacts,
    key: &[u8],
    value: &[u8],
    out: &mut Output,
) {
    if !quiet(reply, status) {
        let tail = out.tail();
        head(reply, status, marks, token, facts, key, value.len() as u32, tail);
        tail.extend_from_slice(value);
    }
}

#[inline]
#[allow(clippy::too_many_arguments, reason = "the fields of one frame")]
fn with_value(
    reply: &ReplyKind,
    status: Status,
    marks: u8,
    token: u64,
    facts: &ItemFacts,
    key: &[u8],
    value: &Value<'_>,
    out: &mut Output,
) {
    match value {
        Value::Inline(_) if quiet(reply, status) => {}
        Value::Inline(bytes) => {
            let tail = out.tail();
            head(reply, status, marks, token, facts, key, bytes.len() as u32, tail);
            bytes.append_to(tail);
        }
        Value::Chained(chain) => {
            // A value is stored only up to --max-value, which the settings keep under 4 GiB.
            head(reply, status, marks, token, facts, key, chain.len() as u32, out.tail());
            for lent in chain.lend(0..chain.len()) {
                out.lend(lent);
            }
        }
    }
}

#[inline]
#[allow(clippy::too_many_arguments, reason = "the fields of one frame")]
fn head(
    reply: &ReplyKind,
    status: Status,
    marks: u8,
    token: u64,
    facts: &ItemFacts,
    key: &[u8],
    value_bytes: u32,
    tail: &mut Vec<u8>,
) {
    let key = if reply.flags & flags::RETURN_KEY != 0 { key } else { &[] };
    let extension_bytes = facts.encoded_bytes();
    let header = AnswerHeader {
        op: reply.op,
        status: status as u8,
        marks,
        id: reply.id,
        // A key came in a frame or in a multi-get: its length fits 16 bits.
        key_bytes: key.len() as u16,
        extension_bytes,
        value_bytes,
        token,
    };
    header.compose(tail);
    if extension_bytes != 0 {
        facts.compose(tail);
    }
    tail.extend_from_slice(key);
}

/// The facts of an item that the request asked for ([N-EXT-8]).
#[inline]
fn facts(reply: &ReplyKind, meta: &Meta, now: Millis) -> ItemFacts {
    let item = (reply.flags & flags::WANT_META != 0).then(|| ItemMeta {
        remaining_ms: meta.expiry.map(|expiry| expiry.saturating_sub(now)),
        value_bytes: meta.value_bytes,
        version: meta.version,
    });
    ItemFacts { client_flags: meta.flags, item, access_age_s: None }
}

fn shard_refusal(refusal: ShardRefusal) -> Status {
    match refusal {
        ShardRefusal::ValueTooLarge => Status::ValueTooLong,
        ShardRefusal::KeyTooLarge => Status::KeyTooLong,
        ShardRefusal::OutOfMemory => Status::OutOfMemory,
        ShardRefusal::NotANumber => Status::NotANumber,
        ShardRefusal::Overflow | ShardRefusal::RangeTooLong | ShardRefusal::BadPacked => Status::Overflow,
    }
}
