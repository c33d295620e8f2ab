//! `torc tier stat`: how a tier is divided, how full it is, how old its items are, how well they are compressed.

use super::walk::{self, Met, Piece};
use crate::exit::{self, Failure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use torc_engine::version;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::spaces::SpaceTable;
use torc_pmem::format::superblock::Superblock;
use torc_pmem::media::Medium;
use torc_pmem::recover::Counts;
use torc_pmem::stream::Miss;
use torc_pmem::tier::{OpenError, Tier};

/// Pages of a stream that are read for the ratio of compression: evenly spread ones, this many up to twice as many.
const SAMPLE_PAGES: usize = 256;

/// What is known of a stream, or of all of them.
#[derive(Debug, Default)]
struct Stream {
    used_bytes: u64,
    appended_bytes: u64,
    items: u64,
    chunks: u64,
    marks: u64,
    /// Snapshots that end here, and records of parts of snapshots.
    snapshots: u64,
    snapshot_records: u64,
    /// Lowest and highest version of an item or a mark.
    versions: Option<(u64, u64)>,
    counts: Counts,
    /// Of the pages that were sampled.
    raw_bytes: u64,
    stored_bytes: u64,
}

pub(super) fn run(medium: Arc<dyn Medium>, is_json: bool) -> Result<(), Failure> {
    let superblock = Tier::superblock(&*medium).map_err(Failure::failed)?;
    let tier = match Tier::open(medium.clone()) {
        Ok(tier) => Some(tier),
        Err(error @ OpenError::Media(_)) => return Err(Failure::failed(error)),
        // What cannot be used is said, and what the superblock tells all the same.
        Err(error @ OpenError::Refused { .. }) => {
            exit::warn(&error.to_string());
            None
        }
    };
    let streams = match &tier {
        Some(tier) => {
            let pieces = walk::pieces(tier).filter(|piece| !piece.is_journal);
            pieces.map(|piece| look(tier, piece)).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let journals = tier.as_ref().map(Journals::of).transpose()?.flatten();
    let all = All { superblock, stream_bytes: tier.map_or(0, |tier| tier.stream_bytes()), streams, journals };
    exit::print(&if is_json { all.json(&*medium) } else { all.text(&*medium) })
}

/// All that is told.
struct All {
    superblock: Superblock,
    stream_bytes: u64,
    streams: Vec<Stream>,
    journals: Option<Journals>,
}

/// What is known of the journals of all streams.
struct Journals {
    /// Bytes of each.
    bytes: u64,
    /// Changes that their streams have not.
    records: usize,
}

impl Journals {
    fn of(tier: &Tier) -> Result<Option<Journals>, Failure> {
        if !tier.config().has_journals() {
            return Ok(None);
        }
        let alone = |stream| {
            let found = tier.find(stream).map_err(Failure::failed)?;
            let journaled = tier.journaled(&found).map_err(Failure::failed)?;
            Ok(journaled.map_or(0, |journaled| journaled.records.len()))
        };
        let records = (0..tier.config().streams).map(alone).sum::<Result<usize, Failure>>()?;
        Ok(Some(Journals { bytes: tier.journal_bytes(), records }))
    }
}

fn look(tier: &Tier, piece: Piece) -> Result<Stream, Failure> {
    let mut stream = Stream::default();
    let mut sample = Sample::default();
    let mut visit = |met: Met<'_>| {
        match met {
            Met::Records(records) => {
                records.iter().for_each(|(record, _)| stream.take(record));
                records
                    .first()
                    .and_then(|(_, place)| *place)
                    .into_iter()
                    .for_each(|place| sample.take(place));
            }
            Met::Part(part, records) => {
                stream.snapshots += u64::from(part.is_last);
                stream.snapshot_records += u64::from(records);
            }
            Met::Lost(_) => {}
        }
        Ok(())
    };
    let (end, counts) = walk::stream(tier, piece, &mut visit)?;
    let mut reader = tier.reader();
    for place in sample.places {
        match reader.page(place) {
            Ok(page) => {
                stream.raw_bytes += page.raw_bytes();
                stream.stored_bytes += page.stored_bytes();
            }
            // To find damage is what `check` is for.
            Err(Miss::Corrupt(_)) => {}
            Err(Miss::Media(error)) => return Err(Failure::failed(error)),
        }
    }
    Ok(Stream { used_bytes: end.used_bytes(), appended_bytes: end.appended_bytes(), counts, ..stream })
}

/// Every n-th page of those that come, n doubled whenever there are too many.
#[derive(Debug, Default)]
struct Sample {
    places: Vec<Place>,
    come: u64,
    doublings: u32,
}

impl Sample {
    fn take(&mut self, place: Place) {
        if self.come.is_multiple_of(1 << self.doublings) {
            self.places.push(place);
        }
        self.come += 1;
        if self.places.len() == 2 * SAMPLE_PAGES {
            let mut number = 0;
            self.places.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.doublings += 1;
        }
    }
}

impl Stream {
    fn take(&mut self, record: &Record) {
        match record.kind {
            Kind::Item | Kind::ChainHead => self.items += 1,
            Kind::Chunk => self.chunks += 1,
            Kind::Tombstone | Kind::Flush | Kind::FlushAll => self.marks += 1,
            Kind::Packed => return,
        }
        self.span(record.version, record.version);
    }

    fn span(&mut self, low: u64, high: u64) {
        let (lowest, highest) = self.versions.unwrap_or((low, high));
        self.versions = Some((lowest.min(low), highest.max(high)));
    }

    fn sum(streams: &[Stream]) -> Stream {
        let mut sum = Stream::default();
        for stream in streams {
            sum.used_bytes += stream.used_bytes;
            sum.appended_bytes = sum.appended_bytes.saturating_add(stream.appended_bytes);
            sum.items += stream.items;
            sum.chunks += stream.chunks;
            sum.marks += stream.marks;
            sum.snapshots += stream.snapshots;
            sum.snapshot_records += stream.snapshot_records;
            sum.counts.parts += stream.counts.parts;
            sum.counts.batches += stream.counts.batches;
            sum.counts.damaged += stream.counts.damaged;
            sum.counts.padding_bytes += stream.counts.padding_bytes;
            sum.raw_bytes += stream.raw_bytes;
            sum.stored_bytes += stream.stored_bytes;
            if let Some((low, high)) = stream.versions {
                sum.span(low, high);
            }
        }
        sum
    }

    /// Bytes of items for each byte that they take.
    fn ratio(&self) -> Option<f64> {
        (self.stored_bytes > 0).then(|| self.raw_bytes as f64 / self.stored_bytes as f64)
    }

    fn text(&self, room_bytes: u64) -> String {
        let Stream { used_bytes, appended_bytes, items, chunks, marks, counts, .. } = self;
        let Stream { snapshots, snapshot_records, .. } = self;
        let share = 100.0 * *used_bytes as f64 / room_bytes.max(1) as f64;
        let mut text =
            format!("{used_bytes} of {room_bytes} bytes used ({share:.1} %), {appended_bytes} ever written");
        text += &format!("; {items} items, {chunks} chunks, {marks} marks in {} batches", counts.batches);
        if let Some(ratio) = self.ratio() {
            text += &format!("; compressed {ratio:.2} to 1");
        }
        if counts.padding_bytes > 0 {
            let share = 100.0 * counts.padding_bytes as f64 / (*used_bytes).max(1) as f64;
            text += &format!("; {share:.1} % of what is used is lost to short batches");
        }
        if counts.parts > 0 {
            text += &format!("; {snapshots} snapshots, {snapshot_records} records in {} parts", counts.parts);
        }
        if let Some((low, high)) = self.versions {
            text += &format!("; changed {} to {} ago", age(low), age(high));
        }
        if counts.damaged > 0 {
            text += &format!("; {} tables are damaged", counts.damaged);
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "used_bytes": self.used_bytes,
            "appended_bytes": self.appended_bytes,
            "items": self.items,
            "chunks": self.chunks,
            "marks": self.marks,
            "batches": self.counts.batches,
            "snapshots": self.snapshots,
            "snapshot_parts": self.counts.parts,
            "snapshot_records": self.snapshot_records,
            "damaged_tables": self.counts.damaged,
            "padding_bytes": self.counts.padding_bytes,
            "compression": self.ratio(),
            "oldest_change_ms": self.versions.map(|(low, _)| version::millis(low)),
            "newest_change_ms": self.versions.map(|(_, high)| version::millis(high)),
        })
    }
}

/// How long ago a version was made.
fn age(version: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_millis(version::millis(version))).as_secs();
    match age {
        0..120 => format!("{age} s"),
        120..7200 => format!("{} min", age / 60),
        7200..172_800 => format!("{} h", age / 3600),
        _ => format!("{} d", age / 86_400),
    }
}

