//! The threads that read what a tier holds, while shards serve.
//!
//! Where the streams end is found before anything else, so that they can be written at once. Then each stream is read from its
//! end backwards: its tables, not its items. What a table says of a key is told to the shard that has the key now, in the order
//! of reading. All records of a key lie in one stream, in the order of their versions, so the first that a shard is told counts:
//! see [`torc_engine::Shard::recover`].
//!
//! A stream that is full frees its oldest batches meanwhile. The shards forget their places as always, and take nothing that is
//! told of these batches from then on: see [`Told::without_freed`].

use super::TierFigures;
use super::mailbox::Mailbox;
use super::messages::Told;
use crate::clock::Clock;
use crate::slots::SlotMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use torc_engine::command::Millis;
use torc_engine::shard::Known;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::media::MediaError;
use torc_pmem::recover::{Event, Found, Journaled, Positions};
use torc_pmem::tier::Tier;
use torc_proto::slot::SLOTS;

/// What is told at a time: little enough that a shard soon has what was read.
const TOLD_MAX: usize = 4096;

/// Finds where all streams end, and what their journals have alone.
///
/// # Errors
/// The medium's.
pub(super) fn find_all(tier: &Tier) -> Result<Vec<(Found, Option<Journaled>)>, MediaError> {
    let (next, streams) = (AtomicUsize::new(0), usize::from(tier.config().streams));
    let find = || {
        let streams = std::iter::from_fn(|| Some(next.fetch_add(1, Relaxed)).filter(|next| *next < streams));
        let look = |stream: usize| {
            let found = tier.find(stream as u16)?;
            Ok((found, tier.journaled(&found)?))
        };
        streams.map(look).collect::<Result<Vec<_>, _>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads(streams)).map(|_| scope.spawn(find)).collect();
        let found = threads.into_iter().map(|thread| match thread.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        Ok(found.collect::<Result<Vec<_>, _>>()?.concat())
    })
}

/// Threads that read so many streams: one that waits for the medium lets another one work.
fn threads(streams: usize) -> usize {
    streams.min(std::thread::available_parallelism().map_or(1, usize::from))
}

/// What the threads that read share.
#[derive(Clone)]
pub(super) struct Recovery<C> {
    pub(super) tier: Tier,
    /// Slots by shard.
    pub(super) slots: SlotMap,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) figures: Arc<TierFigures>,
    pub(super) clock: C,
    /// What is told at a time.
    pub(super) told_max: usize,
    /// Nobody is there any more to be told.
    stops: Arc<AtomicBool>,
}

impl<C: Clock> Recovery<C> {
    pub(super) fn new(
        tier: Tier,
        slots: SlotMap,
        mailboxes: Vec<Mailbox>,
        figures: Arc<TierFigures>,
        clock: C,
    ) -> Recovery<C> {
        Recovery { tier, slots, mailboxes, figures, clock, told_max: TOLD_MAX, stops: Arc::default() }
    }

    /// Notes how much there is to be read.
    pub(super) fn begin(&self, found: &[Found]) {
        let used = found.iter().map(|found| found.end.used_bytes()).sum();
        self.figures.begin_recovery(self.mailboxes.len() as u64, used);
    }

    /// Starts the threads. They end with the last stream, or with the shards.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn start(self, found: Vec<Found>) -> std::io::Result<Vec<JoinHandle<()>>>
    where
        C: Clone + Send + 'static,
    {
        self.begin(&found);
        let count = threads(found.len());
        let found = Arc::new(Mutex::new(found));
        (0..count)
            .map(|number| {
                let (recovery, found) = (self.clone(), found.clone());
                let next = move || found.lock().unwrap_or_else(PoisonError::into_inner).pop();
                std::thread::Builder::new().name(format!("torc-recover-{number}")).spawn(move || {
                    while let Some(found) = next() {
                        recovery.read(&found);
                    }
                })
            })
            .collect()
    }

    /// Reads a stream, and tells the shards.
    pub(super) fn read(&self, found: &Found) {
        let mut stream = Stream {
            recovery: self,
            stream: found.end.stream(),
            positions: self.tier.positions(found),
            now: self.clock.millis(),
            flushes: Vec::new(),
            known: self.mailboxes.iter().map(|_| Vec::new()).collect(),
            behind: found.end.used_bytes(),
        };
        let told = self.tier.tell(found, &self.stops, &mut |event| stream.take(&event));
        let damaged = told.map_or_else(
            |error| {
                // Nothing older is told of the stream: what was not read misses.
                tracing::warn!("--tier: {error}; older items of stream {} are lost", stream.stream);
                1
            },
            |counts| {
                self.figures.snapshots_read.fetch_add(u64::from(counts.has_snapshot), Relaxed);
                counts.damaged
            },
        );
        self.figures.damaged.fetch_add(damaged, Relaxed);
        stream.end(damaged > 0);
    }
}

