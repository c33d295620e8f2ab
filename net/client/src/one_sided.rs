//! Gets that the asking thread answers itself, out of the shards that the server shares: no thread is woken, and the server is not asked.
//!
//! ```text
//!   get -> no command on the key without an answer? -> look in the mapping -> hit or miss: answered
//!            | (order)                                   | doubt
//!            +-------------------------------------------+--> a request, as without mappings
//! ```
//!
//! The I/O thread maps the shards when its connection over rings is ready, and unmaps them as soon as the socket ends. Threads share
//! a few *lanes*, each with its own counts and its own room for an item. What was read the server is told by requests: by the reading
//! thread when a lane has much to tell, else by the I/O thread, [`TELL_EVERY`] after the first read that is not told.

use crate::call::Reply;
use crate::far::{Far, Looked};
use crate::order::Order;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use torc_proto::native::{AnswerHeader, ItemFacts, ItemMeta, Op, Status, flags, marks};
use torc_shm::reads::{Found, Look, Millis, ReadCounts, Reads, Value};

/// Threads that read at the same time without waiting for each other.
const LANES: usize = 16;
/// The server is told of reads at least so often.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(1);
/// What a get may ask for, to be answered here.
const FLAGS: u16 = flags::WANT_META | flags::PEEK | flags::NO_VALUE;

/// A client's gets that were tried in memory that the server shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneSidedReads {
    /// Whether gets are tried there now.
    pub active: bool,
    /// Why not, if the shards could not be mapped.
    pub why_not: Option<String>,
    /// Gets answered there, with an item and without.
    pub hits: u64,
    pub misses: u64,
    /// Gets that the server was asked for all the same, by cause: `index` and `gone` are checks that failed, as something was changing
    /// there; `order` is an earlier command on the key without an answer; the others are what a reader cannot decide.
    pub asked: Vec<(&'static str, u64)>,
}

/// A request that tells the server of reads.
pub(crate) type Told = (Op, Vec<u8>);

#[derive(Debug)]
pub(crate) struct OneSided {
    pub(crate) order: Arc<Order>,
    lanes: [Lane; LANES],
    origin: Mutex<Origin>,
    /// There are mappings.
    open: AtomicBool,
    /// Something was read that the server was not told of.
    untold: AtomicBool,
    /// Shards that are read by RDMA.
    pub(crate) far: Far,
    is_far: AtomicBool,
    /// The I/O thread has something to do for them.
    far_work: AtomicBool,
}

/// What lanes get theirs from.
#[derive(Debug, Default)]
struct Origin {
    mapped: Option<Mapped>,
    why_not: Option<String>,
}

#[derive(Debug, Clone)]
struct Mapped {
    reads: Reads,
    /// Longest key of this server.
    key_bytes_max: usize,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(Mutex<LaneState>);

#[derive(Debug, Default)]
struct LaneState {
    mapped: Option<Mapped>,
    /// Of mappings that are gone.
    past: ReadCounts,
}

impl OneSided {
    pub(crate) fn new(seed: u64) -> OneSided {
        OneSided {
            order: Arc::new(Order::new(seed)),
            lanes: std::array::from_fn(|_| Lane::default()),
            origin: Mutex::default(),
            open: AtomicBool::new(false),
            untold: AtomicBool::new(false),
            far: Far::default(),
            is_far: AtomicBool::new(false),
            far_work: AtomicBool::new(false),
        }
    }

    /// Gets are tried here from now on; or are not, and why.
    pub(crate) fn map(&self, reads: Result<Reads, String>, key_bytes_max: u32) {
        self.unmap();
        let mut origin = lock(&self.origin);
        match reads {
            Ok(reads) => {
                let key_bytes_max = key_bytes_max as usize;
                *origin = Origin { mapped: Some(Mapped { reads, key_bytes_max }), why_not: None };
                self.open.store(true, Ordering::Release);
            }
            Err(why) => origin.why_not = Some(why),
        }
    }

    /// The connection has ended: the mappings go. No get is answered from them when this returns.
    pub(crate) fn unmap(&self) {
        self.open.store(false, Ordering::Release);
        // First, so that no lane gets another one.
        *lock(&self.origin) = Origin::default();
        for lane in &self.lanes {
            let mut lane = lock(&lane.0);
            if let Some(mapped) = lane.mapped.take() {
                lane.past = lane.past.plus(&mapped.reads.counts());
            }
        }
    }

    /// Whether gets are tried here.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire) || self.is_far.load(Ordering::Acquire)
    }

    /// What can be read by RDMA is other than before.
    pub(crate) fn note_far(&self) {
        self.is_far.store(self.far.is_open(), Ordering::Release);
    }

    /// Whether the I/O thread has something to do for reads by RDMA, which nobody has told it.
    #[inline]
    pub(crate) fn takes_work(&self) -> bool {
        self.far_work.load(Ordering::Relaxed) && self.far_work.swap(false, Ordering::SeqCst)
    }

