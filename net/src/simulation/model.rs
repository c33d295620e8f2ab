//! What answers may be, by a model that knows nothing of shards.
//!
//! Keys of one client: its commands on them take effect one after the other, so exactly one answer is right,
//! but for expiry, which falls somewhere between the sending of a command and its answer. What was under way
//! when a connection broke may have happened or not, or still happens behind what the next connection asks: until a while
//! later the key may hold any of that. A crash may bring back what was superseded a moment before it: see `own.rs`.
//!
//! Shared keys: a register that several clients write and read. A read may return a value if its write began
//! before the read ended, and no other write lies wholly between that write and the read.
//!
//! A flush takes effect somewhere between its beginning and its end, at another time for each key. Where memory is
//! short a key may be missing at any time; but a last look at all keys must find a share of what memory holds.

use super::action::{Action, Call, Reply, parts};
use super::entry::{self, Entries};
use super::own::{Held, Own, State};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use torc_engine::command::Millis;

/// Part of the name of each key that belongs to one client, but for its counter.
pub(super) const OWN: &str = "own:";

/// So long after a connection broke, all that was on its way between shards has happened: it is many turns.
const LATE_MS: Millis = 100;
/// The same where shards wait for a tier.
const TIER_LATE_MS: Millis = 5_000;

/// Answers that are not wrong for want of room or luck.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Excuses {
    /// Whatever is stored may be gone.
    pub(super) misses: bool,
    /// What was missed may be back: it was dropped while the tier saved it.
    pub(super) returns: bool,
    /// Memory is short.
    pub(super) memory: bool,
    /// The tier has failed, so changes are refused.
    pub(super) refusals: bool,
}

#[derive(Debug)]
struct SharedWrite {
    value: Vec<u8>,
    begun: u64,
    ended: Option<u64>,
    /// When it was answered.
    ended_at: Millis,
}

#[derive(Debug)]
struct Flush {
    everywhere: bool,
    /// Only of this one.
    database: Option<u16>,
    begun: u64,
    ended: Option<u64>,
    /// When it was answered.
    ended_at: Millis,
    /// A crash may have undone it.
    is_doubtful: bool,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    own: HashMap<String, Own>,
    shared: HashMap<String, Vec<SharedWrite>>,
    /// What transactions have written to a group of keys, by database; each key has what the last of them wrote.
    together: HashMap<u16, Vec<SharedWrite>>,
    /// Numbers that a counter of several clients was given, by its key.
    counted: HashMap<String, HashSet<i64>>,
    flushes: Vec<Flush>,
    /// All keys that a command has named.
    named: HashSet<String>,
    order: u64,
    pub(super) excuses: Excuses,
    /// There is a tier, so the past may come back at a crash.
    has_tier: bool,
    /// Longer values were in memory alone, and are gone with it.
    pub(super) forgets_above: Option<usize>,
    /// Plain reads that began up to this moment of the order may miss: what a tier holds was not all known, and under
    /// `--tier-recovery miss` they do not wait for it.
    knows_since: u64,
    /// Passwords that clients gave.
    pub(super) entries: Entries,
    /// All keys are read one last time.
    is_last_look: bool,
    /// Bytes of values that the last look would find if nothing were ever evicted, and that it found.
    due_bytes: u64,
    kept_bytes: u64,
}

impl Model {
    pub(super) fn new(excuses: Excuses, has_tier: bool) -> Model {
        Model { excuses, has_tier, ..Model::default() }
    }

    pub(super) fn begin(&mut self, action: Action, now: Millis) -> Call {
        self.order += 1;
        self.named.extend(action.keys().into_iter().cloned());
        match &action {
            Action::SetShared { key, value } => {
                let write = SharedWrite { value: value.clone(), begun: self.order, ended: None, ended_at: 0 };
                self.shared.entry(key.clone()).or_default().push(write);
            }
            Action::SetTogether { keys, value } => {
                let write = SharedWrite { value: value.clone(), begun: self.order, ended: None, ended_at: 0 };
                self.together.entry(database_of(keys)).or_default().push(write);
            }
            Action::Flush { everywhere } => {
                self.flushes.push(Flush {
                    begun: self.order,
                    ended: None,
                    everywhere: *everywhere,
                    database: None,
                    ended_at: 0,
                    is_doubtful: false,
                });
            }
            Action::FlushDatabase { database } => {
                self.flushes.push(Flush {
                    begun: self.order,
                    ended: None,
                    everywhere: true,
                    database: Some(*database),
                    ended_at: 0,
                    is_doubtful: false,
                });
            }
            Action::Enter { is_right } => self.entries.of(*is_right).given += 1,
            _ => {}
        }
        Call { action, begun_at: now, begun: self.order, is_durable: false, script: None }
    }

