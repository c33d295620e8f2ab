//! What travels between two shards: requests, and the answers beside them.

use crate::session::{Deadline, FreeReply, Inspect, Mode, OfClients, Once, Wish};
use crate::transport::ConnId;
use crate::worker::holds::Grant;
use crate::worker::owned::{Options, OwnedAnswer, strip_op};
use crate::worker::tracking::Tracks;
use torc_engine::command::{Body, Millis, Op, Write};
use torc_engine::segments::{Lent, LentChain};
use torc_engine::shard::Tells;

/// Requests in a batch, at most.
pub(crate) const BATCH_ASKS: usize = 256;
/// Bytes of keys and values in a batch; one request may be longer.
const BATCH_BYTES: usize = 64 << 10;
/// Bytes that the answers of a batch may take together; one may take more.
const BATCH_ROOM: usize = 256 << 10;
/// A batch that comes home with more memory than this gives it back.
pub(super) const BATCH_BYTES_KEPT: usize = 512 << 10;

/// Where an answer goes: a place in a connection's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) conn: ConnId,
    pub(crate) sequence: u32,
}

/// An access to an item that another shard has read without asking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) hash: u64,
    /// Where the item lay.
    pub(crate) location: u64,
}

/// A request; its bytes lie in its [`Batch`].
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) from: Address,
    pub(crate) what: AskWhat<'a>,
    /// The database of the key, or of the keys that are scanned.
    pub(crate) database: u16,
    pub(crate) once: Option<Once>,
    /// How the owner writes the answer.
    pub(crate) reply: Option<FreeReply>,
    /// Tells the answer's words from those of other requests: see [`FreeReply::untagged`].
    pub(crate) tag: u32,
    /// Of the key; 0 for a command without a key.
    pub(crate) hash: u64,
    /// Not begun after it.
    pub(crate) deadline: Deadline,
    /// Bytes that were set aside for the value of its answer.
    pub(crate) room: u32,
    /// When a change is to be answered.
    pub(crate) wish: Wish,
    /// Whether the asker keeps a copy of what it reads.
    pub(crate) tracks: Tracks,
}

/// What is asked, where it is.
#[derive(Debug)]
pub(crate) enum AskWhat<'a> {
    Keyed(&'a Op<'a>),
    Other(What),
}

impl Ask<'_> {
    /// A request in database 0 without number and deadline, whose answer has no value.
    pub(crate) fn plain(from: Address, what: What) -> Ask<'static> {
        let what = AskWhat::Other(what);
        Ask {
            from,
            what,
            database: 0,
            once: None,
            reply: None,
            tag: 0,
            hash: 0,
            deadline: Deadline::NONE,
            room: 0,
            wish: Wish::AsSet,
            tracks: Tracks::No,
        }
    }
}

/// What is asked, apart from key and value: the same for most requests of a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AskKind {
    pub(crate) what: What,
    pub(crate) database: u16,
    pub(crate) once: Option<Once>,
    /// How the owner writes the answer. The asker writes it if this is `None`, or if the answer has lent bytes.
    pub(crate) reply: Option<FreeReply>,
    /// When a change is to be answered.
    pub(crate) wish: Wish,
    /// Whether the asker keeps a copy of what it reads.
    pub(crate) tracks: Tracks,
}

impl AskKind {
    fn of(ask: &Ask<'_>) -> AskKind {
        let what = match ask.what {
            AskWhat::Keyed(op) => What::Keyed(strip_op(*op)),
            AskWhat::Other(what) => what,
        };
        let &Ask { database, once, reply, wish, tracks, .. } = ask;
        AskKind { what, database, once, reply, wish, tracks }
    }

    fn is_of(&self, ask: &Ask<'_>) -> bool {
        let same = match (&self.what, &ask.what) {
            // Reads and writes, which are most, are compared where they are.
            (What::Keyed(Op::Read(own)), AskWhat::Keyed(Op::Read(read))) => own == read,
            (What::Keyed(Op::Write(own)), AskWhat::Keyed(Op::Write(write))) => is_alike(own, write),
            (What::Keyed(own), AskWhat::Keyed(op)) => *own == strip_op(**op),
            (own, AskWhat::Other(what)) => own == what,
            _ => false,
        };
        same && self.database == ask.database
            && self.once == ask.once
            && self.reply == ask.reply
            && self.wish == ask.wish
            && self.tracks == ask.tracks
    }

