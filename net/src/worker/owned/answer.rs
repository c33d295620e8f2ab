//! Answers without their bytes, free to change threads.

use crate::session::{
    Answer, AttachRefusal, Compare, Exec, Jointly, NotFlushed, NotTracked, NotWalked, PairRefusal, Shares,
    Tracked,
};
use crate::transport::ConnId;
use torc_engine::bytes::Bytes;
use torc_engine::command::{Found, Meta, Number, Outcome, Refusal, Ticket, Value};
use torc_engine::segments::LentChain;

/// An [`Outcome`] without its value, free to change threads.
#[derive(Debug)]
pub(crate) enum OwnedOutcome {
    Miss,
    Item(Meta),
    Stored { meta: Meta, old: Option<Box<Meta>> },
    NotStored { old: Option<Box<Meta>> },
    Exists,
    Deleted { old: Option<Box<Meta>>, version: u64 },
    Touched(Meta),
    Untouched,
    Counter { number: Number, meta: Meta },
    Number(i64),
    Fields,
    Refused(Refusal),
    Pending(Ticket),
}

/// An [`Answer`] without its bytes.
#[derive(Debug)]
pub(crate) enum OwnedAnswer {
    Outcome(OwnedOutcome),
    Moved {
        slot: u16,
        shard: u16,
        epoch: u64,
    },
    Flushed,
    NotFlushed(NotFlushed),
    Exec(Exec),
    Jointly(Jointly),
    Compared {
        asked: Compare,
        length: u64,
    },
    Script,
    Scanned {
        cursor: u64,
    },
    Subscribed(u64),
    Unsubscribed {
        left: u64,
    },
    Published(u64),
    Inspected,
    Tracking(Result<Tracked, NotTracked>),
    /// The client that is to be told in place of another, if it is there.
    Target(Option<ConnId>),
    Walked {
        count: u64,
    },
    NotWalked(NotWalked),
    Busy {
        limit: &'static str,
    },
    Attach(Result<Shares, AttachRefusal>),
    Pair(PairRefusal),
    Reads(Option<PairRefusal>),
    OutcomeUnknown,
    DeadlineExceeded,
    Entered(bool),
    Local,
    /// The value is too long to be copied and cannot be lent now. The asker asks again later. Or a script cannot be run at once: the
    /// asker runs it.
    Later,
}

impl OwnedAnswer {
    pub(crate) fn refused(refusal: Refusal) -> OwnedAnswer {
        OwnedAnswer::Outcome(OwnedOutcome::Refused(refusal))
    }

