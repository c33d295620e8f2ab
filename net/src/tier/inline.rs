//! The tier's threads without threads: whoever simulates a server takes their steps, one at a time and in any order.

use super::TierError;
use super::fetch::{Fetch, FetchParts};
use super::mailbox::{Inbox, Mailbox};
use super::messages::{FetchedPage, Told};
use super::port::Link;
use super::recover::Recovery;
use super::snapshots::{self, Making};
use super::storage::{Prepared, StorageParts, prepare};
use super::testing::silent;
use super::writing::Writing;
use crate::clock::Clock;
use crate::worker::Bug;
use std::collections::VecDeque;
use std::sync::mpsc::{TryRecvError, TrySendError};
use torc_pmem::recover::Found;

/// What is told of a stream before a shard has taken any of it, at most.
const TOLD_MAX: usize = 4096;

/// The storage side of a tier.
pub(crate) struct Inline<C> {
    /// `None`: it has ended.
    writing: Option<Writing<C>>,
    fetching: Option<Fetching>,
    telling: Option<Telling<C>>,
    making: Option<InParts>,
}

/// Makes snapshots.
struct InParts {
    making: Making,
    /// Made and not taken.
    parts: VecDeque<snapshots::Made>,
}

/// Reads for the shards.
struct Fetching {
    parts: FetchParts,
    /// Asked for and not read, and read and not given.
    asked: Vec<Fetch>,
    read: Vec<(u16, FetchedPage)>,
}

/// What shards are told after a start.
struct Telling<C> {
    recovery: Recovery<C>,
    /// Streams that were not read.
    found: Vec<Found>,
    mailboxes: Vec<Mailbox>,
    /// By shard: what was read for it, and what it has no room for.
    read: Vec<Inbox>,
    held: Vec<Option<Told>>,
}

impl<C: Clock + Clone> Inline<C> {
    /// As [`super::Storage::start`]. `told_max`: entries of a table that are told together.
    ///
    /// # Errors
    /// The medium's.
    pub(crate) fn start(
        parts: StorageParts<C>,
        told_max: usize,
    ) -> Result<(Inline<C>, Vec<Link>), TierError> {
        let Prepared { writing, links, fetches, recovery, making } = prepare(parts)?;
        let fetching = fetches.map(|parts| Fetching { parts, asked: Vec::new(), read: Vec::new() });
        let telling = recovery.map(|(mut recovery, found)| {
            recovery.begin(&found);
            recovery.told_max = told_max;
            let beside = recovery.mailboxes.iter().map(|_| Mailbox::with_room(silent(), TOLD_MAX));
            let (beside, read): (Vec<_>, Vec<_>) = beside.unzip();
            let mailboxes = std::mem::replace(&mut recovery.mailboxes, beside);
            let held = mailboxes.iter().map(|_| None).collect();
            Telling { recovery, found, mailboxes, read, held }
        });
        let making = making.map(|making| InParts { making, parts: VecDeque::new() });
        Ok((Inline { writing: Some(writing), fetching, telling, making }, links))
    }

    /// Puts a bug in.
    pub(crate) fn put_in(&mut self, bug: Bug) {
        self.writing.iter_mut().for_each(|writing| writing.put_in(bug));
    }

    /// Takes what shards have said, so much at most, and writes. When all of them have let go, it ends.
    pub(crate) fn write(&mut self, jobs_max: usize) {
        let Some(writing) = &mut self.writing else { return };
        for _ in 0..jobs_max {
            match writing.jobs.try_recv() {
                Ok(job) => writing.take(job),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return self.writing.take().into_iter().for_each(Writing::end);
                }
            }
        }
        writing.go_on();
    }

    /// Reads one of the pages that are asked for.
    pub(crate) fn read(&mut self, pick: impl FnOnce(usize) -> usize) {
        let Some(Fetching { parts, asked, read }) = &mut self.fetching else { return };
        asked.extend(std::iter::from_fn(|| parts.fetches.try_recv().ok()));
        if !asked.is_empty() {
            let fetch = asked.swap_remove(pick(asked.len()));
            read.push((fetch.shard, parts.read(fetch)));
        }
    }

    /// Gives one of the pages that were read.
    pub(crate) fn give(&mut self, pick: impl FnOnce(usize) -> usize) {
        let Some(Fetching { parts, read, .. }) = &mut self.fetching else { return };
        if !read.is_empty() {
            let (shard, page) = read.swap_remove(pick(read.len()));
            let back = parts.mailboxes[usize::from(shard)].try_give(page);
            read.extend(back.map(|page| (shard, page)));
        }
    }

    /// Reads the tables of a stream.
    pub(crate) fn recover(&mut self, pick: impl FnOnce(usize) -> usize) {
        let Some(Telling { recovery, found, .. }) = &mut self.telling else { return };
        if !found.is_empty() {
            recovery.read(&found.swap_remove(pick(found.len())));
        }
    }

    /// Tells a shard a part of what was read for it.
    pub(crate) fn tell(&mut self, pick: impl FnOnce(usize) -> usize) {
        let Some(Telling { mailboxes, read, held, .. }) = &mut self.telling else { return };
        let shard = pick(mailboxes.len());
        if let Some(told) = held[shard].take().or_else(|| read[shard].told.try_recv().ok()) {
            held[shard] = mailboxes[shard].try_tell(told);
        }
    }

    /// Makes a snapshot if one is asked for, or gives a part of one.
    pub(crate) fn make(&mut self) {
        let Some(InParts { making, parts }) = &mut self.making else { return };
        if let Some(part) = parts.pop_front() {
            if let Err(TrySendError::Full(part)) = making.made.try_send(part) {
                parts.push_front(part);
            }
        } else if let Ok(of) = making.orders.try_recv() {
            making.maker.make(&of, &mut |part| {
                parts.push_back(part);
                true
            });
        }
    }

    /// Whether it has begun to write over what it had.
    pub(crate) fn makes_room(&self) -> bool {
        self.writing.as_ref().is_some_and(Writing::makes_room)
    }

    /// Whether nothing works for the tier any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.writing.is_none()
    }

    /// What is under way though nobody waits for anything.
    ///
    /// # Errors
    /// What it is, in words.
    pub(crate) fn left_over(&self) -> Result<(), String> {
        let (asked, read) =
            self.fetching.as_ref().map_or((0, 0), |fetching| (fetching.asked.len(), fetching.read.len()));
        if (asked, read) != (0, 0) {
            return Err(format!("{asked} pages are asked for, {read} were read"));
        }
        self.writing.as_ref().map_or(Ok(()), Writing::left_over)
    }
}

impl Mailbox {
    /// As [`Mailbox::give`]. Returns the page if it had to wait.
    fn try_give(&self, page: FetchedPage) -> Option<FetchedPage> {
        match self.fetched.try_send(page) {
            Ok(()) => _ = self.ring(true),
            Err(async_channel::TrySendError::Full(page)) => return Some(page),
            Err(async_channel::TrySendError::Closed(_)) => {}
        }
        None
    }

    /// As [`Mailbox::tell`]. Returns what it had to wait with.
    fn try_tell(&self, told: Told) -> Option<Told> {
        match self.told.try_send(told) {
            Ok(()) => _ = self.ring(true),
            Err(std::sync::mpsc::TrySendError::Full(told)) => return Some(told),
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => {}
        }
        None
    }
}
