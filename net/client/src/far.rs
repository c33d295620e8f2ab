//! Gets that the asking thread answers itself by READs of a shard on another machine.
//!
//! ```text
//!   I/O thread   a connection over RDMA is ready -> an end to read by -> asks what may be read, and hands the answer over
//!   get          takes the answer over; reads; when the lease is half over it has the I/O thread ask again
//! ```
//!
//! There is one end for each shard, as the server has one queue pair for each connection. Its lock is tried, not waited for: who finds
//! it taken asks. So leases are renewed only while something is read, and the I/O thread waits for no READ.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use torc_proto::native::{Op, ReadCounts, ReadsAsked, ReadsGiven, Status, Topology};
use torc_proto::slot::slot_of;
use torc_rdma::Local;
use torc_rdma::connect::first;
use torc_rdma::reads::{Look, ReadEnd};
use torc_rdma::verbs::device::Device;

/// An end that has failed is replaced so long after it was made, doubled with each that fails up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The ends of all connections.
#[derive(Debug, Default)]
pub(crate) struct Far {
    readable: RwLock<Readable>,
    /// Of ends that are gone.
    past: Mutex<ReadCounts>,
}

/// What gets go by.
#[derive(Debug, Default)]
struct Readable {
    topology: Topology,
    /// Longest key of this server.
    key_bytes_max: usize,
    /// By shard.
    ends: Vec<Option<Arc<End>>>,
}

/// An end, as threads that ask share it with the I/O thread.
#[derive(Debug)]
pub(crate) struct End {
    /// The connection is gone: nothing is answered any more.
    is_over: AtomicBool,
    /// It is of no use, and is to be replaced.
    is_broken: AtomicBool,
    /// The server is being asked.
    is_asking: AtomicBool,
    /// What it is to be asked.
    asks: Mutex<Option<ReadsAsked>>,
    /// What it has answered, and when it was asked.
    answer: Mutex<Option<(ReadsGiven, Instant)>>,
    reader: Mutex<ReadEnd<Device>>,
    counts: Mutex<ReadCounts>,
}

/// What the I/O thread has of a connection over RDMA.
#[derive(Debug)]
pub(crate) struct FarPeer {
    end: Option<Arc<End>>,
    made_at: Instant,
    failures: u32,
    /// The server lets nobody read, as long as the connection lasts.
    is_refused: bool,
}

/// How a look ends.
pub(crate) enum Looked<R> {
    Answered(R),
    /// The server is to be asked for the key.
    Ask,
    /// The same, and the I/O thread has something to do.
    AskAndWake,
    AnsweredAndWake(R),
}

