//! Snapshots of the index: what a start reads in place of tables most of whose records are superseded.
//!
//! ```text
//!   storage thread: a stream ends here --> maker: reads its tables, newest first, and keeps what counts
//!                   writes parts      <--  part, part, ..., last part
//! ```
//!
//! A snapshot says what the tables below a position say, and nothing else, so no shard is asked and nothing of it can be wrong later: see
//! `docs/format.md`. It takes memory for the keys of some slots at a time, and is not made where it would save little.

use super::TierFigures;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Instant;
use torc_pmem::format::batch::Part;
use torc_pmem::format::record::{Entry, RECORD_BYTES};
use torc_pmem::media::MediaError;
use torc_pmem::recover::{Hashes, StreamEnd, Survey, SurveyEnd};
use torc_pmem::tier::Tier;

/// `--tier-snapshots` and what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshots {
    /// How many are made while as much is written to a stream as it holds. 0: none, and a tier that is made has no room for them.
    pub a_lap: u64,
    /// `--tier-snapshot-memory`, bytes: what is remembered of keys while one is made.
    pub memory_bytes: u64,
    /// None is made before so many bytes were written to a stream since the one before.
    pub least_bytes: u64,
    /// None is written if fewer of the records are superseded, percent.
    pub dead_percent: u64,
    /// None is written that takes more than this share of what the stream holds, percent.
    pub share_percent: u64,
}

impl Snapshots {
    /// Tables of less than that are soon read.
    pub const LEAST_BYTES: u64 = 4 << 20;
    /// Where fewer records are superseded, recovery reads half as much at best.
    pub const DEAD_PERCENT: u64 = 50;
    /// What a snapshot takes, items have not.
    pub const SHARE_PERCENT: u64 = 12;
}

/// One slot in so many is looked at first.
const SAMPLE: u16 = 16;
/// Tables are read so often at most, for as many shares of the slots.
const PASSES_MAX: usize = 8;
/// What a sample lets expect is exceeded by chance: so many quarters of it are reckoned with.
const MARGIN_QUARTERS: usize = 5;
/// And so many keys beside, as a sample of few says little.
const SLACK_KEYS: usize = 1000;

/// Why a snapshot was given up, in the order of [`SnapshotFigures::given_up`].
pub const GIVEN_UP: [&str; 6] = ["living", "size", "memory", "damage", "overtaken", "error"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Too few records are superseded.
    Living,
    /// It would take too much of the stream.
    Size,
    /// There are more keys than may be remembered.
    Memory,
    /// A table is damaged.
    Damage,
    /// What it is of was written over, or the server ends.
    Overtaken,
    /// The medium's.
    Error,
}

/// Figures of snapshots; any thread may read them.
#[derive(Debug, Default)]
pub struct SnapshotFigures {
    /// Snapshots that were written whole.
    pub written: AtomicU64,
    /// Those that were given up, by [`GIVEN_UP`].
    pub given_up: [AtomicU64; GIVEN_UP.len()],
    /// Records, and bytes on the medium, of parts of snapshots.
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    /// Bytes of tables that were read, and milliseconds that it took.
    pub read_bytes: AtomicU64,
    pub ms: AtomicU64,
}

/// What the maker says.
#[derive(Debug)]
pub(super) enum Made {
    Part(Part, Vec<Entry>),
    /// No part comes any more.
    Ended,
}

/// The storage thread's end.
#[derive(Debug)]
pub(super) struct Asking {
    orders: Sender<StreamEnd>,
    pub(super) made: Receiver<Made>,
    /// By stream: where it ends when the next snapshot is due.
    due: Vec<u64>,
    settings: Snapshots,
    /// The stream that one is made of.
    pub(super) stream: Option<u16>,
    /// What is to be written next.
    pub(super) part: Option<(Part, Vec<Entry>)>,
    stops: Arc<AtomicBool>,
}

/// The maker's end.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) maker: Maker,
    pub(super) orders: Receiver<StreamEnd>,
    pub(super) made: SyncSender<Made>,
}

/// Makes snapshots of the streams of a tier, one after the other.
#[derive(Debug)]
pub(super) struct Maker {
    tier: Tier,
    settings: Snapshots,
    stops: Arc<AtomicBool>,
    figures: Arc<TierFigures>,
}

/// Prepares snapshots of streams that end here.
pub(super) fn begin(
    settings: Snapshots,
    tier: Tier,
    ends: impl Iterator<Item = StreamEnd>,
    figures: Arc<TierFigures>,
) -> (Asking, Making) {
    let (orders, to_maker) = channel();
    // So that the maker has two parts at most: the one that is filled, and one that waits.
    let (to_storage, made) = sync_channel(1);
    let stops = Arc::<AtomicBool>::default();
    let mut asking = Asking { orders, made, due: Vec::new(), settings, stream: None, part: None, stops };
    asking.due = ends.map(|end| asking.next_due(&end)).collect();
    let maker = Maker { tier, settings, stops: asking.stops.clone(), figures };
    (asking, Making { maker, orders: to_maker, made: to_storage })
}

impl Asking {
    /// Where a stream will end when the next snapshot is due.
    fn next_due(&self, here: &StreamEnd) -> u64 {
        let Snapshots { a_lap, least_bytes, .. } = self.settings;
        let bytes = (here.used_bytes() / a_lap).max(least_bytes);
        here.appended_bytes().saturating_add(bytes)
    }

