//! What a script sees of the shards while it runs: copies of the values of its keys, in a store of its own.

use super::known::{Change, Item, Key, Known, Named, Touched};
use super::walked::{Wanted, matching};
use crate::session::{
    About, Answer, Calls, ComposeContext, Limits, NotCalled, NotWalked, Output, Over, Part, Piece, ReplyKind,
    Scratch, Work, resp,
};
use crate::worker::joint::Asked;
use crate::worker::view::{View, context};
use std::sync::Arc;
use std::time::Instant;
use torc_engine::Shard;
use torc_engine::command::{
    Command, Delete, Expiry, Found, Meta, Millis, Op, Outcome, Read, Refusal, Value, Write,
};
use torc_lua::{Host, Level, Stop};
use torc_proto::resp::compose;

/// Memory for answers that stays for the next one, at most.
const ANSWER_BYTES_KEPT: usize = 64 << 10;
/// Most that monitors are shown of the commands that a script calls, bytes: who takes its lines is not to be cut off by one script.
pub(super) const SHOWN_BYTES_MAX: usize = 64 << 10;
/// What a message takes beside its bytes.
const MESSAGE_BYTES: usize = 64;

/// The commands that a script has called, as they are shown.
#[derive(Debug, Default)]
pub(in crate::worker) struct Shown {
    /// The databases and words of the first ones.
    pub(in crate::worker) calls: Vec<(u16, Vec<u8>)>,
    bytes: usize,
    /// How many more there were.
    pub(in crate::worker) more: u64,
}

impl Shown {
    fn take(&mut self, scratch: &Scratch) {
        scratch.take_notes(|database, words| {
            self.bytes += words.len();
            if self.bytes > SHOWN_BYTES_MAX {
                self.more += 1;
            } else {
                self.calls.push((database, words.to_vec()));
            }
        });
    }
}

/// The host of a script that runs.
pub(super) struct Overlay<'o> {
    pub(super) store: &'o mut Shard,
    pub(super) session: &'o mut resp::Session,
    pub(super) output: &'o mut Output,
    pub(super) calls: &'o Arc<Calls>,
    pub(super) view: &'o View,
    pub(super) limits: &'o Limits,
    pub(super) now: Millis,
    pub(super) known: &'o mut Known,
    pub(super) may_change: bool,
    /// When it has run for as long as it may.
    pub(super) ends: Instant,
    /// It has called a command that only reads.
    pub(super) has_read: bool,
    pub(super) bytes_max: usize,
    /// Bytes of values in the answer of the command under way.
    pub(super) answer_bytes: usize,
    /// Messages that it has sent: they go when it has ended.
    pub(super) published: Vec<(Key, Change)>,
    pub(super) published_bytes: usize,
    /// What monitors are shown of its commands, if there are any.
    pub(super) shown: Option<Shown>,
    /// For what KEYS can be told.
    pub(super) walked: &'o [Key],
    /// What it may not use yet: it is to begin again with that.
    pub(super) wanted: Wanted,
}

