//! The thread that writes.
//!
//! It takes what the shards have sent, adds it to the streams, writes and drains, and tells the shards. While a stream has no
//! room everything waits: shards that have too much unsaved then let their writers wait.

use super::mailbox::Shards;
use super::messages::{Job, Reply};
use super::save::SaveBatch;
use super::streams::{Progress, Streams};
use super::weight::Weight;
use super::{Durability, TierFigures};
use crate::clock::Clock;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use torc_engine::command::Millis;
use torc_engine::version;
use torc_pmem::media::MediaError;
use torc_pmem::stream::WriteError;
use torc_pmem::tier::Run;

/// Versions may be given out this far ahead of the clock, and how often that is moved on, milliseconds.
pub(super) const CEILING_AHEAD_MS: Millis = 10_000;
const CEILING_EVERY_MS: Millis = 3_000;

/// While a snapshot is made, its parts are looked for so often, milliseconds.
const PART_EVERY_MS: Millis = 10;

/// While a change waits for longer than this share of the interval, the thread counts as the shards do: as much again may have
/// passed before it was handed over.
const LATE_SHARE: u32 = 4;
/// As that, where no change has a bound, milliseconds.
const NONE_LATE_MS: Millis = 100;

/// What the thread that writes has.
pub(super) struct Writing<C> {
    run: Run,
    streams: Streams,
    shards: Shards,
    pub(super) jobs: Receiver<Job>,
    figures: Arc<TierFigures>,
    clock: C,
    /// To be added, and added but not safe.
    batches: VecDeque<Box<SaveBatch>>,
    // Boxed as they travel.
    #[allow(clippy::vec_box)]
    added: Vec<Box<SaveBatch>>,
    /// The highest version that is known to be given out.
    drawn: u64,
    ceiling_at: Millis,
    all_saved: bool,
    weight: Weight,
    /// A change that waits for longer is late.
    late_ms: Millis,
    is_late: bool,
}

impl<C: Clock> Writing<C> {
    /// Writes to the streams of a run what comes as jobs, and tells the shards.
    pub(super) fn new(
        (run, streams, shards, jobs): (Run, Streams, Shards, Receiver<Job>),
        (figures, clock): (Arc<TierFigures>, C),
        durability: Durability,
    ) -> Writing<C> {
        Writing {
            drawn: run.tier().ceiling(),
            run,
            streams,
            shards,
            jobs,
            figures,
            clock,
            batches: VecDeque::new(),
            added: Vec::new(),
            ceiling_at: 0,
            all_saved: true,
            weight: Weight::default(),
            late_ms: match durability {
                Durability::Interval(interval) => (interval / LATE_SHARE).as_millis() as Millis,
                // Somebody waits for every change.
                Durability::Always => 0,
                // Eviction comes to what was handed over.
                Durability::None => NONE_LATE_MS,
            },
            is_late: false,
        }
    }

