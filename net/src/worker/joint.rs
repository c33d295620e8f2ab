//! Commands about several keys that are done as one, whatever their shards: MSETNX, MSETEX, RENAME, RENAMENX, COPY, MOVE, BITOP, LCS.
//!
//! ```text
//!   keys are held --> look: the item, whether other keys have one --> write --> remove the item that was moved --> keys are released
//!                 --> look: value after value, which are combined --> write, block by block --> keys are released
//!                 --> look: value after value                     --> keys are released --> compare them, a part a turn
//! ```
//!
//! Each step is one of parts that are begun as a client's are, at the shards of their keys, and the next one begins when all are
//! answered. Among the commands of a transaction the keys are held already; else the command is one of its own: see
//! [`transaction.rs`](super::transaction).

mod combine;
mod compare;
pub(super) mod gather;
mod gathering;
mod hold;
mod share;
mod steps;

pub(super) use share::Share;

use super::owned::{OwnedAnswer, OwnedPart};
use super::tracking::add_word;
use crate::session::{Answer, Joint};
use gather::Gathering;
use std::collections::VecDeque;
use torc_engine::command::{Found, Meta, Outcome, Value};
use torc_engine::segments::Lent;
use torc_engine::words;

/// A command about several keys, under way.
#[derive(Debug, Default)]
pub(crate) struct JointRun {
    step: Step,
    /// Parts of this step that are not begun.
    left: VecDeque<OwnedPart>,
    /// Its parts that are answered.
    answers: usize,
    /// The first look is for an item, which is to be copied or moved.
    wants_item: bool,
    item: Option<(Meta, Vec<u8>)>,
    /// What values are gathered for.
    gathering: Option<Gathering>,
    /// The turn in which it has had its share, or nothing was left for it: see [`Share`].
    waits_since: Option<u32>,
    /// Its client was told that something has changed that it may have read for this command.
    is_told: bool,
    /// Keys that its client is told of behind the answer, as it changes them, as [`words`].
    changed: Vec<u8>,
    /// A key has a value that may have to have none.
    is_there: bool,
    /// A key has none that may have to have one.
    is_missing: bool,
    /// What was found by comparing.
    found: Vec<u8>,
    /// The answer to a part that did not do what it should.
    failed: Option<OwnedAnswer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Look,
    Write,
    Remove,
    /// What was gathered is compared; no key is held.
    Compare,
}

/// How far a command has come that is done in several steps.
pub(super) enum Progress {
    Goes,
    Waits,
    Ends(OwnedAnswer),
}

/// A key with its database.
pub(super) type Key<'a> = (u16, &'a [u8]);

/// What is to be done, and with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) joint: Joint,
    pub(super) database: u16,
    pub(super) words: &'a [u8],
}

impl<'a> Asked<'a> {
    /// The keys, each with its database.
    pub(super) fn keys(self) -> impl Iterator<Item = Key<'a>> {
        let (step, last) = match self.joint {
            Joint::SetIfNone | Joint::Set { .. } => (2, self.database),
            Joint::Combine(_) | Joint::Compare(_) => (1, self.database),
            Joint::Copy { to, .. } => (1, to),
        };
        let keys = words::each(self.words).step_by(step).enumerate();
        keys.map(move |(place, key)| (if place == 0 { self.database } else { last }, key))
    }

    /// The values behind the keys.
    pub(super) fn values(self) -> impl Iterator<Item = &'a [u8]> {
        words::each(self.words).skip(1).step_by(2)
    }

    /// Database and key of the item, and those that it gets.
    pub(super) fn ends(self) -> Option<(Key<'a>, Key<'a>)> {
        let mut keys = self.keys();
        keys.next().zip(keys.next())
    }
}

impl JointRun {
    /// Memory that it takes.
    pub(super) fn bytes_held(&self) -> usize {
        let left: usize = self.left.iter().map(OwnedPart::bytes_held).sum();
        let gathered = self.gathering.as_ref().map_or(0, Gathering::bytes_held);
        size_of::<JointRun>()
            + left
            + gathered
            + self.changed.capacity()
            + self.item.as_ref().map_or(0, |(_, value)| value.capacity())
    }

    /// Whether the command changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        self.gathering.as_ref().is_some_and(Gathering::is_to_compare)
    }

    /// The client is told of changes. The answer may be from before them.
    pub(super) fn note_told(&mut self) {
        self.is_told |= self.only_reads();
    }

    /// A key that its client keeps a copy of was changed by the command.
    pub(super) fn note_own(&mut self, key: &[u8]) {
        add_word(key, &mut self.changed);
    }

    /// Takes the answer to a part. What was lent for it is to be released.
    pub(super) fn take(&mut self, answer: &Answer<'_>) -> Vec<Lent> {
        let mut lent = Vec::new();
        let is_item = self.wants_item && self.answers == 0;
        self.answers += 1;
        if let (Step::Look, Some(gathering)) = (self.step, &mut self.gathering) {
            let found = match answer {
                Answer::Outcome(Outcome::Item(found)) => Some(Some(found)),
                Answer::Outcome(Outcome::Miss) => Some(None),
                _ => None,
            };
            if let Some(found) = found {
                self.failed = gathering.take(found).err();
                return lent;
            }
        }
        match (self.step, answer) {
            (Step::Look, Answer::Outcome(Outcome::Item(found))) => match is_item {
                true => self.item = Some((found.meta, bytes_of(found, &mut lent))),
                false => self.is_there = true,
            },
            (Step::Look, Answer::Outcome(Outcome::Miss)) => self.is_missing = true,
            (Step::Write, Answer::Outcome(Outcome::Stored { .. }))
            // It may be over by now.
            | (Step::Remove, Answer::Outcome(Outcome::Deleted { .. } | Outcome::Miss)) => {}
            (_, Answer::Outcome(Outcome::Refused(refusal))) => {
                self.failed = Some(OwnedAnswer::refused(*refusal));
            }
            (_, Answer::Busy { limit }) => self.failed = Some(OwnedAnswer::Busy { limit }),
            _ => self.failed = Some(OwnedAnswer::OutcomeUnknown),
        }
        lent
    }
}

/// The bytes of a value; another shard lends those of a long one.
fn bytes_of(found: &Found<'_>, lent: &mut Vec<Lent>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(found.value.len() as usize);
    match found.value {
        Value::Inline(value) => value.append_to(&mut bytes),
        Value::Chained(chain) => {
            lent.extend(chain.lend(0..chain.len()));
            lent.iter().for_each(|slice| slice.bytes().append_to(&mut bytes));
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
