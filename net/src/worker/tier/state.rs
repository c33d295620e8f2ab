//! What a worker has of the tier.

use crate::session::Deadline;
use crate::tier::{Durability, Port, SaveBatch, Told};
use crate::transport::ConnId;
#[cfg(test)]
use crate::worker::bug::Bugs;
use crate::worker::mail::Batch;
use crate::worker::step::{Scanner, Step};
use std::collections::{BTreeMap, HashMap, VecDeque};
use torc_engine::Shard;
use torc_engine::command::{Millis, Ticket};
use torc_engine::shard::{Again, Chunk, Returning};

/// Share of a shard's memory that may be changed and not handed over: what is evicted before is lost to the tier.
pub(super) const UNTAKEN_SHARE: u64 = 32;
/// Changes are handed over before it is time when they take this share of what they may: as late as that, for a key that changes
/// often is written once.
pub(super) const SAVE_AT_SHARE: u64 = 2;
/// What is offered is not handed over before there is so much of it, bytes, or it is time.
const OFFERED_AT: u64 = 256 << 10;
/// Share of the interval after which what has changed is handed over.
const SAVE_SHARE: u32 = 4;
/// Changes that are not saved take this share of a shard's memory at most; one takes so many bytes.
const UNSAVED_SHARE: u64 = 64;
pub(super) const UNSAVED_BYTES: u64 = 64;
const UNSAVED_MIN: u64 = 4096;

/// Changes that may be unsaved in a shard with so much memory.
pub(super) fn unsaved_max(memory_bytes: u64) -> usize {
    (memory_bytes / UNSAVED_SHARE / UNSAVED_BYTES).max(UNSAVED_MIN) as usize
}

/// How often what was offered is handed over, if it does not become much before; milliseconds.
const DEMOTE_EVERY_MS: Millis = 100;

/// An item that is being fetched.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// It is brought back to DRAM: somebody asks for more than its key.
    pub(super) is_wanted: bool,
    pub(super) waiting: Vec<ConnId>,
    pub(super) scanning: Vec<Scanner>,
}

/// Whose answers wait until changes are saved.
#[derive(Debug)]
pub(super) enum Unanswered {
    Client(ConnId),
    Batch(u16, Box<Batch>),
}

/// What a worker has of the tier.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(super) port: Port,
    pub(super) save_every_ms: Millis,
    /// Changes are answered when they are saved.
    pub(super) is_always: bool,
    /// Only what eviction would drop is handed over.
    pub(super) demotes: bool,
    /// What lies in memory alone was offered, or has to stay there.
    pub(super) is_rest_offered: bool,
    /// The tier knows that it is being offered; of how many slots it takes no more of that.
    pub(super) is_rest_begun: bool,
    pub(super) slots_full: usize,
    /// Everything that was taken up to here is saved.
    pub(super) saved_up_to: u64,
    /// Answers that wait for that, by what they wait for.
    pub(super) unanswered: VecDeque<(u64, Unanswered)>,
    /// How many changes had been counted when the tier was seen to have failed.
    pub(super) counted: u64,
    pub(super) unsaved_max: usize,
    pub(super) untaken_max: u64,
    /// Untaken bytes at which changes are handed over before it is time.
    pub(super) save_bytes_at: u64,
    /// When it was time last, and what had changed then.
    pub(super) saved_at: Millis,
    pub(super) due_up_to: u64,
    /// Items that were written over and have not let others stay; below 0: more stayed.
    pub(super) left: isize,
    /// Batches that are being saved, and those that are not in use.
    pub(super) saving: usize,
    // Boxed as they travel.
    #[allow(clippy::vec_box)]
    pub(super) spare: Vec<Box<SaveBatch>>,
    /// What the tier holds is being told.
    pub(super) learning: Learning,
    /// Reads of what is not known yet wait.
    pub(super) reads_wait: bool,
    /// By place: what is being fetched, and for whom.
    pub(super) fetching: HashMap<u64, Fetching>,
    pub(super) returns: Returns,
    /// Connections whose changes wait until others are saved, or whose scans until others are done.
    pub(super) holding: Vec<ConnId>,
    /// By lane: the step of a scan at which its first batch has stopped.
    pub(super) steps: Vec<Option<Step>>,
    pub(super) is_ended: bool,
    pub(super) standing: Standing,
    pub(super) unknown: Unknown,
    #[cfg(test)]
    pub(in crate::worker) bugs: Bugs,
}

/// Who waits until more is known of what the tier holds: see `know.rs`.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    /// By hash of the key.
    pub(super) keys: BTreeMap<u64, Vec<ConnId>>,
    /// Those among them whose commands are not done after a time.
    pub(super) deadlines: Vec<(Deadline, ConnId)>,
    /// Who walks all keys.
    pub(super) scans: Vec<ConnId>,
}

/// How far a shard has come with a tier that has failed: see `rearm.rs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    InUse,
    /// It is out of use; places of hashes from this one on are to be forgotten.
    Leaving(u64),
    /// Nothing of it is named any more.
    Left,
    /// It is in use again, and is told what lies in DRAM.
    Refilling(Again),
    /// They are told, and safe when everything is that was counted up to here.
    Refilled(u64),
}

impl Standing {
    /// Whether there is something in memory that the tier does not have, though nothing has changed.
    pub(super) fn is_refilling(self) -> bool {
        matches!(self, Standing::Refilling(_) | Standing::Refilled(_))
    }
}

