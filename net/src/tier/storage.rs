//! The thread that writes.
//!
//! It takes what the shards have sent, adds it to the streams, writes and drains, and tells the shards. While a stream has no
//! room everything waits: shards that have too much unsaved then let their writers wait.

use super::fetch::{self, Fetchers};
use super::port::{Port, Reply};
use super::recover::{Recovery, find_all};
use super::save::SaveBatch;
use super::streams::{Progress, Shards, Streams};
use super::{TierError, TierFigures};
use crate::clock::MachineClock;
use crate::slots::SlotMap;
use crate::transport::Waker;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use torc_engine::command::Millis;
use torc_engine::version;
use torc_pmem::stream::WriteError;
use torc_pmem::tier::{Run, Tier};

/// The time that earlier runs had come to, by the ceiling of their versions.
pub(crate) fn time_before(tier: &Tier) -> Millis {
    version::millis(tier.ceiling()).saturating_sub(CEILING_AHEAD_MS)
}

/// Versions may be given out this far ahead of the clock, and how often that is moved on, milliseconds.
const CEILING_AHEAD_MS: Millis = 10_000;
const CEILING_EVERY_MS: Millis = 3_000;

/// What shards say to the storage thread.
#[derive(Debug)]
pub(super) enum Job {
    Save(Box<SaveBatch>),
    /// The shard has forgotten the places of the stream's oldest batch.
    Left {
        shard: u16,
        stream: u16,
    },
    Ended {
        shard: u16,
        is_saved: bool,
    },
}

/// What a tier is started from.
pub(crate) struct StorageParts {
    pub(crate) tier: Tier,
    /// By shard.
    pub(crate) wakers: Vec<Arc<dyn Waker>>,
    pub(crate) slots: SlotMap,
    pub(crate) figures: Arc<TierFigures>,
    pub(crate) clock: MachineClock,
}

/// The threads of a tier.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    threads: Vec<JoinHandle<()>>,
}

impl Storage {
    /// Takes the tier into use. Returns a port for each shard, which is told what the tier holds for it; when all of them are
    /// dropped, the threads end.
    ///
    /// # Errors
    /// The medium's, or a thread cannot be started.
    pub(crate) fn start(parts: StorageParts) -> Result<(Storage, Vec<Port>), TierError> {
        let StorageParts { tier, wakers, slots, figures, clock } = parts;
        let is_fast = tier.medium().is_byte_addressable();
        let found = find_all(&tier)?;
        let (before, run) = (tier.clone(), tier.begin()?);
        let writers = found.iter().map(|found| run.writer(&found.end)).collect::<Result<Vec<_>, _>>();
        let mut writers = writers.map_err(media)?;
        writers.sort_by_key(torc_pmem::stream::StreamWriter::stream);
        let reader = run.tier().reader();
        let ((jobs, receiver), (fetchers, fetches)) = (channel(), Fetchers::new());
        let (ports, mailboxes): (Vec<Port>, Vec<_>) = (0..)
            .zip(wakers)
            .map(|(shard, waker)| {
                let own = is_fast.then(|| reader.clone());
                Port::new(shard, waker, jobs.clone(), fetchers.clone(), own, figures.clone())
            })
            .unzip();
        let mut threads = Vec::new();
        if !is_fast {
            threads = fetch::start(fetches, &mailboxes, &reader, &figures).map_err(TierError::Thread)?;
        }
        let recovery =
            Recovery::new(before, slots.clone(), mailboxes.clone(), figures.clone(), clock.clone());
        threads.extend(recovery.start(found).map_err(TierError::Thread)?);
        let mut thread = Thread {
            drawn: run.tier().ceiling(),
            run,
            streams: Streams::new(writers, slots),
            shards: Shards::new(mailboxes),
            jobs: receiver,
            figures,
            clock,
            batches: VecDeque::new(),
            added: Vec::new(),
            ceiling_at: 0,
            all_saved: true,
        };
        thread.raise_ceiling()?;
        let storage = std::thread::Builder::new().name("torc-storage".into()).spawn(move || thread.run());
        threads.push(storage.map_err(TierError::Thread)?);
        Ok((Storage { threads }, ports))
    }

    /// Waits until everything is on the medium that shards have handed over.
    ///
    /// # Errors
    /// A thread panicked.
    pub(crate) fn join(&mut self) -> Result<(), String> {
        self.threads
            .drain(..)
            .try_for_each(|thread| thread.join().map_err(|_| "a storage thread panicked".to_owned()))
    }
}

