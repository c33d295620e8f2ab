//! What answers may be, by a model that knows nothing of shards.
//!
//! Keys of one client: its commands on them take effect one after the other, so exactly one answer is right,
//! but for expiry, which falls somewhere between the sending of a command and its answer. What was under way
//! when a connection broke may have happened or not; the key is unknown until it is written again.
//!
//! Shared keys: a register that several clients write and read. A read may return a value if its write began
//! before the read ended, and no other write lies wholly between that write and the read.

use std::collections::HashMap;
use torc_engine::command::Millis;

/// An answer as the client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Value(Vec<u8>),
    Nothing,
    Number(i64),
    Error(String),
}

/// A command and where its truth lies.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Set { key: String, value: Vec<u8>, ttl_ms: Option<u64> },
    Get { key: String },
    Delete { key: String },
    Increment { key: String },
    SetShared { key: String, value: Vec<u8> },
    GetShared { key: String },
}

/// A command under way.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) action: Action,
    pub(super) begun_at: Millis,
    /// Place in the order of all beginnings and ends.
    pub(super) begun: u64,
}

#[derive(Debug, Clone)]
enum Known {
    Item {
        value: Vec<u8>,
        /// It ends between these times.
        expiry: Option<(Millis, Millis)>,
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

#[derive(Debug, Default)]
pub(super) struct Model {
    own: HashMap<String, Known>,
    shared: HashMap<String, Vec<SharedWrite>>,
    order: u64,
}

impl Model {
    pub(super) fn begin(&mut self, action: Action, now: Millis) -> Call {
        self.order += 1;
        if let Action::SetShared { key, value } = &action {
            let write = SharedWrite { value: value.clone(), begun: self.order, ended: None };
            self.shared.entry(key.clone()).or_default().push(write);
        }
        Call { action, begun_at: now, begun: self.order }
    }

    /// The connection broke before the answer came.
    pub(super) fn broken(&mut self, call: &Call) {
        match &call.action {
            Action::Set { key, .. } | Action::Delete { key } | Action::Increment { key } => {
                self.own.insert(key.clone(), Known::Unknown);
            }
            Action::Get { .. } | Action::SetShared { .. } | Action::GetShared { .. } => {}
        }
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn end(&mut self, call: &Call, reply: &Reply, now: Millis) -> Result<(), String> {
        self.order += 1;
        let right = match &call.action {
            Action::Set { key, value, ttl_ms } => {
                let expiry = ttl_ms.map(|ttl| (call.begun_at + ttl, now + ttl));
                self.own.insert(key.clone(), Known::Item { value: value.clone(), expiry });
                *reply == Reply::Ok
            }
            Action::Get { key } => self.may_read(key, call.begun_at, now, reply),
            Action::Delete { key } => {
                let there = self.there(key, call.begun_at, now);
                self.own.insert(key.clone(), Known::Nothing);
                matches!((reply, there), (Reply::Number(0), (_, false)) | (Reply::Number(1), (true, _)))
                    || matches!(reply, Reply::Number(0 | 1)) && there == (true, false)
            }
            Action::Increment { key } => self.increment(key, reply),
            Action::SetShared { key, .. } => {
                let ended = self.order;
                let writes = self.shared.get_mut(key).into_iter().flatten();
                writes.filter(|write| write.begun == call.begun).for_each(|write| write.ended = Some(ended));
                *reply == Reply::Ok
            }
            Action::GetShared { key } => self.may_read_shared(key, call.begun, reply),
        };
        if right {
            Ok(())
        } else {
            Err(format!("{call:?} was answered {reply:?}, known is {}", self.known(call)))
        }
    }

    fn known(&self, call: &Call) -> String {
        match &call.action {
            Action::Set { key, .. }
            | Action::Get { key }
            | Action::Delete { key }
            | Action::Increment { key } => format!("{:?}", self.own.get(key)),
            Action::SetShared { key, .. } | Action::GetShared { key } => {
                format!("{:?}", self.shared.get(key))
            }
        }
    }

    /// Whether the key may be there, and whether it may be missing, is answered as (may be there, must be there).
    fn there(&self, key: &str, from: Millis, to: Millis) -> (bool, bool) {
        match self.own.get(key) {
            None | Some(Known::Nothing) => (false, false),
            Some(Known::Unknown) => (true, false),
            Some(Known::Item { expiry: None, .. }) => (true, true),
            Some(Known::Item { expiry: Some((first, last)), .. }) => (from < *last, to < *first),
        }
    }

    fn may_read(&self, key: &str, from: Millis, to: Millis, reply: &Reply) -> bool {
        let (may, must) = self.there(key, from, to);
        match (reply, self.own.get(key)) {
            (Reply::Nothing, _) => !must,
            (Reply::Value(_), Some(Known::Unknown)) => true,
            (Reply::Value(read), Some(Known::Item { value, .. })) => may && read == value,
            _ => false,
        }
    }

    fn increment(&mut self, key: &str, reply: &Reply) -> bool {
        let before = match self.own.get(key) {
            Some(Known::Item { value, .. }) => String::from_utf8_lossy(value).parse().ok(),
            Some(Known::Unknown) => None,
            _ => Some(0i64),
        };
        let Reply::Number(number) = reply else { return false };
        let known = Known::Item { value: number.to_string().into_bytes(), expiry: None };
        self.own.insert(key.into(), known);
        before.is_none_or(|before| before + 1 == *number)
    }

    fn may_read_shared(&self, key: &str, read_begun: u64, reply: &Reply) -> bool {
        let writes = self.shared.get(key).map(Vec::as_slice).unwrap_or_default();
        let overwritten = |after: u64| {
            writes
                .iter()
                .any(|other| other.begun > after && other.ended.is_some_and(|ended| ended < read_begun))
        };
        match reply {
            Reply::Nothing => !overwritten(0),
            Reply::Value(read) => {
                writes.iter().any(|write| write.value == *read && !write.ended.is_some_and(overwritten))
            }
            _ => false,
        }
    }
}