impl Tier {
    pub(crate) fn new(
        port: Port,
        (durability, reads_wait): (Durability, bool),
        memory_bytes: u64,
        shards: u16,
    ) -> Tier {
        Tier {
            port,
            save_every_ms: match durability {
                Durability::Interval(interval) => ((interval / SAVE_SHARE).as_millis() as Millis).max(1),
                Durability::Always => 0,
                Durability::None => DEMOTE_EVERY_MS,
            },
            is_always: durability == Durability::Always,
            demotes: durability == Durability::None,
            is_rest_offered: false,
            is_rest_begun: false,
            slots_full: 0,
            saved_up_to: 0,
            unanswered: VecDeque::new(),
            counted: 0,
            unsaved_max: unsaved_max(memory_bytes),
            // Under `none` what is not handed over in time is dropped.
            untaken_max: if durability == Durability::None { u64::MAX } else { memory_bytes / UNTAKEN_SHARE },
            save_bytes_at: if durability == Durability::None {
                OFFERED_AT
            } else {
                memory_bytes / UNTAKEN_SHARE / SAVE_AT_SHARE
            },
            saved_at: 0,
            due_up_to: 0,
            left: 0,
            saving: 0,
            spare: Vec::new(),
            learning: Learning::default(),
            reads_wait,
            fetching: HashMap::new(),
            returns: Returns::default(),
            holding: Vec::new(),
            steps: (0..2 * shards).map(|_| None).collect(),
            is_ended: false,
            standing: Standing::default(),
            unknown: Unknown::default(),
            #[cfg(test)]
            bugs: Bugs::default(),
        }
    }
}

impl Tier {
    /// Whether nothing is under way that the tier's threads would have to answer.
    pub(super) fn is_idle(&self) -> bool {
        let Returns { under_way, waiting, .. } = &self.returns;
        self.saving == 0 && self.fetching.is_empty() && under_way.is_empty() && waiting.is_empty()
    }

    /// Whatever somebody waits for, or holds memory for, and how much of it there is.
    #[cfg(test)]
    pub(in crate::worker) fn under_way(&self) -> [(&'static str, u64); 8] {
        let Tier { fetching, returns, holding, steps, unknown, unanswered, saving, .. } = self;
        [
            ("items that are fetched", fetching.len()),
            ("values that come back", returns.under_way.len() + returns.waiting.len()),
            ("chunks that come back", returns.chunks.len()),
            ("connections that are held", holding.len()),
            ("steps of scans", steps.iter().flatten().count()),
            ("keys that somebody waits to know", unknown.keys.len() + unknown.scans.len()),
            ("answers that are not safe", unanswered.len()),
            ("batches that are being saved", *saving),
        ]
        .map(|(what, count)| (what, count as u64))
    }

    #[cfg(test)]
    pub(in crate::worker) fn saved_up_to(&self) -> u64 {
        self.saved_up_to
    }

    /// Hands a batch of changes over.
    pub(super) fn hand_over(&mut self, shard: &mut Shard, now: Millis) {
        let mut batch = self.spare.pop().unwrap_or_default();
        shard.take_unsaved(|unsaved| batch.take(&unsaved));
        #[cfg(test)]
        self.bugs.spoil(&mut batch);
        batch.up_to = shard.taken_up_to();
        batch.handed_at = now;
        self.port.save(batch);
        self.saving += 1;
    }
}

/// What a shard is being told.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// The rest of it, from this number on.
    pub(super) rest: Option<(Told, usize)>,
    /// There is more than a turn takes.
    pub(super) has_more: bool,
    /// By stream: the position up to which it has been freed since the start.
    pub(super) freed: Vec<u64>,
}

impl Learning {
    /// What a stream tells of what lies below this position does not count any more.
    pub(super) fn leave(&mut self, stream: u16, below: u64) {
        let stream = usize::from(stream);
        self.freed.resize(self.freed.len().max(stream + 1), 0);
        self.freed[stream] = below;
        if let Some((told, from)) = self.rest.take() {
            self.rest = Some((self.without_freed(told, from), 0));
        }
    }

    pub(super) fn without_freed(&self, mut told: Told, from: usize) -> Told {
        told.known.drain(..from);
        let freed = self.freed.get(usize::from(told.stream)).copied().unwrap_or_default();
        told.without_freed(freed)
    }
}

/// What has become of an item that was to be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// What there is to have is there.
    Done,
    /// It was wanted, and could not be had.
    Missed,
    /// It is a long value, whose chunks are fetched now.
    IsComing,
}

/// The long values of a shard that are on their way back.
#[derive(Debug, Default)]
pub(super) struct Returns {
    pub(super) under_way: VecDeque<Returning>,
    /// Chunks that are being fetched, by place, each with the place of its head.
    pub(super) chunks: HashMap<u64, (Ticket, Chunk)>,
    /// Those that wait for others to be back, or for memory, and since when.
    pub(super) waiting: VecDeque<(Millis, Returning)>,
    /// A turn has ended before a medium that is as fast as memory was read to the end.
    pub(super) has_more: bool,
    /// What the shard had given back of pinned memory when the first of those that wait was looked at last, and when that had changed.
    pub(super) pins_given_back: u64,
    pub(super) given_back_at: Millis,
}

impl Returns {
    pub(super) fn position(&self, head: Ticket) -> Option<usize> {
        self.under_way.iter().position(|returning| returning.ticket() == head)
    }
}