    /// Answers a get by READs, if it can be.
    fn get_far(&self, key: &[u8], get_flags: u16) -> Option<Reply> {
        if get_flags & flags::PEEK != 0 || key.is_empty() {
            return None;
        }
        // How long an item lives is known but to the clocks' error.
        let reply = |look: &Look<'_>| match look {
            Look::Hit { found, .. } if get_flags & flags::WANT_META != 0 && found.meta.expiry.is_some() => {
                None
            }
            look => reply(look, 0, get_flags),
        };
        let (reply, has_work) = match self.far.get(key, || self.order.is_free(key), reply) {
            Looked::Answered(reply) => (Some(reply), false),
            Looked::AnsweredAndWake(reply) => (Some(reply), true),
            Looked::Ask => (None, false),
            Looked::AskAndWake => (None, true),
        };
        if has_work {
            self.far_work.store(true, Ordering::SeqCst);
        }
        reply
    }

    /// Answers a get, if it can be answered here; whatever is to be told to the server now is put into `told`.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], get_flags: u16, told: &mut Vec<Told>) -> Option<Reply> {
        if get_flags & !FLAGS != 0 {
            return None;
        }
        if !self.open.load(Ordering::Acquire) {
            return self.get_far(key, get_flags);
        }
        let mut lane = self.lane();
        if lane.mapped.is_none() {
            lane.mapped.clone_from(&lock(&self.origin).mapped);
        }
        let Mapped { reads, key_bytes_max } = lane.mapped.as_mut()?;
        if key.is_empty() || key.len() > *key_bytes_max {
            return None;
        }
        if !self.order.is_free(key) {
            reads.ask_in_order();
            return None;
        }
        let look = if get_flags & flags::PEEK == 0 { reads.get(0, key) } else { reads.peek(0, key) };
        let reply = look.ok().and_then(|(look, now)| reply(&look, now, get_flags));
        if reads.has_much_to_tell() {
            reads.tell(|op, value| told.push((op, value)));
        }
        reply
    }

    /// Notes that something was tried. True: nobody has noted it yet, so the I/O thread must hear of it.
    #[inline]
    pub(crate) fn note_untold(&self) -> bool {
        !self.untold.load(Ordering::Relaxed) && !self.untold.swap(true, Ordering::SeqCst)
    }

    /// Whether there is something to tell.
    pub(crate) fn is_untold(&self) -> bool {
        self.untold.load(Ordering::SeqCst)
    }

    /// All that is to be told.
    pub(crate) fn tell(&self) -> Vec<Told> {
        let mut told = Vec::new();
        self.untold.store(false, Ordering::SeqCst);
        for lane in &self.lanes {
            if let Some(mapped) = &mut lock(&lane.0).mapped {
                mapped.reads.tell(|op, value| told.push((op, value)));
            }
        }
        self.far.tell(|op, value| told.push((op, value)));
        told
    }

    pub(crate) fn counts(&self) -> OneSidedReads {
        let mut all = self.far.counts();
        for lane in &self.lanes {
            let lane = lock(&lane.0);
            let now = lane.mapped.as_ref().map(|mapped| mapped.reads.counts()).unwrap_or_default();
            all = all.plus(&lane.past).plus(&now);
        }
        OneSidedReads {
            active: self.is_open(),
            why_not: lock(&self.origin).why_not.clone(),
            hits: all.hits,
            misses: all.misses,
            asked: all.causes().collect(),
        }
    }

    /// The lane of this thread, or another one that is free, so that a thread which was interrupted keeps nobody waiting.
    #[inline]
    fn lane(&self) -> MutexGuard<'_, LaneState> {
        let own = thread_number();
        for step in 0..LANES {
            match self.lanes[(own + step) % LANES].0.try_lock() {
                Ok(lane) => return lane,
                Err(TryLockError::Poisoned(lane)) => return lane.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        lock(&self.lanes[own % LANES].0)
    }
}

/// No panic can happen under these locks, so a poisoned one holds a whole state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads in the order of their first read.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.try_with(|number| *number).unwrap_or_default()
}

/// The answer that the server would give; `None`: it has to be asked.
#[inline]
fn reply(look: &Look<'_>, now: Millis, get_flags: u16) -> Option<Reply> {
    let header = AnswerHeader { op: Op::Get as u8, status: Status::Miss as u8, ..AnswerHeader::default() };
    let Look::Hit { found: Found { meta, value: Value::Inline(bytes) }, .. } = look else {
        let is_hit = matches!(look, Look::Hit { .. });
        return (!is_hit).then_some(Reply { header, facts: ItemFacts::default(), value: Vec::new() });
    };
    let mut value = Vec::new();
    if get_flags & flags::NO_VALUE == 0 {
        bytes.append_to(&mut value);
    }
    let item = (get_flags & flags::WANT_META != 0).then(|| ItemMeta {
        remaining_ms: meta.expiry.map(|expiry| expiry.saturating_sub(now)),
        value_bytes: meta.value_bytes,
        version: meta.version,
    });
    let header = AnswerHeader {
        status: Status::Ok as u8,
        marks: if meta.fetched { marks::FETCHED } else { 0 },
        token: meta.token,
        ..header
    };
    Some(Reply { header, facts: ItemFacts { client_flags: meta.flags, item, access_age_s: None }, value })
}