impl Overlay<'_> {
    /// Puts what a key has into the store, and returns its version there. `None`: there is no room.
    pub(super) fn put(
        store: &mut Shard,
        (database, key): (u16, &[u8]),
        (meta, value): &Item,
        now: Millis,
    ) -> Option<u64> {
        let expiry = meta.expiry.map_or(Expiry::Never, Expiry::At);
        let write = Write { flags: meta.flags, expiry, ..Write::set(value) };
        let command = Command { database, key, op: Op::Write(write) };
        let hash = store.key_hash(key);
        match store.execute(&command, hash, now) {
            Outcome::Stored { meta, .. } => Some(meta.version),
            _ => None,
        }
    }

    pub(super) fn execute(&mut self, command: &Command<'_>) -> Outcome<'_> {
        let hash = self.store.key_hash(command.key);
        self.store.execute(command, hash, self.now)
    }

    /// What a key has in the store.
    pub(super) fn item(&mut self, (database, key): (u16, &[u8])) -> Option<Item> {
        item_in(self.store, (database, key), Read::LOOK, self.now)
    }

    /// The changes that are to be made, each with its key; the store is empty then.
    pub(super) fn changes(store: &mut Shard, known: &Known, now: Millis) -> Vec<(Key, Change)> {
        let mut changes = Vec::new();
        for Named { key, touched, before, has_come } in known.touched() {
            let (database, name) = key;
            let item = item_in(store, (*database, name), Read::LOOK, now);
            if item.as_ref().map(|(meta, _)| meta.version) == *before {
                if item.is_none() && *has_come {
                    // It has come and gone: who watches it, or keeps copies, is told.
                    let empty = (Meta::default(), Vec::new());
                    changes.extend([(key.clone(), Change::Write(empty)), (key.clone(), Change::Delete)]);
                }
                continue;
            }
            let change = match (item, *touched) {
                (None, _) => Change::Delete,
                (Some((meta, _)), Touched::Expiry) => {
                    Change::Expire(meta.expiry.map_or(Expiry::Never, Expiry::At))
                }
                (Some(item), _) => Change::Write(item),
            };
            changes.push((key.clone(), change));
        }
        changes
    }

    /// Takes everything out of the store.
    pub(super) fn clear(store: &mut Shard, known: &Known, now: Millis) {
        for (database, key) in known.keys() {
            let command = Command { database: *database, key, op: Op::Delete(Delete::default()) };
            let hash = store.key_hash(key);
            store.execute(&command, hash, now);
        }
    }

    /// The keys that a part is about. `None`: scripts cannot do that.
    fn check_keys(&mut self, part: &Part<'_>) -> Result<(), NotCalled> {
        let mut want = |database: u16, key: &[u8]| {
            if self.known.place(database, key).is_none() {
                self.wanted.keys.push((database, key.into()));
            }
        };
        match &part.work {
            Work::Keyed(command) => want(command.database, command.key),
            Work::Joint { joint, database, words } => {
                let asked = Asked { joint: *joint, database: *database, words };
                asked.keys().for_each(|(database, key)| want(database, key));
            }
            Work::Messages { about: About::Publish { .. }, .. } if !self.may_change => {
                return Err(NotCalled::Changes);
            }
            Work::Walk { database, over: Over::Keys } => {
                let is_it = |(of, pattern): &Key| of == database && **pattern == *part.echo;
                if !self.walked.iter().any(is_it) {
                    self.wanted.walk = Some((*database, part.echo.into()));
                }
            }
            Work::Local | Work::Messages { about: About::Publish { .. }, .. } => {}
            _ => return Err(NotCalled::Forbidden),
        }
        Ok(())
    }

    /// Does a part of a command and writes its answer.
    fn do_part(&mut self, part: &Part<'_>) -> Result<(), Stop> {
        let Overlay { store, session, output, view, now, answer_bytes, bytes_max, .. } = self;
        let context = context(0, "", "", *now, view);
        let mut answer_with = |key: &[u8], answer: &Answer<'_>| {
            session.compose(resp_reply(part), key, part.echo, answer, &context, output);
        };
        match &part.work {
            Work::Keyed(command) => {
                let hash = store.key_hash(command.key);
                let outcome = store.execute(command, hash, *now);
                match &outcome {
                    Outcome::Refused(Refusal::OutOfMemory) => return Err(Stop::Memory),
                    // A value can be named often: all of them together are copied for the script.
                    Outcome::Item(found) => *answer_bytes += found.value.len() as usize,
                    _ => {}
                }
                if answer_bytes > bytes_max {
                    return Err(Stop::Memory);
                }
                let has_come =
                    matches!(outcome, Outcome::Stored { .. } | Outcome::Counter { .. } | Outcome::Fields(_));
                answer_with(command.key, &Answer::Outcome(outcome));
                let touched = match command.op {
                    Op::Expire(_) => Touched::Expiry,
                    Op::Read(read) if read.changes() => Touched::Expiry,
                    op if op.changes() => Touched::Value,
                    _ => Touched::Not,
                };
                self.known.touch((command.database, command.key), touched);
                if has_come && command.op.changes() {
                    self.known.come((command.database, command.key));
                }
            }
            Work::Joint { joint, database, words } => {
                let asked = Asked { joint: *joint, database: *database, words };
                let (done, found) = self.join(asked)?;
                let context = context_of(self.view, self.now);
                let answer = done.answer(&found, None);
                self.session.compose(resp_reply(part), &[], part.echo, &answer, &context, self.output);
            }
            Work::Messages { about: About::Publish { sharded }, name, message } => {
                // Nobody knows yet who will get it.
                answer_with(&[], &Answer::Published(0));
                self.published_bytes += MESSAGE_BYTES + name.len() + message.len();
                if self.published_bytes > self.bytes_max {
                    return Err(Stop::Memory);
                }
                let change = Change::Publish { sharded: *sharded, message: message.to_vec() };
                self.published.push(((0, Box::from(*name)), change));
            }
            Work::Walk { database, .. } => {
                let found = matching((store, self.known), (*database, part.echo), *now);
                let answer = match &found {
                    Some(found) => Answer::Walked { count: 0, found },
                    None => Answer::NotWalked(NotWalked::Pattern),
                };
                session.compose(resp_reply(part), &[], part.echo, &answer, &context, output);
            }
            _ => answer_with(&[], &Answer::Local),
        }
        Ok(())
    }

    /// Appends what was composed, and gives back what the store has lent for it.
    fn take_output(&mut self, answer: &mut Vec<u8>) {
        let mut lent: Vec<_> = self.output.copied().collect();
        let mut spare = Vec::new();
        while let Some(piece) = self.output.take(|| std::mem::take(&mut spare)) {
            match piece {
                Piece::Bytes(mut bytes) => {
                    answer.extend_from_slice(&bytes);
                    bytes.clear();
                    spare = bytes;
                }
                Piece::Lent(slice) => {
                    slice.bytes().append_to(answer);
                    lent.push(slice);
                }
            }
        }
        // The next answer is composed into the same memory.
        if spare.capacity() <= ANSWER_BYTES_KEPT {
            self.output.prepare(|| spare);
        }
        lent.into_iter().for_each(|lent| self.store.release(lent));
    }
}