    /// The connection broke before the answer came.
    pub(super) fn broken(&mut self, call: &Call, now: Millis) {
        let mut may_hold = |key: &String, held, expiry| {
            let state = State { held, expiry, begun: call.begun, ended: u64::MAX };
            self.own.entry(key.clone()).or_insert_with(Own::new).broke(state, now);
        };
        let late = if self.has_tier { TIER_LATE_MS } else { LATE_MS };
        match &call.action {
            Action::Set { key, value, ttl_ms } => {
                let expiry = ttl_ms.map(|ttl| (call.begun_at + ttl, now + late + ttl));
                may_hold(key, Held::Value(Rc::new(value.clone())), expiry);
            }
            Action::SetMany { pairs } => {
                pairs
                    .iter()
                    .for_each(|(key, value)| may_hold(key, Held::Value(Rc::new(value.clone())), None));
            }
            Action::Increment { key } => may_hold(key, Held::Number, None),
            Action::Delete { key } => may_hold(key, Held::Nothing, None),
            Action::DeleteMany { keys } => keys.iter().for_each(|key| may_hold(key, Held::Nothing, None)),
            _ => {}
        }
    }

    /// The server has ended in order, and another one begins.
    pub(super) fn restart(&mut self) {
        self.own.values_mut().for_each(Own::restart);
    }

    /// The server has ended at once. What was answered up to a time that `safe` tells by the key is on the tier, but for changes
    /// that are so for sure; `None`: nothing is there any more.
    pub(super) fn crash(&mut self, safe: Option<&dyn Fn(&str) -> Millis>) {
        self.own.iter_mut().for_each(|(key, own)| own.crash(safe.map(|safe| safe(key))));
        for (key, writes) in &mut self.shared {
            match safe {
                Some(safe) => {
                    let safe = safe(key);
                    writes
                        .iter_mut()
                        .filter(|write| write.ended_at > safe)
                        .for_each(|write| write.ended = None);
                }
                None => writes.clear(),
            }
        }
        match safe {
            Some(safe) => {
                // A flush is one of all shards.
                let least = self.own.keys().map(|key| safe(key)).min().unwrap_or(0);
                self.flushes.iter_mut().for_each(|flush| flush.is_doubtful |= flush.ended_at > least);
            }
            None => self.flushes.clear(),
        }
    }

    /// A server has begun; until it knows all that its tier holds, plain reads may miss if they do not wait.
    pub(super) fn is_learning(&mut self) {
        self.knows_since = u64::MAX;
    }

    /// It knows all.
    pub(super) fn has_learnt(&mut self) {
        if self.knows_since == u64::MAX {
            self.knows_since = self.order;
        }
    }

    /// Whether all was known when a read began. The last command before that has the very moment itself.
    fn knew_all(&self, begun: u64) -> bool {
        begun > self.knows_since
    }

    fn is_late(&self, own: &Own, call: &Call) -> bool {
        let late = if self.has_tier { TIER_LATE_MS } else { LATE_MS };
        own.broken_at.is_some_and(|at| call.begun_at < at + late)
    }