    fn changes(&self) -> bool {
        match &self.what {
            What::Keyed(op) => op.changes(),
            what => matches!(what, What::UploadEnd(_) | What::Flush { .. } | What::Databases),
        }
    }
}

/// Whether two writes differ in the bytes of their values at most.
fn is_alike(own: &Write<'_>, write: &Write<'_>) -> bool {
    let &Write { mode, value, flags, expiry, compare, token, vivify, invalidate, want_old, leases } = write;
    matches!((own.value, value), (Body::Bytes(_), Body::Bytes(_)))
        && (own.mode, own.flags, own.expiry) == (mode, flags, expiry)
        && (own.compare, own.token, own.vivify) == (compare, token, vivify)
        && (own.invalidate, own.want_old, own.leases) == (invalidate, want_old, leases)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum What {
    Keyed(Op<'static>),
    UploadBegin {
        op: Op<'static>,
        bytes: u64,
    },
    UploadData,
    UploadEnd(Option<Options>),
    UploadAbort,
    /// The client is gone: its value is not to be waited for, and there is no answer.
    UploadForget,
    /// Databases have other spaces: see `databases.rs`.
    Databases,
    /// Keys for a transaction; the sequence number of the address is that of the attempt. There is no answer, but a request that comes
    /// back: `Granted`. `at_once`: it comes back at once.
    Hold {
        at_once: bool,
    },
    Granted(Grant),
    /// Its keys are free again, or not wanted any more. No answer.
    Release,
    Watch,
    /// No answer.
    Unwatch,
    Flush {
        at: Option<Millis>,
    },
    Scan {
        cursor: u64,
        count: u32,
        tells: Tells,
    },
    /// The owner's clients get a message: the key is the channel, the value the message.
    Publish {
        sharded: bool,
    },
    /// The owner's clients are told of a change: the value is the event. There is no answer.
    Notice,
    /// What the owner's clients are subscribed to.
    Inspect(Inspect),
    /// The client that is to be told in place of the asker's: see `tracking/`. The value is the prefixes of that one.
    Target(Mode),
    /// The client that asks is gone: it is not told of keys any more. No answer.
    Untrack,
    /// Clients from a place on: see `clients.rs`.
    Clients {
        place: u32,
        of: OfClients,
        /// Number of the client that asks.
        asker: u64,
    },
}

impl What {
    /// What shards say to each other without an answer.
    pub(crate) fn is_notice(self) -> bool {
        matches!(
            self,
            What::Hold { .. }
                | What::Granted(_)
                | What::Release
                | What::Unwatch
                | What::Notice
                | What::Untrack
        )
    }
}

/// The bytes of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AskBytes<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// What the answer repeats.
    pub(crate) echo: &'a [u8],
}

/// A request in its batch. Small, as it goes from one core's cache to another's and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posted {
    pub(crate) hash: u64,
    pub(crate) from: Address,
    pub(crate) deadline: Deadline,
    pub(crate) tag: u32,
    /// Number of its kind.
    kind: u32,
    /// Where its bytes end, from the start of the batch's.
    key_end: u32,
    value_end: u32,
    echo_end: u32,
}

/// The answer to a request, in the same batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) with: AnsweredWith,
    /// Where its bytes end in the batch's answer bytes.
    pub(crate) end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsweredWith {
    /// No answer (to a slice of a value).
    Nothing,
    /// The bytes are the answer as the client gets it.
    Words,
    /// The next of the batch's owned answers; the bytes are its value.
    Owned,
}

/// An answer that the asker writes, and its value if that is lent, in place of bytes.
pub(crate) type OwnedAnswered = (OwnedAnswer, Option<Box<LentChain>>);

/// Requests of one shard to another, and then their answers.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) asks: Vec<Posted>,
    /// What the requests are; neighbours that are alike share an entry.
    kinds: Vec<AskKind>,
    bytes: Vec<u8>,
    room: usize,
    pub(crate) answers: Vec<Answered>,
    /// In the order of the answers that are not words.
    pub(crate) owned: Vec<OwnedAnswered>,
    pub(crate) answer_bytes: Vec<u8>,
    /// Lent bytes that come home.
    pub(crate) released: Vec<Lent>,
    pub(crate) reports: Vec<Report>,
    /// The sender's time: its clients were shown nothing later.
    pub(crate) now: Millis,
    /// Its changes will not be saved before they are answered, as they should: the answers are not true.
    pub(crate) is_untrue: bool,
    /// Memory that it took when it was sent, bytes. What the answers add is charged to the connections that asked.
    pub(super) sent_bytes: usize,
}

