//! What answers may be, by a model that knows nothing of shards.
//!
//! Keys of one client: its commands on them take effect one after the other, so exactly one answer is right,
//! but for expiry, which falls somewhere between the sending of a command and its answer. What was under way
//! when a connection broke may have happened or not, or still happens behind what the next connection asks: the key is
//! unknown until it is written again a while later.
//!
//! Shared keys: a register that several clients write and read. A read may return a value if its write began
//! before the read ended, and no other write lies wholly between that write and the read.
//!
//! A flush takes effect somewhere between its beginning and its end, at another time for each key. Where memory is
//! short a key may be missing at any time; but a last look at all keys must find a share of what memory holds.

use super::action::{Action, Call, Reply};
use std::collections::{HashMap, HashSet};
use torc_engine::command::Millis;

/// Part of the name of each key that belongs to one client, but for its counter.
pub(super) const OWN: &str = "own:";

/// So long after a connection broke, all that was on its way between shards has happened: it is many turns.
const LATE_MS: Millis = 100;

#[derive(Debug, Clone)]
enum Known {
    Item {
        value: Vec<u8>,
        /// It ends between these times.
        expiry: Option<(Millis, Millis)>,
        /// The order of its write.
        begun: u64,
        ended: u64,
    },
    Nothing,
    /// A broken connection left it open.
    Unknown,
}

#[derive(Debug)]
struct SharedWrite {
    value: Vec<u8>,
    begun: u64,
    ended: Option<u64>,
}

#[derive(Debug)]
struct Flush {
    everywhere: bool,
    begun: u64,
    ended: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    own: HashMap<String, Known>,
    /// When a connection broke that was changing the key.
    broken_at: HashMap<String, Millis>,
    shared: HashMap<String, Vec<SharedWrite>>,
    flushes: Vec<Flush>,
    /// All keys that a command has named.
    named: HashSet<String>,
    order: u64,
    /// Memory is short: whatever is stored may be evicted.
    lossy: bool,
    /// All keys are read one last time.
    is_last_look: bool,
    /// Bytes of values that the last look would find if nothing were ever evicted, and that it found.
    due_bytes: u64,
    kept_bytes: u64,
}

impl Model {
    pub(super) fn new(lossy: bool) -> Model {
        Model { lossy, ..Model::default() }
    }

    pub(super) fn begin(&mut self, action: Action, now: Millis) -> Call {
        self.order += 1;
        self.named.extend(action.keys().into_iter().cloned());
        match &action {
            Action::SetShared { key, value } => {
                let write = SharedWrite { value: value.clone(), begun: self.order, ended: None };
                self.shared.entry(key.clone()).or_default().push(write);
            }
            Action::Flush { everywhere } => {
                self.flushes.push(Flush { begun: self.order, ended: None, everywhere: *everywhere });
            }
            _ => {}
        }
        Call { action, begun_at: now, begun: self.order }
    }

    /// The connection broke before the answer came.
    pub(super) fn broken(&mut self, call: &Call, now: Millis) {
        let changes = matches!(
            call.action,
            Action::Set { .. }
                | Action::Delete { .. }
                | Action::Increment { .. }
                | Action::SetMany { .. }
                | Action::DeleteMany { .. }
        );
        for key in call.action.keys().into_iter().filter(|_| changes) {
            self.own.insert(key.clone(), Known::Unknown);
            self.broken_at.insert(key.clone(), now);
        }
    }