fn context_of(view: &View, now: Millis) -> ComposeContext<'_> {
    context(0, "", "", now, view)
}

fn resp_reply(part: &Part<'_>) -> resp::ReplyKind {
    match part.reply {
        ReplyKind::Resp(reply) => reply,
        _ => resp::ReplyKind::SILENT,
    }
}

/// What a key has in a store.
pub(super) fn item_in(
    store: &mut Shard,
    (database, key): (u16, &[u8]),
    read: Read,
    now: Millis,
) -> Option<Item> {
    let hash = store.key_hash(key);
    match store.execute(&Command { database, key, op: Op::Read(read) }, hash, now) {
        Outcome::Item(found) => Some(copy_of(&found)),
        _ => None,
    }
}

/// What was found in a store, without a loan.
pub(super) fn copy_of(found: &Found<'_>) -> Item {
    let mut bytes = Vec::with_capacity(found.value.len() as usize);
    match found.value {
        Value::Inline(value) => value.append_to(&mut bytes),
        Value::Chained(chain) => chain.slices().for_each(|slice| slice.append_to(&mut bytes)),
    }
    (found.meta, bytes)
}

impl Host for Overlay<'_> {
    fn call(&mut self, request: &[u8], _: usize, resp3: bool, answer: &mut Vec<u8>) -> Result<(), Stop> {
        let (scratch, mut parts) = (Scratch::counting(self.calls.clone()), Vec::new());
        scratch.set_noting(self.shown.is_some());
        self.session.set_version(resp3);
        let parsed =
            self.session.parse_call(request, &scratch, (self.now, self.limits), &mut parts, self.may_change);
        let checked = parsed.and_then(|only_reads| {
            parts.iter().try_for_each(|part| self.check_keys(part)).map(|()| only_reads)
        });
        let only_reads = match checked {
            Ok(only_reads) => only_reads,
            Err(why) => {
                compose::error(answer, why.words());
                return Ok(());
            }
        };
        if self.wanted.is_any() {
            return Err(Stop::Host);
        }
        self.has_read |= only_reads;
        self.shown.iter_mut().for_each(|shown| shown.take(&scratch));
        self.answer_bytes = 0;
        let done = parts.iter().try_for_each(|part| self.do_part(part));
        // Of one that is stopped, too: else it would stand before the answer of the next.
        self.take_output(answer);
        self.output.settle_errors(self.calls);
        done
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        match level {
            Level::Debug | Level::Verbose => tracing::debug!("script: {text}"),
            Level::Notice => tracing::info!("script: {text}"),
            Level::Warning => tracing::warn!("script: {text}"),
        }
    }
}