/// A stream that is read.
struct Stream<'r, C> {
    recovery: &'r Recovery<C>,
    stream: u16,
    positions: Positions,
    /// What is over by then has no item.
    now: Millis,
    flushes: Vec<Record>,
    /// By shard: what it was not told yet.
    known: Vec<Vec<Known>>,
    /// Bytes of the stream that were not read.
    behind: u64,
}

impl<C: Clock> Stream<'_, C> {
    fn take(&mut self, event: &Event) {
        // What may have been lost does not make anything of other streams void: a slot has one.
        let Event::Record { record, place } = event else { return };
        // What no database showed when the last run ended, nobody asks for.
        let is_of_key = !matches!(record.kind, Kind::Flush | Kind::FlushAll | Kind::Packed);
        if is_of_key && self.recovery.tier.spaces().database_of(record.space, record.version).is_none() {
            return;
        }
        match record.kind {
            Kind::Flush | Kind::FlushAll => self.flushes.push(*record),
            // Only journals have them.
            Kind::Packed => {}
            Kind::Chunk => {
                if record.slot < SLOTS && !self.is_flushed(record) {
                    let place = place.map(|place| place.to_bits());
                    // Its key's hash stands where others have their expiry.
                    let known = Known::chunk(record.hash, record.expiry, place);
                    self.learn(record.slot, known.of_space(record.space));
                }
            }
            Kind::Item | Kind::ChainHead | Kind::Tombstone => {
                // What is older is flushed, too, and need not be remembered.
                if record.slot >= SLOTS || self.is_flushed(record) {
                    return;
                }
                let is_over = record.ends_at().is_some_and(|end| end <= self.now);
                let place = place.filter(|_| !is_over).map(|place| place.to_bits());
                let of_key = if record.kind == Kind::ChainHead { Known::head } else { Known::item };
                self.learn(record.slot, of_key(record.hash, place).of_space(record.space));
            }
        }
    }

    /// Tells the shard that has the slot, when there is enough to tell.
    fn learn(&mut self, slot: u16, known: Known) {
        let shard = self.recovery.slots.owner(slot);
        let all = &mut self.known[usize::from(shard)];
        all.push(known);
        if all.len() >= self.recovery.told_max {
            known.place.into_iter().for_each(|place| self.has_come_to(Place::from_bits(place)));
            self.tell(shard, None, false);
        }
    }

    fn is_flushed(&self, record: &Record) -> bool {
        self.flushes.iter().any(|flush| flush.voids(record))
    }

    fn tell(&mut self, shard: u16, ended: Option<RangeInclusive<u16>>, is_damaged: bool) {
        let known = &mut self.known[usize::from(shard)];
        let room = if ended.is_some() { Vec::new() } else { Vec::with_capacity(self.recovery.told_max) };
        let known = std::mem::replace(known, room);
        let told = Told { stream: self.stream, known, ended, is_damaged, positions: self.positions };
        if !self.recovery.mailboxes[usize::from(shard)].tell(told) {
            // The server ends.
            self.recovery.stops.store(true, Relaxed);
        }
    }

    /// Shows how far reading has come.
    fn has_come_to(&mut self, place: Place) {
        let behind = self.positions.bytes_behind(place).min(self.behind);
        self.recovery.figures.recovery_read_bytes.fetch_add(self.behind - behind, Relaxed);
        self.behind = behind;
    }

    /// Nothing more comes.
    fn end(mut self, is_damaged: bool) {
        self.recovery.figures.recovery_read_bytes.fetch_add(self.behind, Relaxed);
        let streams = SlotMap::even(self.recovery.tier.config().streams);
        let own = streams.ranges().into_iter().find(|(_, stream)| *stream == self.stream);
        for (slots, shard) in self.recovery.slots.ranges() {
            let both = own.clone().and_then(|(own, _)| super::streams::common(&own, &slots));
            both.into_iter().for_each(|both| self.tell(shard, Some(both), is_damaged));
        }
    }
}
