//! The threads of a tier: one writes, others read for the shards and tell them what it holds.

use super::begin::{Begun, begin};
use super::fetch::{self, FetchParts, Fetchers, ReadsChoice};
use super::mailbox::Shards;
use super::port::{Link, ReadBy};
use super::recover::Recovery;
use super::snapshots::{self, Making, Snapshots};
use super::streams::Streams;
use super::weight::{Weight, lower_this_thread, run_on};
use super::writing::{CEILING_AHEAD_MS, Writing};
use super::{Durability, TierError, TierFigures};
use crate::clock::Clock;
use crate::slots::SlotMap;
use crate::transport::Waker;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use torc_engine::command::Millis;
use torc_engine::version;
use torc_pmem::recover::Found;
use torc_pmem::tier::Tier;

/// The time that earlier runs had come to, by the ceiling of their versions.
pub(crate) fn time_before(tier: &Tier) -> Millis {
    version::millis(tier.ceiling()).saturating_sub(CEILING_AHEAD_MS)
}

/// What a tier is started from.
pub(crate) struct StorageParts<C> {
    pub(crate) tier: Tier,
    /// By shard.
    pub(crate) wakers: Vec<Arc<dyn Waker>>,
    pub(crate) slots: SlotMap,
    pub(crate) figures: Arc<TierFigures>,
    pub(crate) clock: C,
    /// Bytes of pages that each shard keeps once they were read.
    pub(crate) cache_bytes: usize,
    pub(crate) durability: Durability,
    /// What is less goes to a journal, if the tier has them.
    pub(crate) journal_bytes: u64,
    pub(crate) snapshots: Snapshots,
    /// Where the threads run; empty: anywhere.
    pub(crate) cpus: Vec<usize>,
    /// Shards are to be told what the tier holds: it was not made for this moment.
    pub(crate) recovers: bool,
    pub(crate) reads: ReadsChoice,
}

/// The threads of a tier.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    threads: Vec<JoinHandle<()>>,
    /// Who reads the medium for the shards, in words; `None`: they do.
    reads: Option<String>,
}

impl Storage {
    /// Takes the tier into use. Returns a link for each shard, which is told what the tier holds for it; when all of them are
    /// dropped, the threads end.
    ///
    /// # Errors
    /// The medium's, or a thread cannot be started.
    pub(crate) fn start<C>(parts: StorageParts<C>) -> Result<(Storage, Vec<Link>), TierError>
    where
        C: Clock + Clone + Send + 'static,
    {
        let (cpus, durability, choice) = (parts.cpus.clone(), parts.durability, parts.reads);
        let Prepared { writing, links, fetches, recovery, making } = prepare(parts)?;
        let mut threads = Vec::new();
        let mut reads = None;
        if let Some(fetches) = fetches {
            let (readers, who) = fetch::start(fetches, choice).map_err(TierError::Thread)?;
            (threads, reads) = (readers, Some(who));
        }
        if let Some((recovery, found)) = recovery {
            threads.extend(recovery.start(found).map_err(TierError::Thread)?);
        }
        if let Some(making) = making {
            let on = cpus.clone();
            let maker = std::thread::Builder::new().name("torc-snapshot".into()).spawn(move || {
                run_on(&on);
                lower_this_thread();
                making.run();
            });
            threads.push(maker.map_err(TierError::Thread)?);
        }
        let lowers = cpus.is_empty() && durability != Durability::Always;
        let storage = std::thread::Builder::new().name("torc-storage".into()).spawn(move || {
            run_on(&cpus);
            writing.run(Weight::of_this_thread(lowers));
        });
        threads.push(storage.map_err(TierError::Thread)?);
        Ok((Storage { threads, reads }, links))
    }

    /// Whether no thread works for the tier any more.
    pub(super) fn has_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Who reads the medium for the shards, in words; `None`: they do.
    pub(crate) fn reads(&self) -> Option<String> {
        self.reads.clone()
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

/// A tier in use, whose work nobody does yet.
pub(super) struct Prepared<C> {
    pub(super) writing: Writing<C>,
    pub(super) links: Vec<Link>,
    /// What reads for the shards; `None`: they do.
    pub(super) fetches: Option<FetchParts>,
    /// What tells the shards what the tier holds.
    pub(super) recovery: Option<(Recovery<C>, Vec<Found>)>,
    /// What makes snapshots.
    pub(super) making: Option<Making>,
}

/// Takes a tier into use.
///
/// # Errors
/// The medium's.
pub(super) fn prepare<C: Clock + Clone>(parts: StorageParts<C>) -> Result<Prepared<C>, TierError> {
    let StorageParts { tier, wakers, slots, figures, clock, durability, .. } = parts;
    let StorageParts { cpus, cache_bytes, recovers, journal_bytes, snapshots, .. } = parts;
    // Nothing on the medium is believed before an orderly end, so nothing is drained before that either.
    let is_volatile = durability == Durability::None;
    let is_fast = tier.medium().is_byte_addressable();
    let Begun { run, found, writers } = begin(tier, is_volatile, &figures)?;
    let (reader, overwrites) = (run.tier().reader(), run.tier().overwrites());
    let ((jobs, receiver), (fetchers, fetches)) = (channel(), Fetchers::new());
    let (links, mailboxes): (Vec<Link>, Vec<_>) = (0..)
        .zip(wakers)
        .map(|(shard, waker)| {
            let read_by = if is_fast {
                ReadBy::Own(reader.clone())
            } else {
                let (fetchers, overwrites) = (fetchers.clone(), overwrites.clone());
                ReadBy::Threads { fetchers, overwrites, cache_bytes }
            };
            Link::new(shard, waker, jobs.clone(), read_by)
        })
        .unzip();
    let before = run.tier().clone();
    let small_bytes = journal_bytes as usize;
    let has_snapshots = before.config().has_snapshots && snapshots.a_lap > 0;
    let (asking, making) = has_snapshots
        .then(|| {
            let ends = writers.iter().map(|(writer, _)| writer.here());
            snapshots::begin(snapshots, before.clone(), ends, figures.clone())
        })
        .unzip();
    let by_shard = slots.clone();
    let streams =
        Streams::new(writers, reader.clone(), by_shard, !is_volatile, small_bytes, asking, &figures);
    let shards = Shards::new(mailboxes.clone());
    let mut writing =
        Writing::new((run, streams, shards, receiver), (figures.clone(), clock.clone()), durability);
    // The last call to the medium that can fail here: no thread has to be ended then.
    writing.raise_ceiling()?;
    let (boxes, counts) = (mailboxes.clone(), figures.clone());
    let fetches = (!is_fast).then(|| FetchParts { fetches, mailboxes: boxes, reader, figures: counts, cpus });
    let recovery = recovers.then(|| (Recovery::new(before, slots, mailboxes, figures, clock), found));
    Ok(Prepared { writing, links, fetches, recovery, making })
}
