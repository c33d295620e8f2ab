//! A script of a client: EVAL and its kind.
//!
//! ```text
//!   keys are held --> their values are fetched --> the script runs, on copies --> what it has changed is written --> keys are released
//!        ^                                            |
//!        +------- it names another key ---------------+
//! ```
//!
//! KEYS walks all shards before it begins again with what is found: see [`walked`].
//!
//! The script itself runs without a pause. Until it has ended nothing is changed: it may begin again with a key more, and be stopped. Among the
//! commands of a transaction the keys are held already. Where all keys are this shard's and nobody holds one of them, nothing is held: all is
//! done before anybody else has a turn. Where they are all another shard's, that one is asked to do so: see [`shipped`].

mod behind;
mod copies;
mod engine;
mod find;
mod homebound;
mod known;
mod overlay;
mod run;
mod served;
mod several;
mod shipped;
mod told;
mod walked;
mod write;

pub(crate) use engine::ScriptEngine;
pub(crate) use homebound::Homebound;
pub(super) use overlay::Shown;
pub(super) use run::Asked as ScriptAsked;

use super::owned::OwnedAnswer;
use crate::metrics::OutcomeClass;
use crate::session::Answer;
use known::{Change, Item, Key, Known};
use std::time::Duration;
use told::Told;
use torc_engine::command::{Outcome, Value};
use torc_engine::segments::Lent;
use torc_lua::Digest;

/// A script's name (its text or digest) among the words of [`Work::Script`](crate::session::Work::Script).
pub(super) fn name_of(words: &[u8]) -> &[u8] {
    torc_engine::words::each(words).next().unwrap_or_default()
}

/// A script under way.
#[derive(Debug)]
pub(crate) struct ScriptRun {
    digest: Digest,
    may_change: bool,
    known: Known,
    step: Step,
    /// It is none of a transaction's commands: it holds its keys itself.
    is_alone: bool,
    /// Its keys are held, or it needs none to be.
    is_held: bool,
    /// It could not be done at once.
    has_waited: bool,
    attempts: u32,
    /// Time that attempts have taken which have ended for another key.
    used: Duration,
    changes: Vec<(Key, Change)>,
    /// Databases and patterns for which all shards were walked, or are.
    walked: Vec<Key>,
    /// It has called a command that only reads.
    has_read: bool,
    /// What it has called, until monitors are shown that.
    shown: Option<Shown>,
    reply: Vec<u8>,
    outcome: OutcomeClass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The keys for a pattern are looked for.
    Walk,
    Hold,
    /// So many values are asked for.
    Fetch(usize),
    Run,
    /// So many changes are begun, of the last one so many parts.
    Write(usize, usize),
}

/// Answers to what was asked for a script.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    items: Vec<Option<Item>>,
    bytes: usize,
    bytes_max: usize,
    failed: Option<OwnedAnswer>,
    /// The script has ended: what is asked is not for it. Reads are those of its client, who is told of later changes.
    has_ended: bool,
    told: Told,
    /// What a walk has found, as [`words`](torc_engine::words).
    found: Option<Vec<u8>>,
}

impl Fetched {
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes + self.told.bytes_held() + self.found.as_ref().map_or(0, Vec::capacity)
    }

    fn is_walked(&self) -> bool {
        self.found.is_some() || self.failed.is_some()
    }

    /// Whether the script has ended. What is read then is put into the tables of [tracking](super::tracking).
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The client is told of changes of keys, given as [`words`](torc_engine::words); none means all. Whether before the reply, too: what the
    /// script has read may be from after them, unless they come of keys of its own when it has ended.
    pub(super) fn note_told(&mut self, keys: &[u8]) -> bool {
        let are_own = self.told.note(keys);
        !(are_own && self.has_ended)
    }

    /// Takes an answer. What was lent for it is to be released.
    pub(super) fn take(&mut self, answer: &Answer<'_>) -> Vec<Lent> {
        let mut lent = Vec::new();
        let item = match answer {
            Answer::Outcome(Outcome::Item(found)) if self.has_ended => Some((found.meta, Vec::new())),
            Answer::Outcome(Outcome::Item(found)) => {
                self.bytes = self.bytes.saturating_add(found.value.len() as usize);
                if self.bytes > self.bytes_max {
                    self.failed = Some(OwnedAnswer::Busy { limit: MEMORY });
                    return lent;
                }
                let mut bytes = Vec::with_capacity(found.value.len() as usize);
                match found.value {
                    Value::Inline(value) => value.append_to(&mut bytes),
                    Value::Chained(chain) => {
                        lent.extend(chain.lend(0..chain.len()));
                        lent.iter().for_each(|slice| slice.bytes().append_to(&mut bytes));
                    }
                }
                Some((found.meta, bytes))
            }
            Answer::Outcome(Outcome::Refused(refusal)) => {
                self.failed = Some(OwnedAnswer::refused(*refusal));
                None
            }
            Answer::Busy { limit } => {
                self.failed = Some(OwnedAnswer::Busy { limit });
                None
            }
            Answer::Walked { found, .. } => {
                self.found = Some(found.to_vec());
                None
            }
            Answer::NotWalked(why) => {
                self.failed = Some(OwnedAnswer::NotWalked(*why));
                None
            }
            Answer::Outcome(_) | Answer::Published(_) => None,
            _ => {
                self.failed = Some(OwnedAnswer::OutcomeUnknown);
                None
            }
        };
        self.items.push(item);
        lent
    }
}

/// Limits, by the names of their settings.
const MEMORY: &str = "script-memory-max";
const TIME: &str = "script-time-max";

impl ScriptRun {
    pub(super) fn bytes_held(&self) -> usize {
        let changes: usize =
            self.changes.iter().map(|((_, key), change)| key.len() + change.value().len()).sum();
        let walked: usize = self.walked.iter().map(|(_, pattern)| size_of::<Key>() + pattern.len()).sum();
        size_of::<ScriptRun>() + self.known.bytes_held() + self.reply.capacity() + changes + walked
    }
}

#[cfg(test)]
mod tests;
