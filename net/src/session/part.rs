//! What a request is cut into, and what the worker does for it.

use super::deadline::Deadline;
use super::joint::Joint;
use super::memcache::reply_kind as memcache;
use super::messages::About;
use super::native::reply_kind as native;
use super::push;
use super::refused::Refused;
use super::resp::reply_kind as resp;
use super::tracking::Tracking;
use super::walk::Over;
use super::wish::Wish;
use crate::observed::Sees;
use torc_engine::command::{Command, Expiry, Millis, WriteMode};

/// One step of a request, in the order of the connection.
#[derive(Debug)]
pub struct Part<'a> {
    pub work: Work<'a>,
    /// How to answer, for [`Session::compose`](super::Session::compose): plain data of the session that parsed it.
    pub reply: ReplyKind,
    /// Bytes of the request that the answer repeats (meta flags, opaque ids); copied if the part waits.
    pub echo: &'a [u8],
    /// A native change that must be done once: session identity and number of the change.
    pub once: Option<Once>,
}

impl Part<'_> {
    /// Whether it stands behind other parts of a command that changes several keys, and whose answer tells of no value: what becomes of
    /// these keys can be told together.
    #[inline]
    pub fn is_more_of_a_change(&self) -> bool {
        matches!(self.reply, ReplyKind::Resp(reply) if reply.is_more_of_a_change())
    }

    /// Of a part that may change something: when it is to be answered, and whether it may have been done before.
    pub fn wished(&self) -> Option<(Wish, bool)> {
        let changes = match &self.work {
            Work::Keyed(command) => command.op.changes(),
            Work::Joint { joint, .. } => joint.changes(),
            work => {
                work.ends_value()
                    || matches!(
                        work,
                        Work::Flush { .. }
                            | Work::Databases(_)
                            | Work::Transaction { .. }
                            | Work::Script { .. }
                    )
            }
        };
        changes.then(|| (self.reply.wish(), self.once.is_some()))
    }
}

/// What the worker does for a part.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// For the shard that owns the key.
    Keyed(Command<'a>),
    /// The head of a value too long to be buffered: `command` is a `Write` or `SetRange` whose body is still empty. `bytes`
    /// of value follow as `ValueData`, then one `ValueEnd` (which gets the answer) or `ValueAbort`.
    ValueBegin {
        command: Command<'a>,
        bytes: u64,
    },
    ValueData(&'a [u8]),
    ValueEnd,
    /// As `ValueEnd`, for a command whose options come behind the value (Redis' SET): they replace those of
    /// the `Write` of `ValueBegin`. It gets the answer.
    ValueEndWith {
        mode: WriteMode,
        expiry: Expiry,
        want_old: bool,
    },
    /// The value ended wrongly (no line end behind it); nothing is stored. The reply kind says what to answer.
    ValueAbort,
    /// Databases are flushed or swapped, in every shard.
    Databases(DatabasesChange),
    /// Whether the key changes from here on decides about the connection's next transaction.
    Watch {
        database: u16,
        key: &'a [u8],
    },
    /// It decides no more.
    Unwatch,
    /// What the session has queued is run together: see [`Session::take_transaction`](super::Session::take_transaction).
    Transaction {
        /// Some of it may change something, or sends a message.
        changes: bool,
    },
    /// A command about several keys, which is done as one.
    Joint {
        joint: Joint,
        database: u16,
        /// As [`torc_engine::words`]: keys and their values; or the key of the item, and the one that it gets; or keys alone.
        words: &'a [u8],
    },
    /// A script.
    Script {
        script: Script,
        database: u16,
        /// As [`torc_engine::words`]: its text or digits, its keys, its arguments.
        words: &'a [u8],
    },
    /// Every shard forgets everything, at once or from `at` on.
    Flush {
        at: Option<Millis>,
    },
    /// One step over the keys of one shard; the cursor names the shard.
    Scan {
        database: u16,
        cursor: u64,
        count: u32,
    },
    /// Something of all shards, a step at a time.
    Walk {
        database: u16,
        over: Over,
    },
    /// The connection's bytes go through shared memory from the answer on, which comes when nothing else is due to the client.
    Attach {
        /// It can read shards itself.
        reads: bool,
    },
    /// The connection's bytes go by a queue pair behind the answer, which comes when nothing else is due to the client.
    Pair {
        /// A [`PairEnd`](torc_proto::native::PairEnd).
        client: &'a [u8],
    },
    /// What a client may read of this shard itself by RDMA.
    Reads {
        /// A [`ReadsAsked`](torc_proto::native::ReadsAsked).
        asked: &'a [u8],
    },
    /// What the client tells of reads of its own.
    Told(Told, &'a [u8]),
    /// The client is shown what others do, or no more.
    Monitor {
        sees: Option<Sees>,
    },
    /// Nothing, for so long; others wait meanwhile.
    Sleep {
        ms: u64,
    },
    /// The client proves who it is; nothing behind it is parsed before its session has heard
    /// [what came of that](super::Session::entered).
    Enter {
        user: &'a [u8],
        password: &'a [u8],
    },
    /// About channels and their messages. `name`: of the channel, or a pattern, or several names as
    /// [`torc_engine::words`].
    Messages {
        about: About,
        name: &'a [u8],
        message: &'a [u8],
    },
    /// About keys of which the client keeps copies. `prefixes`: as [`torc_engine::words`].
    Tracking {
        asked: Tracking,
        prefixes: &'a [u8],
    },
    /// Nothing for a shard: `compose` is called with [`Answer::Local`](super::answer::Answer::Local) and `echo` holds the frame.
    Local,
    /// Answer what is due, then close the connection. `compose` is called first, as for `Local`.
    Close,
}

/// What a client can tell of its own reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A value of [`Accesses`](torc_proto::native::Accesses).
    Accesses,
    /// A value of [`Doubts`](torc_proto::native::Doubts).
    Doubts,
}

impl Work<'_> {
    /// The database that it is about; 0 if it is about none.
    pub fn database(&self) -> u16 {
        match self {
            Work::Keyed(command) | Work::ValueBegin { command, .. } => command.database,
            Work::Scan { database, .. }
            | Work::Walk { database, .. }
            | Work::Watch { database, .. }
            | Work::Joint { database, .. }
            | Work::Script { database, .. } => *database,
            _ => 0,
        }
    }

    /// A session that has chosen a database says so of what it has parsed.
    pub fn set_database(&mut self, chosen: u16) {
        match self {
            Work::Keyed(command) | Work::ValueBegin { command, .. } => command.database = chosen,
            Work::Scan { database, .. }
            | Work::Walk { database, .. }
            | Work::Watch { database, .. }
            | Work::Joint { database, .. }
            | Work::Script { database, .. }
            | Work::Databases(DatabasesChange::Flush { database }) => *database = chosen,
            _ => {}
        }
    }

    /// Whether it is the end of a long value that is to be stored.
    #[inline]
    pub fn ends_value(&self) -> bool {
        matches!(self, Work::ValueEnd | Work::ValueEndWith { .. })
    }
}