    /// Lets a snapshot of a stream be made if it is due, and none is made.
    pub(super) fn ask(&mut self, here: &StreamEnd) {
        let stream = here.stream();
        if self.stream.is_some() || here.appended_bytes() < self.due[usize::from(stream)] {
            return;
        }
        self.due[usize::from(stream)] = self.next_due(here);
        // If its thread is gone, so is the tier.
        self.stream = self.orders.send(*here).ok().map(|()| stream);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stops.store(true, Relaxed);
    }
}

impl Making {
    /// Works until nobody asks any more.
    pub(super) fn run(self) {
        while let Ok(of) = self.orders.recv() {
            self.maker.make(&of, &mut |made| self.made.send(made).is_ok());
        }
    }
}

impl Maker {
    /// Makes a snapshot of a stream as it ended somewhere, and gives its parts, unless it gives it up. It stops when `give` says no.
    pub(super) fn make(&self, of: &StreamEnd, give: &mut dyn FnMut(Made) -> bool) {
        let began = Instant::now();
        let made = self.try_make(of, give);
        let figures = &self.figures.snapshots;
        figures.ms.fetch_add(began.elapsed().as_millis() as u64, Relaxed);
        if let Err(cause) = made {
            figures.given_up[cause as usize].fetch_add(1, Relaxed);
            tracing::debug!("--tier: no snapshot of stream {}: {cause:?}", of.stream());
        }
        give(Made::Ended);
    }

    fn try_make(&self, of: &StreamEnd, give: &mut dyn FnMut(Made) -> bool) -> Result<(), GivenUp> {
        let memory_bytes = self.settings.memory_bytes as usize;
        // No stream has more records than would fill it.
        let records = of.used_bytes() as usize / RECORD_BYTES / usize::from(SAMPLE);
        let mut met = Hashes::of_keys(records + SLACK_KEYS, memory_bytes);
        // Not always the same slots.
        let slots = (of.appended_bytes() / 4096 % u64::from(SAMPLE)) as u16;
        let sample = self.survey(of, &|slot| slot % SAMPLE == slots, &mut met, &mut |_| true)?;
        let keys = met.count() * usize::from(SAMPLE) * MARGIN_QUARTERS / 4 + SLACK_KEYS;
        let passes = keys.div_ceil(Hashes::room_in(memory_bytes)).max(1);
        if passes > PASSES_MAX {
            return Err(GivenUp::Memory);
        }
        self.pays(of, &sample)?;
        met = Hashes::of_keys(keys.div_ceil(passes), memory_bytes);
        let mut parts =
            Parts { below: of.end(), number: 0, most: self.tier.part_records(), entries: Vec::new() };
        for pass in 0..passes {
            let wanted = |slot: u16| usize::from(slot) % passes == pass;
            self.survey(of, &wanted, &mut met, &mut |entry| parts.add(entry, give))?;
        }
        if parts.end(give) { Ok(()) } else { Err(GivenUp::Overtaken) }
    }

    /// Whether a snapshot saves what it costs, by a sample of the slots.
    fn pays(&self, of: &StreamEnd, sample: &Survey) -> Result<(), GivenUp> {
        let Snapshots { dead_percent, share_percent, .. } = self.settings;
        let dead = sample.records - sample.living;
        if dead * 100 < sample.records * dead_percent {
            return Err(GivenUp::Living);
        }
        let bytes = sample.living * u64::from(SAMPLE) * RECORD_BYTES as u64;
        if bytes * 100 > of.used_bytes() * share_percent {
            return Err(GivenUp::Size);
        }
        Ok(())
    }

    fn survey(
        &self,
        of: &StreamEnd,
        wanted: &dyn Fn(u16) -> bool,
        met: &mut Hashes,
        take: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<Survey, GivenUp> {
        let survey = self.tier.survey(of, wanted, met, &self.stops, take).map_err(|error: MediaError| {
            tracing::warn!("--tier: a snapshot cannot be made: {error}");
            GivenUp::Error
        })?;
        self.figures.snapshots.read_bytes.fetch_add(survey.read_bytes, Relaxed);
        match survey.end {
            SurveyEnd::Whole => Ok(survey),
            SurveyEnd::Damaged => Err(GivenUp::Damage),
            SurveyEnd::Full => Err(GivenUp::Memory),
            SurveyEnd::Stopped | SurveyEnd::Freed => Err(GivenUp::Overtaken),
        }
    }
}

/// The parts of a snapshot that is made.
struct Parts {
    below: u64,
    number: u16,
    /// Most records of a part.
    most: usize,
    entries: Vec<Entry>,
}

impl Parts {
    /// Adds what comes next. False: nobody takes it.
    fn add(&mut self, entry: Entry, give: &mut dyn FnMut(Made) -> bool) -> bool {
        if self.entries.len() == self.most && !self.give(false, give) {
            return false;
        }
        self.entries.push(entry);
        true
    }

    fn end(mut self, give: &mut dyn FnMut(Made) -> bool) -> bool {
        self.give(true, give)
    }

    fn give(&mut self, is_last: bool, give: &mut dyn FnMut(Made) -> bool) -> bool {
        if self.number == Part::PARTS_MAX {
            return false;
        }
        let part = Part { below: self.below, number: self.number, is_last };
        self.number += 1;
        give(Made::Part(part, std::mem::take(&mut self.entries)))
    }
}
