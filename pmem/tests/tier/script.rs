//! Changes to a tier, under a seed, with a model beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use torc_pmem::format::batch::Part;
use torc_pmem::format::record::{Entry, Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::Medium;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::recover::{Hashes, StreamEnd, SurveyEnd};
use torc_pmem::stream::{Journal, StreamWriter, Unfit, WriteError};
use torc_pmem::tier::{Run, Tier};

use crate::model::{Found, Model, slot_of, value};

/// A small tier, so that a ring is soon written over; the smallest has eight batches.
pub(crate) fn config(streams: u16, batches: u64) -> Config {
    let bytes = 8192 + u64::from(streams) * (8192 + batches * (16 << 10));
    Config {
        bytes,
        page_bytes: 4096,
        batch_bytes: 16 << 10,
        streams,
        journal: JournalConfig::NONE,
        has_snapshots: false,
        volume: 0x5EED,
        hash_seed: 1,
    }
}

/// As [`config`], with the smallest journals.
pub(crate) fn journaled(streams: u16, batches: u64) -> Config {
    let (config, journal) = (config(streams, batches), 8192 + 8 * (16 << 10));
    let bytes = config.bytes + u64::from(streams) * u64::from(journal);
    Config { bytes, journal: JournalConfig { bytes: journal, batch_bytes: 16 << 10 }, ..config }
}

/// As [`journaled`], with snapshots in the streams.
pub(crate) fn snapshotted(streams: u16, batches: u64) -> Config {
    Config { has_snapshots: true, ..journaled(streams, batches) }
}

/// What is less goes to a journal, bytes.
const SMALL: usize = 6000;

/// Versions that a run may give out.
const CEILING_AHEAD: u64 = 10_000;

/// A tier in use, with what may be found in it.
#[derive(Debug)]
pub(crate) struct Script<M = Sim> {
    pub(crate) medium: Arc<M>,
    pub(crate) model: Model,
    pub(crate) writers: Vec<StreamWriter>,
    journals: Vec<Option<Journal>>,
    /// By stream: it was written since it was drained.
    is_dirty: Vec<bool>,
    /// By stream: the position up to which its journal is packed, and shards may still name places.
    packed: Vec<Option<u64>>,
    /// By stream: parts of a snapshot that are not written.
    parts: Vec<VecDeque<(Part, Vec<Entry>)>>,
    run: Run,
    pub(crate) version: u64,
    random: Random,
    keys: u64,
    /// Of a hundred steps, how many drain.
    pub(crate) drains: u64,
}

/// What a step does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Set,
    Delete,
    Flush,
    Write,
    Drain,
    Checkpoint,
    /// Begins a snapshot, or writes the next part of one.
    Snapshot,
}

impl Script {
    /// Makes a tier on a simulated medium, and takes it into use.
    pub(crate) fn new(config: Config, piece_bytes: usize, seed: u64, keys: u64) -> Script {
        Script::create(Arc::new(Sim::new(config.bytes, piece_bytes)), config, seed, keys)
    }
}