/// How a script is named, and what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// By the digits of its digest, not by its text.
    pub by_digits: bool,
    /// It may change nothing.
    pub read_only: bool,
    /// How many of the words behind its name are keys.
    pub keys: u32,
}

/// What becomes of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabasesChange {
    /// This one is empty.
    Flush { database: u16 },
    /// They have each other's keys.
    Swap { one: u16, other: u16 },
}

/// Identity of a change that a client may send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Once {
    pub session: u64,
    pub number: u64,
    /// It was sent before: the outcome may be on record.
    pub repeat: bool,
}

/// How an answer is written: data of the session that asked, copied freely.
#[derive(Debug, Clone, Copy)]
pub enum ReplyKind {
    Resp(resp::ReplyKind),
    Memcache(memcache::ReplyKind),
    Native(native::ReplyKind),
    /// The client speaks a protocol that is not served: it is told so.
    Refused(Refused),
    /// A step of a command that is done in several: no client sees the answer.
    Step,
    /// No answer, but a push that waited behind answers; the echo holds its bytes.
    Push(push::About),
}

impl ReplyKind {
    /// Until when the part may be begun. Parsing has checked it; it is checked again for a part that had to wait.
    #[inline]
    pub fn deadline(&self) -> Deadline {
        match self {
            ReplyKind::Native(reply) => reply.deadline(),
            _ => Deadline::NONE,
        }
    }

    /// What was asked, as far as that can be told from the answer's kind, the key and the echo; `None`: no client has asked it, or it is
    /// not to be shown.
    pub fn words(&self, key: &[u8], echo: &[u8]) -> Option<Vec<Vec<u8>>> {
        let verb = match self {
            ReplyKind::Resp(reply) if reply.is_whole() => return Some(reply.request(echo)),
            ReplyKind::Resp(reply) if reply.is_queued() => return None,
            ReplyKind::Resp(reply) => reply.verb(),
            ReplyKind::Memcache(reply) => reply.verb(),
            ReplyKind::Native(reply) => reply.verb(),
            ReplyKind::Refused(_) | ReplyKind::Step | ReplyKind::Push(_) => return None,
        };
        let words = [verb.as_bytes(), key].into_iter().filter(|word| !word.is_empty());
        Some(words.map(<[u8]>::to_vec).collect())
    }

    /// When a change is to be answered.
    #[inline]
    pub fn wish(&self) -> Wish {
        match self {
            ReplyKind::Native(reply) => reply.wish(),
            _ => Wish::AsSet,
        }
    }
}