    /// A change of a key was answered.
    fn changed(&mut self, key: &str, state: State, call: &Call, now: Millis) {
        let mut own = self.own.remove(key).unwrap_or_else(Own::new);
        let is_late = self.is_late(&own, call);
        // What is durable comes back at no crash.
        let at = if call.is_durable { 0 } else { now };
        own.supersede(state, at, self.has_tier, is_late);
        self.own.insert(key.into(), own);
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn end(&mut self, call: &Call, reply: &Reply, now: Millis) -> Result<(), String> {
        self.order += 1;
        let is_excused = self.excuses.memory && is_out_of_memory(reply)
            || self.excuses.refusals && is_refused_for_tier(reply)
            || is_out_of_memory(reply) && self.was_given_up(call)
            || self.has_tier && has_waited_for_keys(reply);
        if is_excused {
            self.broken(call, now);
            return Ok(());
        }
        let right = match &call.action {
            Action::Set { key, value, ttl_ms } => {
                let expiry = ttl_ms.map(|ttl| (call.begun_at + ttl, now + ttl));
                self.written(key, value, expiry, call, now);
                *reply == Reply::Ok
            }
            Action::Get { key } => self.read(key, call, now, reply),
            Action::Delete { key } => match reply {
                Reply::Number(count @ 0..=1) => self.delete(std::slice::from_ref(key), *count, call, now),
                _ => false,
            },
            Action::Increment { key } => self.increment(key, reply, call, now),
            Action::SetMany { pairs } => {
                pairs.iter().for_each(|(key, value)| self.written(key, value, None, call, now));
                *reply == Reply::Ok
            }
            Action::GetMany { keys } => match reply {
                Reply::Array(values) => {
                    let all = keys.iter().zip(values).all(|(key, value)| self.read(key, call, now, value));
                    keys.len() == values.len() && all
                }
                _ => false,
            },
            Action::DeleteMany { keys } => match reply {
                Reply::Number(count) => self.delete(keys, *count, call, now),
                _ => false,
            },
            Action::SetShared { key, .. } => {
                let ended = self.order;
                let writes = self.shared.get_mut(key).into_iter().flatten();
                let at = if call.is_durable { 0 } else { now };
                writes
                    .filter(|write| write.begun == call.begun)
                    .for_each(|write| (write.ended, write.ended_at) = (Some(ended), at));
                *reply == Reply::Ok
            }
            Action::GetShared { key } => self.may_read_shared(key, call.begun, reply),
            Action::Flush { .. } | Action::FlushDatabase { .. } => {
                let ended = self.order;
                let flushes = self.flushes.iter_mut().filter(|flush| flush.begun == call.begun);
                let at = if call.is_durable { 0 } else { now };
                flushes.for_each(|flush| (flush.ended, flush.ended_at) = (Some(ended), at));
                *reply == Reply::Ok
            }
            Action::SetTogether { keys, .. } => {
                let ended = self.order;
                let writes = self.together.get_mut(&database_of(keys)).into_iter().flatten();
                writes.filter(|write| write.begun == call.begun).for_each(|write| {
                    write.ended = Some(write.ended.unwrap_or(ended));
                });
                matches!(reply, Reply::Array(all) if all.iter().all(|one| *one == Reply::Ok))
            }
            Action::GetTogether { keys } => match reply {
                Reply::Array(values) => self.reads_together(database_of(keys), call.begun, values),
                _ => false,
            },
            Action::GetOneOf { key } => {
                self.reads_together(parts(key).0, call.begun, std::slice::from_ref(reply))
            }
            Action::WatchCount { .. } => matches!(reply, Reply::Nothing | Reply::Value(_)),
            Action::CountWatched { key, to } => match reply {
                Reply::Nothing => true,
                Reply::Array(_) => {
                    let is_new = self.counted.entry(key.clone()).or_default().insert(*to);
                    // A crash may bring the number before back.
                    is_new || self.has_tier
                }
                _ => false,
            },
            Action::Tally { keys } => match reply {
                Reply::Number(_) => keys.len() == 1 && self.tallied(&keys[0], reply),
                Reply::Array(all) => {
                    keys.len() == all.len()
                        && keys.iter().zip(all).all(|(key, number)| self.tallied(key, number))
                }
                _ => false,
            },
            Action::Ping | Action::Select { .. } => *reply == Reply::Ok,
            Action::Enter { is_right } => {
                self.entries.of(*is_right).answered += 1;
                entry::is_answer(*is_right, reply)
            }
            // The client puts the pages together.
            Action::Scan { .. } => matches!(reply, Reply::Array(_)),
        };
        if right {
            Ok(())
        } else {
            let wrong = format!("{call:?} was answered {reply:?}, known is {}", self.known(call));
            // Without what fills values up.
            Err(wrong.replace(", 120", ""))
        }
    }

    /// Whether nobody else has counted a key up to this number.
    fn tallied(&mut self, key: &str, reply: &Reply) -> bool {
        let Reply::Number(number) = reply else { return false };
        self.counted.entry(key.into()).or_default().insert(*number)
    }

    /// A long value may have been on its way into a database that was flushed meanwhile: it is refused then.
    fn was_given_up(&self, call: &Call) -> bool {
        let meanwhile =
            |flush: &Flush| flush.database.is_some() && flush.ended.is_none_or(|end| end > call.begun);
        self.flushes.iter().any(meanwhile)
    }

    /// The present place in the order.
    pub(super) fn now(&self) -> u64 {
        self.order
    }

    /// Keys that are there from before this moment of the order on, with `prefix`.
    pub(super) fn steady<'a>(&'a self, prefix: &'a str, before: u64) -> impl Iterator<Item = &'a String> {
        let is_there = move |own: &Own| {
            let lives = |state: &State| {
                let is_kept = match &state.held {
                    Held::Value(value) => !self.may_be_forgotten(value),
                    _ => false,
                };
                is_kept && state.expiry.is_none() && state.ended < before
            };
            own.now.iter().all(lives)
        };
        let all = !self.excuses.misses && before >= self.knows_since;
        self.own
            .iter()
            .filter(move |(key, own)| all && key.starts_with(prefix) && is_there(own))
            .map(|(key, _)| key)
    }

    /// A key that no command has named. `None`: all are known.
    pub(super) fn unheard_of<'a>(&self, keys: &'a HashSet<String>) -> Option<&'a String> {
        keys.iter().find(|key| !self.named.contains(*key))
    }

    /// From now on every key is read once more.
    pub(super) fn begin_last_look(&mut self) {
        self.is_last_look = true;
        let bytes = |(key, own): (&String, &Own)| match &own.now[..] {
            [State { held: Held::Value(value), expiry: None, .. }] if key.contains(OWN) => value.len() as u64,
            _ => 0,
        };
        self.due_bytes = self.own.iter().map(bytes).sum();
    }

    /// Bytes of values that the last look was to find, and that it found.
    pub(super) fn due_and_kept(&self) -> (u64, u64) {
        (self.due_bytes, self.kept_bytes)
    }

    fn known(&self, call: &Call) -> String {
        let of = |key: &String| match self.shared.get(key) {
            Some(writes) => format!("{writes:?}"),
            None => format!("{:?}", self.own.get(key)),
        };
        call.action.keys().into_iter().map(of).collect::<Vec<_>>().join(", ")
    }

    fn written(
        &mut self,
        key: &str,
        value: &[u8],
        expiry: Option<(Millis, Millis)>,
        call: &Call,
        now: Millis,
    ) {
        let held = Held::Value(Rc::new(value.to_vec()));
        self.changed(key, State { held, expiry, begun: call.begun, ended: self.order }, call, now);
    }

    /// Whether a flush may have, and whether one must have, cleared what was written then.
    fn cleared(&self, key: &str, begun: u64, ended: u64, read_begun: u64) -> (bool, bool) {
        let is_of = |flush: &Flush| flush.database.is_none_or(|database| parts(key).0 == database);
        let may = |flush: &Flush| is_of(flush) && flush.ended.is_none_or(|end| end > begun);
        let must = |flush: &Flush| {
            is_of(flush)
                && flush.everywhere
                && !flush.is_doubtful
                && flush.begun > ended
                && flush.ended.is_some_and(|end| end < read_begun)
        };
        (self.flushes.iter().any(may), self.flushes.iter().any(must))
    }

    /// Whether a key in this state may be there, and whether it must be there.
    fn there_as(&self, key: &str, state: &State, call: &Call, to: Millis) -> (bool, bool) {
        if state.held == Held::Nothing {
            return (false, false);
        }
        let (may_be_cleared, must_be_cleared) = self.cleared(key, state.begun, state.ended, call.begun);
        let (may, must) =
            state.expiry.map_or((true, true), |(first, last)| (call.begun_at < last, to < first));
        let is_kept = match &state.held {
            Held::Value(value) => !self.may_be_forgotten(value),
            _ => true,
        };
        (may && !must_be_cleared, must && !may_be_cleared && is_kept && !self.excuses.misses)
    }

    /// Whether a restart may have lost a value for its length.
    fn may_be_forgotten(&self, value: &[u8]) -> bool {
        self.forgets_above.is_some_and(|bytes| value.len() > bytes)
    }

    /// Whether the key may be there, and whether it must be there.
    fn there(&self, key: &str, call: &Call, to: Millis) -> (bool, bool) {
        let Some(own) = self.own.get(key) else { return (false, false) };
        let mut all = own.now.iter().map(|state| self.there_as(key, state, call, to));
        let is_one = all.len() > 0;
        all.by_ref()
            .fold((false, is_one), |(may, must), (one_may, one_must)| (may || one_may, must && one_must))
    }

    fn read(&mut self, key: &str, call: &Call, to: Millis, reply: &Reply) -> bool {
        let (_, must) = self.there(key, call, to);
        let knew_all = self.knew_all(call.begun);
        if self.is_last_look
            && let Reply::Value(value) = reply
        {
            // What is unknown takes memory, too.
            self.kept_bytes += value.len() as u64;
        }
        let Some(mut own) = self.own.remove(key) else { return *reply == Reply::Nothing };
        let is_late = self.is_late(&own, call);
        let right = match reply {
            Reply::Nothing => {
                if !must && knew_all {
                    own.missed(self.has_tier, is_late || self.excuses.returns);
                }
                !must || !knew_all
            }
            Reply::Value(read) => {
                let may = own.matching(read).any(|state| self.there_as(key, state, call, to).0);
                if may && !is_late {
                    own.was_read(read, to, self.has_tier);
                }
                may
            }
            _ => false,
        };
        self.own.insert(key.into(), own);
        right
    }

    fn delete(&mut self, keys: &[String], count: i64, call: &Call, to: Millis) -> bool {
        // A key that is named twice is there once.
        let keys: HashSet<&String> = keys.iter().collect();
        let there: Vec<(bool, bool)> = keys.iter().map(|key| self.there(key, call, to)).collect();
        let most = there.iter().filter(|(may, _)| *may).count() as i64;
        let least = there.iter().filter(|(_, must)| *must).count() as i64;
        for (key, (may, must)) in keys.into_iter().zip(there) {
            // [N-DUR-2]: an answer that says that nothing was changed promises nothing. It does not wait for what others have changed.
            match must || may && count == most {
                true => {
                    let nothing = State { begun: call.begun, ended: self.order, ..State::NOTHING };
                    self.changed(key, nothing, call, to);
                }
                false => self.not_found(key, call),
            }
        }
        (least..=most).contains(&count)
    }

    fn not_found(&mut self, key: &str, call: &Call) {
        let Some(mut own) = self.own.remove(key) else { return };
        let is_late = self.is_late(&own, call);
        own.not_found(self.has_tier, is_late);
        self.own.insert(key.into(), own);
    }

    fn increment(&mut self, key: &str, reply: &Reply, call: &Call, now: Millis) -> bool {
        let Reply::Number(number) = reply else { return false };
        let (_, must) = self.there(key, call, call.begun_at);
        let goes_on = self.own.get(key).is_some_and(|own| {
            let may = |state: &State| {
                state.held == Held::Nothing || self.there_as(key, state, call, call.begun_at).0
            };
            own.now.iter().any(|state| may(state) && state.may_count_to(*number))
        });
        self.written(key, number.to_string().as_bytes(), None, call, now);
        goes_on || (!must && *number == 1)
    }

    /// Whether all values of a group are of one write, which no other one has followed that was answered, or seen, before the read.
    fn reads_together(&mut self, database: u16, read_begun: u64, values: &[Reply]) -> bool {
        // After a crash a transaction may be half there.
        if self.has_tier {
            return values.iter().all(|value| matches!(value, Reply::Value(_) | Reply::Nothing));
        }
        if values.iter().any(|value| *value != values[0]) {
            return false;
        }
        let now = self.order;
        let writes = self.together.entry(database).or_default();
        let overwritten = |after: u64| {
            writes
                .iter()
                .any(|other| other.begun > after && other.ended.is_some_and(|ended| ended < read_begun))
        };
        match &values[0] {
            Reply::Nothing => !overwritten(0),
            Reply::Value(read) => {
                let Some(place) = writes.iter().position(|write| write.value == *read) else { return false };
                let is_over = writes[place].ended.is_some_and(overwritten);
                // Whoever reads from now on reads this or a later one.
                writes[place].ended.get_or_insert(now);
                !is_over
            }
            _ => false,
        }
    }

    fn may_read_shared(&self, key: &str, read_begun: u64, reply: &Reply) -> bool {
        let writes = self.shared.get(key).map(Vec::as_slice).unwrap_or_default();
        let overwritten = |after: u64| {
            writes
                .iter()
                .any(|other| other.begun > after && other.ended.is_some_and(|ended| ended < read_begun))
        };
        match reply {
            Reply::Nothing => {
                let knew_all = self.knew_all(read_begun);
                let is_long = writes.iter().any(|write| self.may_be_forgotten(&write.value));
                self.excuses.misses || !knew_all || is_long || !self.flushes.is_empty() || !overwritten(0)
            }
            Reply::Value(read) => {
                writes.iter().any(|write| write.value == *read && !write.ended.is_some_and(overwritten))
            }
            _ => false,
        }
    }
}

/// The database of keys that are in one.
fn database_of(keys: &[String]) -> u16 {
    keys.first().map_or(0, |key| parts(key).0)
}

fn is_out_of_memory(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.to_ascii_lowercase().contains("memory") || text.contains("OOM"))
}

/// Whether keys were held for too long, by somebody who waits for a tier.
fn has_waited_for_keys(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.contains("did not get its keys in time"))
}

/// Whether a change, or one of a transaction's, was refused as the tier has failed.
fn is_refused_for_tier(reply: &Reply) -> bool {
    match reply {
        Reply::Error(text) => text.contains("durability") || text == "Busy",
        Reply::Array(all) => all.iter().any(is_refused_for_tier),
        _ => false,
    }
}