impl<M: Medium + 'static> Script<M> {
    /// Makes a tier on a medium, and takes it into use.
    pub(crate) fn create(medium: Arc<M>, config: Config, seed: u64, keys: u64) -> Script<M> {
        Tier::create(&(medium.clone() as Arc<dyn Medium>), config).expect("a tier");
        Script::on(medium, Model::default(), 0, seed, keys).expect("no call fails")
    }

    /// Takes what is on a medium into use; the model says what may be there, and goes on from what is.
    pub(crate) fn on(
        medium: Arc<M>,
        mut model: Model,
        version: u64,
        seed: u64,
        keys: u64,
    ) -> Result<Script<M>, WriteError> {
        let tier = Tier::open(medium.clone()).expect("a tier");
        let found = Found::of(&tier);
        model.check(&found);
        model.restart(&found);
        let run = tier.begin()?;
        run.raise_ceiling(version + CEILING_AHEAD)?;
        let both = found.ends.iter().zip(&found.journaled);
        let both = both.map(|(end, journaled)| run.writers(end, journaled.as_ref()));
        let (writers, journals): (Vec<_>, Vec<_>) = both.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        if run.tier().config().has_journals() {
            // What was packed may have taken the room of what was oldest.
            let packed = Found::of(&Tier::open(medium.clone()).expect("a tier"));
            let is_same = |(hash, version): (&u64, &u64)| found.items.get(hash) == Some(version);
            assert!(packed.items.iter().all(is_same), "{packed:?} {found:?}");
            let dropped = writers.iter().map(|writer| writer.figures().freed).sum::<u64>();
            assert!(packed.items.len() == found.items.len() || dropped > 0, "{packed:?} {found:?}");
            assert!(packed.journaled.iter().flatten().all(|journaled| journaled.records.is_empty()));
            model.restart(&packed);
        }
        let (is_dirty, packed) = (vec![false; writers.len()], vec![None; writers.len()]);
        let random = Random(seed);
        Ok(Script {
            medium,
            model,
            writers,
            journals,
            is_dirty,
            parts: vec![VecDeque::new(); packed.len()],
            packed,
            run,
            version,
            random,
            keys,
            drains: 9,
        })
    }

    fn streams(&self) -> u64 {
        self.writers.len() as u64
    }

    /// So many steps by chance, none of which is a snapshot, and a drain after every fourth.
    pub(crate) fn go(&mut self, steps: u64) {
        for number in 0..steps {
            let (step, hash) = self.any();
            let step = if matches!(step, Step::Snapshot) { Step::Set } else { step };
            self.step(if number % 5 == 4 { Step::Drain } else { step }, hash).expect("no call fails");
        }
    }

    /// A step that is chance.
    pub(crate) fn any(&mut self) -> (Step, u64) {
        let step = match self.random.below(100) {
            0..70 => Step::Set,
            70..80 => Step::Delete,
            80 => Step::Flush,
            81..89 => Step::Write,
            number if number < 89 + self.drains => Step::Drain,
            98 => Step::Checkpoint,
            _ => Step::Set,
        };
        let snapshots = self.run.tier().config().has_snapshots && self.random.below(5) == 0;
        (if snapshots { Step::Snapshot } else { step }, self.random.below(self.keys))
    }

    /// Does a step to the stream of a key. After an error the stream is latched.
    pub(crate) fn step(&mut self, step: Step, hash: u64) -> Result<(), WriteError> {
        let (slot, streams) = (slot_of(hash), self.streams());
        let stream_of = |slot: u16| (u64::from(slot) * streams / 16384) as usize;
        let stream = stream_of(slot);
        match step {
            Step::Set => {
                self.version += 1;
                self.add(
                    stream,
                    Record { slot, ..self.record(hash, Kind::Item) },
                    &value(hash, self.version),
                )?;
                self.model.wrote(hash, self.version);
            }
            Step::Delete => {
                self.version += 1;
                self.add(stream, Record { slot, ..self.record(hash, Kind::Tombstone) }, &[])?;
                self.model.deleted(hash);
            }
            Step::Flush => {
                self.version += 1;
                let first = (slot.saturating_sub(1500)..=slot).find(|slot| stream_of(*slot) == stream);
                let slots = first.expect("the key's own slot")..=slot;
                self.add(stream, Record::flush(Some(0), slots.clone(), self.version), &[])?;
                self.model.flushed(|key| slots.contains(&slot_of(key)));
            }
            Step::Write => self.write(stream)?,
            Step::Drain => {
                self.drain(stream)?;
                self.model.drained(|key| stream_of(slot_of(key)) == stream);
            }
            Step::Snapshot => self.go_on_with_snapshot(stream)?,
            Step::Checkpoint => {
                self.write(stream)?;
                self.writers[stream].checkpoint()?;
                self.is_packed(stream);
                self.model.drained(|key| stream_of(slot_of(key)) == stream);
            }
        }
        Ok(())
    }

    fn record(&self, hash: u64, kind: Kind) -> Record {
        Record { hash, version: self.version, expiry: 0, space: 0, slot: 0, kind }
    }

    fn add(&mut self, stream: usize, record: Record, bytes: &[u8]) -> Result<(), WriteError> {
        while let Err(refused) = self.writers[stream].add(&record, bytes) {
            assert_eq!(refused, Unfit::BatchFull);
            self.write(stream)?;
        }
        if let Some(journal) = &mut self.journals[stream] {
            journal.add(self.writers[stream].start(), &record, bytes);
        }
        Ok(())
    }

    fn write(&mut self, stream: usize) -> Result<(), WriteError> {
        self.make_room(stream)?;
        self.is_dirty[stream] |= self.writers[stream].waiting() > 0;
        self.writers[stream].write()?;
        self.journals[stream].iter_mut().for_each(Journal::skip);
        Ok(())
    }

    fn go_on_with_snapshot(&mut self, stream: usize) -> Result<(), WriteError> {
        if self.parts[stream].is_empty() {
            let entries = living(self.run.tier(), &self.writers[stream].here());
            self.parts[stream] = in_parts(entries, self.writers[stream].here().end(), &mut self.random);
            return Ok(());
        }
        self.write(stream)?;
        let (part, entries) = &self.parts[stream][0];
        if self.writers[stream].write_part(*part, entries)? {
            self.is_dirty[stream] = true;
            self.parts[stream].pop_front();
        }
        Ok(())
    }

    /// Writes all of a snapshot.
    pub(crate) fn snapshot(&mut self, hash: u64) {
        let stream = (u64::from(slot_of(hash)) * self.streams() / 16384) as usize;
        self.parts[stream].clear();
        self.step(Step::Snapshot, hash).expect("no call fails");
        while !self.parts[stream].is_empty() {
            self.step(Step::Snapshot, hash).expect("no call fails");
        }
    }

    /// Makes safe what was added: by the journal, if it is little.
    fn drain(&mut self, stream: usize) -> Result<(), WriteError> {
        if let (Some(journal), Some(position)) = (&mut self.journals[stream], self.packed[stream])
            && self.random.below(2) == 0
        {
            journal.free_below(position);
            self.packed[stream] = None;
        }
        let is_small = !self.is_dirty[stream] && self.writers[stream].waiting_bytes() < SMALL;
        match &mut self.journals[stream] {
            Some(journal) if is_small && journal.has_room() => journal.commit(),
            _ => {
                self.write(stream)?;
                self.writers[stream].drain()?;
                self.is_packed(stream);
                Ok(())
            }
        }
    }

    /// Everything that was added to a stream is drained.
    fn is_packed(&mut self, stream: usize) {
        self.is_dirty[stream] = false;
        self.packed[stream] = self.journals[stream].as_ref().map(Journal::written_up_to);
    }

    /// Whether the writer of a stream, or of its journal, takes nothing since a call to the medium has failed.
    pub(crate) fn is_latched(&mut self, stream: usize) -> bool {
        let is_latched = |result| matches!(result, Err(WriteError::Latched));
        let writer = &mut self.writers[stream];
        let of_stream =
            is_latched(writer.drain()) && is_latched(writer.checkpoint()) && is_latched(writer.write());
        of_stream || self.journals[stream].as_mut().is_some_and(|journal| is_latched(journal.commit()))
    }

    /// Batches that went to journals.
    pub(crate) fn journaled(&self) -> u64 {
        self.journals.iter().flatten().map(|journal| journal.figures().batches).sum()
    }

    /// Frees the oldest batches: every third item that is still wanted is carried on.
    fn make_room(&mut self, stream: usize) -> Result<(), WriteError> {
        let mut records = Vec::new();
        while self.writers[stream].wants_room() {
            let Some(oldest) = self.writers[stream].oldest(&mut records)? else {
                self.writers[stream].drain()?;
                continue;
            };
            let mut gone = Vec::new();
            for (record, place) in records.drain(..).filter(|(record, _)| record.kind == Kind::Item) {
                if self.model.newest(record.hash) != Some(record.version) {
                    continue;
                }
                if record.hash % 3 != 0 {
                    gone.push(record);
                    continue;
                }
                let bytes = value(record.hash, record.version);
                if let Ok(read) = self.run.tier().reader().read(place.expect("an item has a place")) {
                    assert_eq!(read, bytes, "what is carried on");
                }
                match self.writers[stream].add(&record, &bytes) {
                    Ok(_) => self.model.wrote(record.hash, record.version),
                    Err(_) => gone.push(record),
                }
            }
            self.writers[stream].free(oldest);
            gone.iter().for_each(|record| self.model.freed(record.hash, record.version));
        }
        Ok(())
    }

    /// Where a stream ends now.
    pub(crate) fn here(&self, stream: usize) -> StreamEnd {
        self.writers[stream].here()
    }

    /// The tier in use.
    pub(crate) fn tier(&self) -> &Tier {
        self.run.tier()
    }

    /// Takes parts that are to be written.
    pub(crate) fn take_parts(&mut self, stream: usize, parts: VecDeque<(Part, Vec<Entry>)>) {
        self.parts[stream] = parts;
    }

    /// Ends in order.
    pub(crate) fn close(mut self) -> (Arc<M>, Model) {
        for stream in 0..self.writers.len() {
            self.make_room(stream).expect("no call fails");
        }
        for writer in self.writers {
            writer.close().expect("no call fails");
        }
        for journal in self.journals.into_iter().flatten() {
            journal.close().expect("no call fails");
        }
        self.model.drained(|_| true);
        self.run.end().expect("no call fails");
        (self.medium, self.model)
    }
}

/// What a snapshot of a stream has to hold.
pub(crate) fn living(tier: &Tier, of: &StreamEnd) -> Vec<Entry> {
    let mut entries = Vec::new();
    // In two parts, so that no more is remembered than one of them has.
    for half in 0..2 {
        let mut met = Hashes::of_bytes(64 << 10);
        let survey =
            tier.survey(of, &|slot| slot % 2 == half, &mut met, &AtomicBool::new(false), &mut |entry| {
                entries.push(entry);
                true
            });
        let survey = survey.expect("a medium without errors");
        assert!(survey.living <= survey.records, "{survey:?}");
        if survey.end == SurveyEnd::Damaged {
            // What is damaged has no snapshots.
            return Vec::new();
        }
    }
    entries
}

/// A snapshot in parts of a few records, which chance draws; of none there are none.
pub(crate) fn in_parts(entries: Vec<Entry>, below: u64, random: &mut Random) -> VecDeque<(Part, Vec<Entry>)> {
    let mut parts = VecDeque::new();
    let mut rest = &entries[..];
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.len().min(1 + random.below(12) as usize));
        let number = parts.len() as u16;
        parts.push_back((Part { below, number, is_last: behind.is_empty() }, part.to_vec()));
        rest = behind;
    }
    parts
}
