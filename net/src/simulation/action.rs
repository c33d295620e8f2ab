//! What simulated clients ask, and the answers as they read them.

use super::scripts::Script;
use torc_engine::command::Millis;

/// An answer as the client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Value(Vec<u8>),
    Nothing,
    Number(i64),
    Array(Vec<Reply>),
    Error(String),
}

impl Reply {
    /// The only one within an array.
    pub(super) fn only(self) -> Reply {
        match self {
            Reply::Array(mut all) if all.len() == 1 => all.remove(0),
            other => other,
        }
    }
}

/// A command and where its truth lies.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Set {
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    },
    Get {
        key: String,
    },
    Delete {
        key: String,
    },
    Increment {
        key: String,
    },
    SetMany {
        pairs: Vec<(String, Vec<u8>)>,
    },
    GetMany {
        keys: Vec<String>,
    },
    DeleteMany {
        keys: Vec<String>,
    },
    SetShared {
        key: String,
        value: Vec<u8>,
    },
    GetShared {
        key: String,
    },
    /// A transaction that gives all keys of a group the same value.
    SetTogether {
        keys: Vec<String>,
        value: Vec<u8>,
    },
    /// One that reads them.
    GetTogether {
        keys: Vec<String>,
    },
    /// A read of one key of the group.
    GetOneOf {
        key: String,
    },
    /// A counter is watched and read.
    WatchCount {
        key: String,
    },
    /// It is counted up from what was read, if nobody has meanwhile.
    CountWatched {
        key: String,
        to: i64,
    },
    /// Keys are counted up, all together.
    Tally {
        keys: Vec<String>,
    },
    Scan {
        cursor: String,
        count: usize,
    },
    Flush {
        /// Not only at one shard.
        everywhere: bool,
    },
    /// All connections of a client choose the same database, which the names of its keys tell.
    Select {
        database: u16,
    },
    FlushDatabase {
        database: u16,
    },
    /// A password is given.
    Enter {
        is_right: bool,
    },
    Ping,
}

/// The name of a key in a database, by which the model tells it from the same key in another one.
pub(super) fn named(database: u16, key: &str) -> String {
    if database == 0 { key.into() } else { format!("d{database}@{key}") }
}

/// The database and the key of a name.
pub(super) fn parts(name: &str) -> (u16, &str) {
    let parts = name.strip_prefix('d').and_then(|rest| rest.split_once('@'));
    let parts = parts.and_then(|(database, key)| Some((database.parse().ok()?, key)));
    parts.unwrap_or((0, name))
}

impl Action {
    /// Whether it writes or deletes one key.
    pub(super) fn changes(&self) -> bool {
        matches!(self, Action::Set { .. } | Action::SetShared { .. } | Action::Delete { .. })
    }

    /// Answers before the one that counts.
    fn answers_before(&self) -> usize {
        match self {
            Action::Tally { keys } if keys.len() == 1 => 0,
            Action::SetTogether { keys, .. } | Action::GetTogether { keys } | Action::Tally { keys } => {
                1 + keys.len()
            }
            Action::WatchCount { .. } => 1,
            Action::CountWatched { .. } => 2,
            _ => 0,
        }
    }

    /// The keys that it names.
    pub(super) fn keys(&self) -> Vec<&String> {
        match self {
            Action::Set { key, .. }
            | Action::Get { key }
            | Action::Delete { key }
            | Action::Increment { key }
            | Action::SetShared { key, .. }
            | Action::GetShared { key }
            | Action::GetOneOf { key }
            | Action::WatchCount { key }
            | Action::CountWatched { key, .. } => vec![key],
            Action::SetMany { pairs } => pairs.iter().map(|(key, _)| key).collect(),
            Action::GetMany { keys }
            | Action::DeleteMany { keys }
            | Action::SetTogether { keys, .. }
            | Action::GetTogether { keys }
            | Action::Tally { keys } => keys.iter().collect(),
            Action::Scan { .. }
            | Action::Flush { .. }
            | Action::Select { .. }
            | Action::FlushDatabase { .. }
            | Action::Enter { .. }
            | Action::Ping => Vec::new(),
        }
    }
}

/// A command under way.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) action: Action,
    pub(super) begun_at: Millis,
    /// Place in the order of all beginnings and ends.
    pub(super) begun: u64,
    /// Once it is answered, no crash undoes it.
    pub(super) is_durable: bool,
    /// A script did it.
    pub(super) script: Option<Script>,
}

impl Call {
    /// Answers before the one that counts.
    pub(super) fn answers_before(&self) -> usize {
        self.script.map_or(self.action.answers_before(), Script::answers_before)
    }
}