fn media(error: WriteError) -> TierError {
    match error {
        WriteError::Media(error) => TierError::Media(error),
        error => unreachable!("a stream that begins has room and is not latched: {error}"),
    }
}

struct Thread {
    run: Run,
    streams: Streams,
    shards: Shards,
    jobs: Receiver<Job>,
    figures: Arc<TierFigures>,
    clock: MachineClock,
    /// To be added, and added but not safe.
    batches: VecDeque<Box<SaveBatch>>,
    // Boxed as they travel.
    #[allow(clippy::vec_box)]
    added: Vec<Box<SaveBatch>>,
    /// The highest version that is known to be given out.
    drawn: u64,
    ceiling_at: Millis,
    all_saved: bool,
}

impl Thread {
    fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(Duration::from_millis(CEILING_EVERY_MS)) {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(job) = self.jobs.try_recv() {
                self.take(job);
            }
            self.go_on();
        }
        self.end();
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Save(batch) => {
                let versions = batch.entries.iter().map(|entry| entry.record.version);
                self.drawn = versions.fold(self.drawn, u64::max);
                self.batches.push_back(batch);
            }
            Job::Left { shard, stream } => self.streams.left(stream, shard),
            Job::Ended { shard, is_saved } => {
                self.shards.ended[usize::from(shard)] = true;
                self.all_saved &= is_saved;
                // It may have been asked after it looked for the last time.
                self.streams.all_left(shard);
            }
        }
    }

    /// Does what can be done now.
    fn go_on(&mut self) {
        if !self.figures.is_latched()
            && let Err(error) = self.write().and_then(|()| Ok(self.raise_ceiling()?))
        {
            self.latch(&error);
        }
        if self.figures.is_latched() {
            self.give_up();
        }
    }

    fn write(&mut self) -> Result<(), WriteError> {
        while let Some(batch) = self.batches.front_mut() {
            if self.streams.add(batch, &self.shards)? == Progress::Waits {
                break;
            }
            self.added.extend(self.batches.pop_front());
        }
        if self.streams.commit(&self.shards, &self.figures)? == Progress::Done {
            for batch in self.added.drain(..) {
                self.shards.send(batch.shard, Reply::Saved(batch));
            }
        }
        Ok(())
    }

    fn raise_ceiling(&mut self) -> Result<(), torc_pmem::media::MediaError> {
        let now = self.clock.millis();
        // Versions run ahead of a clock that was set back before the start.
        let ceiling = version::at(now.max(version::millis(self.drawn)) + CEILING_AHEAD_MS);
        let is_due = now >= self.ceiling_at + CEILING_EVERY_MS;
        let is_near = ceiling > self.figures.ceiling() + version::at(CEILING_AHEAD_MS / 2);
        if !is_due && !is_near {
            return Ok(());
        }
        self.ceiling_at = now;
        self.run.raise_ceiling(ceiling)?;
        self.figures.ceiling.store(ceiling, Relaxed);
        Ok(())
    }

    /// A call to the medium has failed: nobody knows what is on it.
    fn latch(&mut self, error: &WriteError) {
        self.figures.latched.store(true, Relaxed);
        tracing::error!("--tier: {error}; the tier is out of use, and what it holds misses");
        self.figures.ceiling.store(u64::MAX, Relaxed);
        if let Err(error) = self.run.void() {
            tracing::error!("--tier: it cannot be made void: {error}; delete it before the next start");
        }
    }

    /// Shards that wait go on.
    fn give_up(&mut self) {
        for mut batch in self.added.drain(..).chain(self.batches.drain(..)) {
            batch.entries.clear();
            self.shards.send(batch.shard, Reply::Saved(batch));
        }
    }

    /// Whether everything is on the medium that was handed over.
    fn is_done(&self) -> bool {
        self.batches.is_empty() && self.added.is_empty()
    }

    fn end(mut self) {
        if self.figures.is_latched() {
            return;
        }
        // With nobody to wait for, each time makes room for a batch at least.
        while !self.is_done() && !self.figures.is_latched() {
            self.go_on();
        }
        if self.figures.is_latched() {
            return;
        }
        let ended = match self.streams.close() {
            Ok(()) if self.all_saved => self.run.end().map_err(WriteError::from),
            other => other,
        };
        match ended {
            Ok(()) => tracing::info!("--tier: everything that was handed over is saved"),
            Err(error) => tracing::error!("--tier: {error}; it was not closed in order"),
        }
    }
}