impl Batch {
    /// Whether one more request may be added; the first one always may.
    pub(super) fn takes(&self, bytes: usize, room: usize) -> bool {
        self.asks.is_empty()
            || (self.asks.len() < BATCH_ASKS
                && self.bytes.len() + bytes <= BATCH_BYTES
                && self.room + room <= BATCH_ROOM)
    }

    pub(super) fn add(&mut self, ask: &Ask<'_>, bytes: AskBytes<'_>) {
        self.room += ask.room as usize;
        // Two are looked at, as many clients read and write in turn.
        let near = self.kinds.iter().rev().take(2).position(|kind| kind.is_of(ask));
        let kind = match near {
            Some(back) => self.kinds.len() - 1 - back,
            None => {
                self.kinds.push(AskKind::of(ask));
                self.kinds.len() - 1
            }
        };
        let AskBytes { key, value, echo } = bytes;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(echo);
        let echo_end = self.bytes.len() as u32;
        let value_end = echo_end - echo.len() as u32;
        self.asks.push(Posted {
            hash: ask.hash,
            from: ask.from,
            deadline: ask.deadline,
            tag: ask.tag,
            kind: kind as u32,
            key_end: value_end - value.len() as u32,
            value_end,
            echo_end,
        });
    }

    /// What a request is, by its number.
    #[inline]
    pub(crate) fn kind_of(&self, number: usize) -> &AskKind {
        &self.kinds[self.asks[number].kind as usize]
    }

    /// When the changes among its requests are to be answered.
    pub(crate) fn wished(&self) -> impl Iterator<Item = Wish> + '_ {
        self.kinds.iter().filter(|kind| kind.changes()).map(|kind| kind.wish)
    }

    /// Whether it has nothing but [notices](What::is_notice).
    pub(crate) fn has_only_notices(&self) -> bool {
        self.kinds.iter().all(|kind| kind.what.is_notice())
    }

    /// The bytes of a request by its number.
    #[inline]
    pub(crate) fn bytes_of(&self, number: usize) -> AskBytes<'_> {
        let start = number.checked_sub(1).map_or(0, |before| self.asks[before].echo_end) as usize;
        let Posted { key_end, value_end, echo_end, .. } = self.asks[number];
        let (key_end, value_end, echo_end) = (key_end as usize, value_end as usize, echo_end as usize);
        AskBytes {
            key: &self.bytes[start..key_end],
            value: &self.bytes[key_end..value_end],
            echo: &self.bytes[value_end..echo_end],
        }
    }

    /// A batch of one request.
    #[cfg(test)]
    pub(crate) fn of(ask: Ask<'_>, bytes: AskBytes<'_>) -> Batch {
        let mut batch = Batch::default();
        batch.add(&ask, bytes);
        batch
    }

    /// Answers the next request. An answer that is not in words comes as `owned`.
    pub(crate) fn answered(&mut self, with: AnsweredWith, owned: Option<OwnedAnswered>) {
        self.owned.extend(owned);
        self.answers.push(Answered { with, end: self.answer_bytes.len() as u32 });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asks.is_empty() && self.released.is_empty() && self.reports.is_empty()
    }

    /// Memory that it takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
            + self.answer_bytes.capacity()
            + self.asks.capacity() * size_of::<Posted>()
            + self.kinds.capacity() * size_of::<AskKind>()
            + self.answers.capacity() * size_of::<Answered>()
            + self.owned.capacity() * size_of::<OwnedAnswered>()
            + self.released.capacity() * size_of::<Lent>()
            + self.reports.capacity() * size_of::<Report>()
    }

    pub(super) fn clear(&mut self) {
        if self.capacity() > BATCH_BYTES_KEPT {
            *self = Batch::default();
            return;
        }
        self.asks.clear();
        self.kinds.clear();
        self.bytes.clear();
        self.room = 0;
        self.answers.clear();
        self.owned.clear();
        self.answer_bytes.clear();
        self.released.clear();
        self.reports.clear();
        self.is_untrue = false;
    }
}