    /// Works until no shard has a link to it any more.
    pub(super) fn run(mut self, weight: Weight) {
        self.weight = weight;
        loop {
            // Who makes a snapshot wakes nobody.
            let wait = if self.streams.takes_parts() { PART_EVERY_MS } else { CEILING_EVERY_MS };
            match self.jobs.recv_timeout(Duration::from_millis(wait)) {
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

    pub(super) fn take(&mut self, job: Job) {
        match job {
            Job::Save(batch) => {
                let versions = batch.entries.iter().map(|entry| entry.record.version);
                self.drawn = versions.fold(self.drawn, u64::max);
                self.batches.push_back(batch);
            }
            Job::Left { shard, stream, stay } => self.streams.left(stream, shard, stay, &self.figures),
            Job::Moved { shard, stream } => self.streams.moved(stream, shard, &self.figures),
            Job::Rest => self.streams.begin_rest(),
            Job::Ended { shard, is_saved } => {
                self.shards.ended[usize::from(shard)] = true;
                self.all_saved &= is_saved;
                // It may have been asked after it looked for the last time.
                self.streams.all_left(shard, &self.figures);
            }
        }
    }

    /// Tells since when the oldest change waits, and counts as the shards do while that is late, or a shard has ended, which the
    /// end of the process waits for.
    fn weigh(&mut self) {
        let oldest = self.added.first().or(self.batches.front()).map(|batch| batch.handed_at);
        self.figures.waiting_since.store(oldest.unwrap_or(0), Relaxed);
        let is_late = oldest.is_some_and(|since| self.clock.millis() >= since + self.late_ms);
        self.figures.late.fetch_add(u64::from(is_late && !self.is_late), Relaxed);
        self.is_late = is_late;
        self.weight.set(!is_late && !self.shards.ended.contains(&true));
    }

    /// Does what can be done now.
    pub(super) fn go_on(&mut self) {
        self.weigh();
        if !self.figures.is_latched()
            && let Err(error) = self.write().and_then(|()| Ok(self.raise_ceiling()?))
        {
            self.latch(&error);
        }
        if self.figures.is_latched() {
            self.give_up();
        }
        self.weigh();
    }

    fn write(&mut self) -> Result<(), WriteError> {
        while let Some(batch) = self.batches.front_mut() {
            if let Some(spaces) = batch.spaces.take() {
                self.run.set_spaces(&spaces)?;
            }
            if self.streams.add(batch, &self.shards, &self.figures)? == Progress::Waits {
                break;
            }
            self.added.extend(self.batches.pop_front());
            self.weigh();
        }
        if self.streams.commit(&self.shards, &self.figures)? == Progress::Done {
            for mut batch in self.added.drain(..) {
                self.streams.set_places(&mut batch);
                self.shards.send(batch.shard, Reply::Saved(batch));
            }
        }
        Ok(())
    }

    /// Lets versions be given out a while longer, if it is time to.
    ///
    /// # Errors
    /// The medium's.
    pub(super) fn raise_ceiling(&mut self) -> Result<(), MediaError> {
        let now = self.clock.millis();
        // Versions run ahead of a clock that was set back before the start.
        let drawn = self.drawn.max(self.figures.drawn());
        let ceiling = version::at(now.max(version::millis(drawn)) + CEILING_AHEAD_MS);
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
        tracing::error!(
            "--tier: {error}; the tier is out of use, and what it holds misses; when its medium is well again: `torc tier rearm`"
        );
        match self.run.void() {
            Ok(()) => self.figures.void.store(true, Relaxed),
            // No start takes a file for a tier that has not the tier's size.
            Err(MediaError::Shrunk { .. }) => self.figures.void.store(true, Relaxed),
            Err(error) => tracing::error!(
                "--tier: it cannot be made void: {error}; changes are refused, as what was there before them could come back: \
                 rearm it, or delete it and start again"
            ),
        }
        self.figures.ceiling.store(u64::MAX, Relaxed);
        self.figures.latched.store(true, Release);
        // They have to let go of it, be there something under way for them or not.
        self.shards.nudge();
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
        self.batches.is_empty() && self.added.is_empty() && !self.streams.waits()
    }

    #[cfg(test)]
    pub(super) fn put_in(&mut self, bug: crate::worker::Bug) {
        self.streams.bug = bug;
    }

    /// Whether a batch was written over since it began, or is about to be.
    #[cfg(test)]
    pub(super) fn makes_room(&self) -> bool {
        self.streams
            .streams
            .iter()
            .any(|stream| stream.freeing.is_some() || stream.writer.figures().freed > 0)
    }

    /// What is under way though no shard waits for anything.
    ///
    /// # Errors
    /// What it is, in words.
    #[cfg(test)]
    pub(super) fn left_over(&self) -> Result<(), String> {
        match (self.batches.len(), self.added.len()) {
            (0, 0) => self.streams.left_over(),
            (batches, added) => Err(format!("{batches} batches wait, {added} are not safe")),
        }
    }

    /// Nothing more comes: saves what was handed over, and closes the tier.
    pub(super) fn end(mut self) {
        if self.figures.is_latched() {
            return;
        }
        // Whoever has gone without a word has not said that all of his is saved.
        for shard in 0..self.shards.count() {
            if !self.shards.ended[usize::from(shard)] {
                self.take(Job::Ended { shard, is_saved: false });
            }
        }
        self.streams.end();
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