fn state_word(superblock: &Superblock) -> &'static str {
    match (superblock.is_void, superblock.is_clean) {
        _ if superblock.is_volatile => "unfinished",
        (true, _) => "void",
        (false, true) => "ended",
        (false, false) => "cut-off",
    }
}

/// The databases that have another space than the one of their number.
fn spaces_text(table: &SpaceTable) -> String {
    let numbers = table.spaces.iter().map(|space| space.number).enumerate();
    let others = numbers.filter(|(database, space)| *database != usize::from(*space));
    let words: Vec<String> =
        others.map(|(database, space)| format!("{database} has space {space}")).collect();
    if words.is_empty() { "each has the space of its number".into() } else { words.join(", ") }
}

impl All {
    fn text(&self, medium: &dyn Medium) -> String {
        let All { superblock, stream_bytes, streams, journals } = self;
        let Superblock { config, generation, ceiling, .. } = superblock;
        let state = match state_word(superblock) {
            "void" => "void: its medium had failed, and nothing on it is believed",
            "unfinished" => {
                "void: a run without durability has not ended in order, and nothing on it is believed"
            }
            "ended" => "the last run ended in order",
            _ => "the last run did not end in order",
        };
        let mut lines = vec![
            ("medium", medium.describe()),
            ("format", superblock.format().to_string()),
            ("state", state.to_owned()),
            ("size", format!("{} bytes in {} streams", config.bytes, config.streams)),
            ("pages", format!("{} bytes, batches {} bytes", config.page_bytes, config.batch_bytes)),
            ("volume", format!("{:016x}, run {generation}", config.volume)),
            ("versions", format!("up to {ceiling} may have been given out")),
        ];
        if superblock.spaces.has_changed() {
            lines.push(("databases", spaces_text(&superblock.spaces)));
        }
        if let Some(Journals { bytes, records }) = journals {
            lines.push(("journals", format!("{bytes} bytes each; {records} changes are in them alone")));
        }
        let names: Vec<String> = (0..streams.len()).map(|number| format!("stream {number}")).collect();
        if !streams.is_empty() {
            lines.push(("all", Stream::sum(streams).text(*stream_bytes * streams.len() as u64)));
        }
        lines.extend(
            names.iter().map(String::as_str).zip(streams.iter().map(|stream| stream.text(*stream_bytes))),
        );
        lines.iter().map(|(name, words)| format!("{name:<10} {words}\n")).collect()
    }

    fn json(&self, medium: &dyn Medium) -> String {
        let All { superblock, stream_bytes, streams, journals } = self;
        let Superblock { config, generation, ceiling, .. } = superblock;
        let report = json!({
            "medium": medium.describe(),
            "format": superblock.format(),
            "state": state_word(superblock),
            "bytes": config.bytes,
            "page_bytes": config.page_bytes,
            "batch_bytes": config.batch_bytes,
            "volume": format!("{:016x}", config.volume),
            "generation": generation,
            "ceiling": ceiling,
            "spaces": superblock.spaces.spaces.map(|space| space.number).to_vec(),
            "stream_bytes": stream_bytes,
            "journal_bytes": journals.as_ref().map_or(0, |journals| journals.bytes),
            "journaled_changes": journals.as_ref().map_or(0, |journals| journals.records),
            "all": Stream::sum(streams).json(),
            "streams": streams.iter().map(Stream::json).collect::<Vec<_>>(),
        });
        format!("{report}\n")
    }
}