    /// What is known of a key by the answer to a call.
    fn learn(&mut self, key: &str, known: Known, call: &Call) {
        let may_change = self.broken_at.get(key).is_some_and(|at| call.begun_at < at + LATE_MS);
        self.own.insert(key.into(), if may_change { Known::Unknown } else { known });
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn end(&mut self, call: &Call, reply: &Reply, now: Millis) -> Result<(), String> {
        self.order += 1;
        if self.lossy && is_out_of_memory(reply) {
            self.broken(call, now);
            return Ok(());
        }
        let right = match &call.action {
            Action::Set { key, value, ttl_ms } => {
                let expiry = ttl_ms.map(|ttl| (call.begun_at + ttl, now + ttl));
                self.written(key, value, expiry, call);
                *reply == Reply::Ok
            }
            Action::Get { key } => self.read(key, call, now, reply),
            Action::Delete { key } => match reply {
                Reply::Number(count @ 0..=1) => self.delete(std::slice::from_ref(key), *count, call, now),
                _ => false,
            },
            Action::Increment { key } => self.increment(key, reply, call),
            Action::SetMany { pairs } => {
                pairs.iter().for_each(|(key, value)| self.written(key, value, None, call));
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
                writes.filter(|write| write.begun == call.begun).for_each(|write| write.ended = Some(ended));
                *reply == Reply::Ok
            }
            Action::GetShared { key } => self.may_read_shared(key, call.begun, reply),
            Action::Flush { .. } => {
                let ended = self.order;
                let flushes = self.flushes.iter_mut().filter(|flush| flush.begun == call.begun);
                flushes.for_each(|flush| flush.ended = Some(ended));
                *reply == Reply::Ok
            }
            Action::Ping => *reply == Reply::Ok,
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

    /// The present place in the order.
    pub(super) fn now(&self) -> u64 {
        self.order
    }

    /// Keys that are there from before this moment of the order on, with `prefix`.
    pub(super) fn steady<'a>(&'a self, prefix: &'a str, before: u64) -> impl Iterator<Item = &'a String> {
        let is_there =
            move |known: &Known| matches!(known, Known::Item { expiry: None, ended, .. } if *ended < before);
        self.own
            .iter()
            .filter(move |(key, known)| key.starts_with(prefix) && is_there(known))
            .map(|(key, _)| key)
    }

    /// A key that no command has named. `None`: all are known.
    pub(super) fn unheard_of<'a>(&self, keys: &'a HashSet<String>) -> Option<&'a String> {
        keys.iter().find(|key| !self.named.contains(*key))
    }

    /// From now on every key is read once more.
    pub(super) fn begin_last_look(&mut self) {
        self.is_last_look = true;
        let bytes = |(key, known): (&String, &Known)| match known {
            Known::Item { value, expiry: None, .. } if key.contains(OWN) => value.len() as u64,
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

    fn written(&mut self, key: &str, value: &[u8], expiry: Option<(Millis, Millis)>, call: &Call) {
        let known = Known::Item { value: value.to_vec(), expiry, begun: call.begun, ended: self.order };
        self.learn(key, known, call);
    }

    /// Whether a flush may have, and whether one must have, cleared what was written then.
    fn cleared(&self, begun: u64, ended: u64, read_begun: u64) -> (bool, bool) {
        let may = |flush: &Flush| flush.ended.is_none_or(|end| end > begun);
        let must = |flush: &Flush| {
            flush.everywhere && flush.begun > ended && flush.ended.is_some_and(|end| end < read_begun)
        };
        (self.flushes.iter().any(may), self.flushes.iter().any(must))
    }

    /// Whether the key may be there, and whether it must be there.
    fn there(&self, key: &str, call: &Call, to: Millis) -> (bool, bool) {
        match self.own.get(key) {
            None | Some(Known::Nothing) => (false, false),
            Some(Known::Unknown) => (true, false),
            Some(Known::Item { expiry, begun, ended, .. }) => {
                let (may_be_cleared, must_be_cleared) = self.cleared(*begun, *ended, call.begun);
                let (may, must) =
                    expiry.map_or((true, true), |(first, last)| (call.begun_at < last, to < first));
                (may && !must_be_cleared, must && !may_be_cleared && !self.lossy)
            }
        }
    }

    fn read(&mut self, key: &str, call: &Call, to: Millis, reply: &Reply) -> bool {
        let (may, must) = self.there(key, call, to);
        if self.is_last_look
            && let Reply::Value(value) = reply
        {
            // What is unknown takes memory, too.
            self.kept_bytes += value.len() as u64;
        }
        match (reply, self.own.get(key)) {
            (Reply::Nothing, _) => {
                if !must && self.own.contains_key(key) {
                    self.learn(key, Known::Nothing, call);
                }
                !must
            }
            (Reply::Value(_), Some(Known::Unknown)) => true,
            (Reply::Value(read), Some(Known::Item { value, .. })) => may && read == value,
            _ => false,
        }
    }

    fn delete(&mut self, keys: &[String], count: i64, call: &Call, to: Millis) -> bool {
        // A key that is named twice is there once.
        let keys: HashSet<&String> = keys.iter().collect();
        let there: Vec<(bool, bool)> = keys.iter().map(|key| self.there(key, call, to)).collect();
        let most = there.iter().filter(|(may, _)| *may).count() as i64;
        let least = there.iter().filter(|(_, must)| *must).count() as i64;
        for key in keys {
            self.learn(key, Known::Nothing, call);
        }
        (least..=most).contains(&count)
    }

    fn increment(&mut self, key: &str, reply: &Reply, call: &Call) -> bool {
        let (may, must) = self.there(key, call, call.begun_at);
        let before = match self.own.get(key) {
            Some(Known::Item { value, .. }) => String::from_utf8_lossy(value).parse().ok(),
            Some(Known::Unknown) => None,
            _ => Some(0i64),
        };
        let Reply::Number(number) = reply else { return false };
        self.written(key, number.to_string().as_bytes(), None, call);
        let goes_on = before.is_none_or(|before| before + 1 == *number) && (may || *number == 1);
        goes_on || (!must && *number == 1)
    }

    fn may_read_shared(&self, key: &str, read_begun: u64, reply: &Reply) -> bool {
        let writes = self.shared.get(key).map(Vec::as_slice).unwrap_or_default();
        let overwritten = |after: u64| {
            writes
                .iter()
                .any(|other| other.begun > after && other.ended.is_some_and(|ended| ended < read_begun))
        };
        match reply {
            Reply::Nothing => self.lossy || !self.flushes.is_empty() || !overwritten(0),
            Reply::Value(read) => {
                writes.iter().any(|write| write.value == *read && !write.ended.is_some_and(overwritten))
            }
            _ => false,
        }
    }
}

fn is_out_of_memory(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.to_ascii_lowercase().contains("memory") || text.contains("OOM"))
}