impl Far {
    /// Looks a key up; `is_free`: no command on it is without an answer.
    pub(crate) fn get<R>(
        &self,
        key: &[u8],
        is_free: impl FnOnce() -> bool,
        reply: impl FnOnce(&Look<'_>) -> Option<R>,
    ) -> Looked<R> {
        let Some(end) = self.end_of(key) else { return Looked::Ask };
        let mut reader = match end.reader.try_lock() {
            Ok(reader) => reader,
            Err(std::sync::TryLockError::Poisoned(reader)) => reader.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return Looked::Ask,
        };
        end.take_answer(&mut reader);
        let found = if is_free() {
            reader.get(0, key, |look| reply(&look)).ok().flatten()
        } else {
            reader.ask_in_order();
            None
        };
        *lock(&end.counts) = reader.counts();
        let has_work = end.is_to_be_served(&reader);
        drop(reader);
        // Acquire: whoever has seen an answer of the next connection sees this.
        let found = found.filter(|_| !end.is_over.load(Ordering::Acquire));
        match (found, has_work) {
            (Some(found), false) => Looked::Answered(found),
            (Some(found), true) => Looked::AnsweredAndWake(found),
            (None, false) => Looked::Ask,
            (None, true) => Looked::AskAndWake,
        }
    }

    fn end_of(&self, key: &[u8]) -> Option<Arc<End>> {
        let readable = self.readable.read().unwrap_or_else(PoisonError::into_inner);
        let owner = readable.topology.owner(slot_of(key)).filter(|_| key.len() <= readable.key_bytes_max)?;
        readable.ends.get(usize::from(owner))?.clone()
    }

    /// Gives the requests that tell the server of reads. An end that reads right now tells later.
    pub(crate) fn tell(&self, mut request: impl FnMut(Op, Vec<u8>)) {
        for end in self.ends() {
            if let Ok(mut reader) = end.reader.try_lock() {
                reader.tell(&mut request);
            }
        }
    }

    pub(crate) fn counts(&self) -> ReadCounts {
        let past = *lock(&self.past);
        self.ends().iter().fold(past, |all, end| all.plus(&lock(&end.counts)))
    }

    /// Whether anything can be read.
    pub(crate) fn is_open(&self) -> bool {
        !self.ends().is_empty()
    }

    fn ends(&self) -> Vec<Arc<End>> {
        let readable = self.readable.read().unwrap_or_else(PoisonError::into_inner);
        readable.ends.iter().flatten().cloned().collect()
    }

    fn show(&self, shard: u16, end: &Arc<End>, (topology, key_bytes_max): (&Topology, u32)) {
        let mut readable = self.readable.write().unwrap_or_else(PoisonError::into_inner);
        let place = usize::from(shard);
        // A server that tells of a shard which its map does not have is not believed.
        if topology.shards.iter().any(|known| known.shard == shard) {
            let ends = readable.ends.len().max(place + 1);
            readable.ends.resize_with(ends, || None);
            readable.ends[place] = Some(end.clone());
            (readable.topology, readable.key_bytes_max) = (topology.clone(), key_bytes_max as usize);
        }
    }

    fn hide(&self, end: &Arc<End>) {
        end.is_over.store(true, Ordering::Release);
        let mut readable = self.readable.write().unwrap_or_else(PoisonError::into_inner);
        for place in &mut readable.ends {
            if place.as_ref().is_some_and(|other| Arc::ptr_eq(other, end)) {
                *place = None;
                let mut past = lock(&self.past);
                *past = past.plus(&lock(&end.counts));
            }
        }
    }
}

impl End {
    fn take_answer(&self, reader: &mut ReadEnd<Device>) {
        if let Some((given, asked_at)) = lock(&self.answer).take() {
            if reader.given(&given, asked_at).is_err() {
                self.is_broken.store(true, Ordering::Relaxed);
            }
            self.is_asking.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the I/O thread has something to do, which it is left here.
    fn is_to_be_served(&self, reader: &ReadEnd<Device>) -> bool {
        if reader.is_broken() {
            return !self.is_broken.swap(true, Ordering::Relaxed);
        }
        let is_due = reader.asks_at() <= Instant::now();
        let asks = is_due && !self.is_asking.swap(true, Ordering::Relaxed);
        if asks {
            *lock(&self.asks) = Some(reader.asked());
        }
        asks
    }
}

impl FarPeer {
    pub(crate) fn new(now: Instant) -> FarPeer {
        FarPeer { end: None, made_at: now, failures: 0, is_refused: false }
    }

    /// What the server is to be asked now; makes an end if there is none, or if it has failed.
    pub(crate) fn asks(&mut self, local: &Local, far: &Far, now: Instant) -> Option<ReadsAsked> {
        if self.is_refused {
            return None;
        }
        if let Some(end) = &self.end
            && end.is_broken.load(Ordering::Relaxed)
        {
            far.hide(end);
            self.end = None;
            self.failures += 1;
        }
        if let Some(end) = &self.end {
            return lock(&end.asks).take();
        }
        let pause = PAUSE_MIN * 2u32.pow(self.failures.saturating_sub(1).min(16));
        if self.failures > 0 && now < self.made_at + pause.min(PAUSE_MAX) {
            return None;
        }
        self.made_at = now;
        let Ok(reader) = ReadEnd::new(&local.device, &local.domain, &local.place, first()) else {
            self.failures += 1;
            return None;
        };
        let asked = reader.asked();
        self.end = Some(Arc::new(End {
            is_over: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            is_asking: AtomicBool::new(true),
            asks: Mutex::default(),
            answer: Mutex::default(),
            reader: Mutex::new(reader),
            counts: Mutex::default(),
        }));
        Some(asked)
    }

    /// The server has answered what it was asked at `asked_at`, or refused it.
    pub(crate) fn answered(
        &mut self,
        given: Result<ReadsGiven, Status>,
        asked_at: Instant,
        far: &Far,
        server: (&Topology, u32),
    ) {
        let Some(end) = &self.end else { return };
        match given {
            Ok(given) => {
                if given.lease_ms > 0 {
                    self.failures = 0;
                }
                let shard = given.shard;
                *lock(&end.answer) = Some((given, asked_at));
                far.show(shard, end, server);
            }
            Err(status) => {
                // Of what others use up there may be some later.
                self.is_refused = status == Status::NotSupported;
                self.failures += 1;
                self.end(far);
            }
        }
    }

    /// The connection is gone. No get is answered by its end when this returns.
    pub(crate) fn end(&mut self, far: &Far) {
        if let Some(end) = self.end.take() {
            far.hide(&end);
        }
    }
}

/// No panic can happen under these locks, so a poisoned one holds a whole state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