    // Both inlined: else the processor reads in wide pieces what it has just written in narrow ones, which is slow.
    /// Takes an outcome over; its value is appended to `bytes`, or lent if it is a chain of more than `copied_max` bytes.
    #[inline(always)]
    pub(crate) fn take_over(
        outcome: Outcome<'_>,
        bytes: &mut Vec<u8>,
        copied_max: usize,
    ) -> (OwnedAnswer, Option<Box<LentChain>>) {
        let mut lent = None;
        let mut keep = |found: Found<'_>| {
            match found.value {
                Value::Inline(value) => value.append_to(bytes),
                Value::Chained(chain) if chain.len() <= copied_max as u64 => {
                    chain.slices().for_each(|slice| slice.append_to(bytes));
                }
                Value::Chained(chain) => lent = Some(Box::new(LentChain::of(&chain))),
            }
            found.meta
        };
        let outcome = match outcome {
            Outcome::Miss => OwnedOutcome::Miss,
            Outcome::Item(found) => OwnedOutcome::Item(keep(found)),
            Outcome::Stored { meta, old } => {
                OwnedOutcome::Stored { meta, old: old.map(|old| Box::new(keep(old))) }
            }
            Outcome::NotStored { old } => OwnedOutcome::NotStored { old: old.map(|old| Box::new(keep(old))) },
            Outcome::Exists => OwnedOutcome::Exists,
            Outcome::Deleted { old, version } => {
                OwnedOutcome::Deleted { old: old.map(|old| Box::new(keep(old))), version }
            }
            Outcome::Touched { meta } => OwnedOutcome::Touched(meta),
            Outcome::Untouched => OwnedOutcome::Untouched,
            Outcome::Counter { number, meta } => OwnedOutcome::Counter { number, meta },
            Outcome::Number(number) => OwnedOutcome::Number(number),
            Outcome::Fields(results) => {
                results.append_to(bytes);
                OwnedOutcome::Fields
            }
            Outcome::Refused(refusal) => OwnedOutcome::Refused(refusal),
            Outcome::Pending(ticket) => OwnedOutcome::Pending(ticket),
        };
        (OwnedAnswer::Outcome(outcome), lent)
    }

    /// As [`OwnedAnswer::take_over`], of whatever a shard answers.
    #[inline(always)]
    pub(crate) fn of(
        answer: Answer<'_>,
        bytes: &mut Vec<u8>,
        copied_max: usize,
    ) -> (OwnedAnswer, Option<Box<LentChain>>) {
        let plain = match answer {
            Answer::Outcome(outcome) => return OwnedAnswer::take_over(outcome, bytes, copied_max),
            Answer::Moved { slot, shard, epoch } => OwnedAnswer::Moved { slot, shard, epoch },
            Answer::Flushed => OwnedAnswer::Flushed,
            Answer::NotFlushed(why) => OwnedAnswer::NotFlushed(why),
            Answer::Exec(what) => OwnedAnswer::Exec(what),
            Answer::Jointly(what) => OwnedAnswer::Jointly(what),
            Answer::Compared { asked, length, found } => {
                bytes.extend_from_slice(found);
                OwnedAnswer::Compared { asked, length }
            }
            Answer::Script(reply) => {
                bytes.extend_from_slice(reply);
                OwnedAnswer::Script
            }
            Answer::Scanned { cursor, keys } => {
                bytes.extend_from_slice(keys);
                OwnedAnswer::Scanned { cursor }
            }
            Answer::Subscribed(count) => OwnedAnswer::Subscribed(count),
            Answer::Unsubscribed { names, left } => {
                bytes.extend_from_slice(names);
                OwnedAnswer::Unsubscribed { left }
            }
            Answer::Published(count) => OwnedAnswer::Published(count),
            Answer::Inspected(found) => {
                bytes.extend_from_slice(found);
                OwnedAnswer::Inspected
            }
            Answer::Tracking { outcome, words } => {
                bytes.extend_from_slice(words);
                OwnedAnswer::Tracking(outcome)
            }
            Answer::Walked { count, found } => {
                bytes.extend_from_slice(found);
                OwnedAnswer::Walked { count }
            }
            Answer::NotWalked(why) => OwnedAnswer::NotWalked(why),
            Answer::Busy { limit } => OwnedAnswer::Busy { limit },
            Answer::Attach(attached) => OwnedAnswer::Attach(attached),
            Answer::Reads(given) => {
                bytes.extend_from_slice(given.unwrap_or_default());
                OwnedAnswer::Reads(given.err())
            }
            // One that is not refused is answered at once.
            Answer::Pair(paired) => OwnedAnswer::Pair(paired.err().unwrap_or(PairRefusal::Off)),
            Answer::OutcomeUnknown => OwnedAnswer::OutcomeUnknown,
            Answer::DeadlineExceeded => OwnedAnswer::DeadlineExceeded,
            Answer::Entered(is_through) => OwnedAnswer::Entered(is_through),
            Answer::Local => OwnedAnswer::Local,
        };
        (plain, None)
    }

    /// The answer with its value, or its keys, in place.
    pub(crate) fn answer<'a>(&self, bytes: &'a [u8], chain: Option<&'a LentChain>) -> Answer<'a> {
        match *self {
            OwnedAnswer::Outcome(ref outcome) => Answer::Outcome(outcome.outcome(bytes, chain)),
            OwnedAnswer::Moved { slot, shard, epoch } => Answer::Moved { slot, shard, epoch },
            OwnedAnswer::Flushed => Answer::Flushed,
            OwnedAnswer::NotFlushed(why) => Answer::NotFlushed(why),
            OwnedAnswer::Exec(what) => Answer::Exec(what),
            OwnedAnswer::Jointly(what) => Answer::Jointly(what),
            OwnedAnswer::Compared { asked, length } => Answer::Compared { asked, length, found: bytes },
            OwnedAnswer::Script => Answer::Script(bytes),
            OwnedAnswer::Scanned { cursor } => Answer::Scanned { cursor, keys: bytes },
            OwnedAnswer::Subscribed(count) => Answer::Subscribed(count),
            OwnedAnswer::Unsubscribed { left } => Answer::Unsubscribed { names: bytes, left },
            OwnedAnswer::Published(count) => Answer::Published(count),
            OwnedAnswer::Inspected => Answer::Inspected(bytes),
            OwnedAnswer::Tracking(outcome) => Answer::Tracking { outcome, words: bytes },
            OwnedAnswer::Target(_) => Answer::Local,
            OwnedAnswer::Walked { count } => Answer::Walked { count, found: bytes },
            OwnedAnswer::NotWalked(why) => Answer::NotWalked(why),
            OwnedAnswer::Busy { limit } => Answer::Busy { limit },
            OwnedAnswer::Attach(attached) => Answer::Attach(attached),
            OwnedAnswer::Pair(why) => Answer::Pair(Err(why)),
            OwnedAnswer::Reads(why) => Answer::Reads(why.map_or(Ok(bytes), Err)),
            OwnedAnswer::OutcomeUnknown => Answer::OutcomeUnknown,
            OwnedAnswer::DeadlineExceeded => Answer::DeadlineExceeded,
            OwnedAnswer::Entered(is_through) => Answer::Entered(is_through),
            OwnedAnswer::Local => Answer::Local,
            OwnedAnswer::Later => Answer::Busy { limit: "client-memory" },
        }
    }
}

impl OwnedOutcome {
    fn outcome<'a>(&self, bytes: &'a [u8], chain: Option<&'a LentChain>) -> Outcome<'a> {
        let value = match chain {
            Some(chain) => Value::Chained(chain.chain()),
            None => Value::Inline(Bytes::from(bytes)),
        };
        let found = |meta: Meta| Found { meta, value };
        match *self {
            OwnedOutcome::Miss => Outcome::Miss,
            OwnedOutcome::Item(meta) => Outcome::Item(found(meta)),
            OwnedOutcome::Stored { meta, ref old } => {
                Outcome::Stored { meta, old: old.as_deref().copied().map(found) }
            }
            OwnedOutcome::NotStored { ref old } => {
                Outcome::NotStored { old: old.as_deref().copied().map(found) }
            }
            OwnedOutcome::Exists => Outcome::Exists,
            OwnedOutcome::Deleted { ref old, version } => {
                Outcome::Deleted { old: old.as_deref().copied().map(found), version }
            }
            OwnedOutcome::Touched(meta) => Outcome::Touched { meta },
            OwnedOutcome::Untouched => Outcome::Untouched,
            OwnedOutcome::Counter { number, meta } => Outcome::Counter { number, meta },
            OwnedOutcome::Number(number) => Outcome::Number(number),
            OwnedOutcome::Fields => Outcome::Fields(Bytes::from(bytes)),
            OwnedOutcome::Refused(refusal) => Outcome::Refused(refusal),
            OwnedOutcome::Pending(ticket) => Outcome::Pending(ticket),
        }
    }
}
