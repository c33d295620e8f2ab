//! Kept images of the format, which every later program has to read, or to refuse by name.
//!
//! An image is kept as its blocks that are not zero, each behind its number (u32). `TORC_WRITE_IMAGE=1` writes the image of
//! the format that this program writes, for when that has got a new number.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use torc_pmem::format::batch::Part;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::spaces::SpaceTable;
use torc_pmem::format::superblock::{Config, FORMATS, JournalConfig};
use torc_pmem::media::BLOCK_BYTES;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::recover::{Event, Hashes, SurveyEnd};
use torc_pmem::stream::StreamWriter;
use torc_pmem::tier::Tier;

/// How a medium of each format is divided.
fn config(format: u32) -> Config {
    let journal = match format {
        1 => JournalConfig::NONE,
        _ => JournalConfig { bytes: 8192 + 8 * (16 << 10), batch_bytes: 16 << 10 },
    };
    Config {
        bytes: 8192 + 2 * (8192 + 8 * (16 << 10)) + 2 * u64::from(journal.bytes),
        page_bytes: 4096,
        batch_bytes: 16 << 10,
        streams: 2,
        journal,
        has_snapshots: format >= 4,
        volume: 0x0123_4567_89AB_CDEF,
        hash_seed: 0xFEDC_BA98_7654_3210,
    }
}

fn path(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/images/format-{format}.bin"))
}

/// The spaces of its databases.
fn spaces(format: u32) -> SpaceTable {
    let first = SpaceTable::default();
    match format {
        5 => first.flushed(9, 0x0001_0009, |_| true).unwrap().swapped(0, 9, 0x0001_000A),
        _ => first,
    }
}

/// What is on the image, in the order of writing: of each record the stream, and the item's bytes. With journals the last one of
/// each stream is in its journal alone. With snapshots there is one of the first stream, before that.
fn contents(format: u32) -> Vec<(u16, Record, Vec<u8>)> {
    let item = |hash, version| Record {
        hash,
        version,
        expiry: 0,
        space: 0,
        slot: hash as u16 * 100,
        kind: Kind::Item,
    };
    let mut random = Random(1);
    let mut noise = |len| std::iter::repeat_with(|| random.next() as u8).take(len).collect::<Vec<u8>>();
    let mut contents = vec![
        (0, item(1, 0x0001_0000), b"the first item".to_vec()),
        (0, Record { expiry: 1_800_000_000_000, space: 9, ..item(2, 0x0001_0001) }, noise(300)),
        (0, Record { kind: Kind::ChainHead, ..item(3, 0x0001_0002) }, noise(64)),
        (0, Record { kind: Kind::Chunk, ..item(4, 0x0001_0002) }, noise(6000)),
        (0, item(1, 0x0001_0003), b"torc ".repeat(200)),
        (0, Record { kind: Kind::Tombstone, ..item(2, 0x0001_0004) }, Vec::new()),
        (1, Record::flush(Some(9), 8192..=16383, 0x0001_0005), Vec::new()),
        (1, Record::flush(None, 8192..=9000, 0x0001_0006), Vec::new()),
        (1, item(90, 0x0001_0007), vec![7]),
    ];
    if format > 1 {
        contents.push((0, item(5, 0x0001_0008), b"in a journal".to_vec()));
    }
    contents
}

/// Writes the contents, two records a batch. Without journals the run ends in order, with them it is cut off.
fn written(format: u32) -> Vec<u8> {
    let sim = Arc::new(Sim::new(config(format).bytes, 512));
    Tier::create(&(sim.clone() as Arc<_>), config(format)).unwrap();
    let tier = Tier::open(sim.clone()).unwrap();
    let found: Vec<_> = (0..2).map(|stream| tier.find(stream).unwrap()).collect();
    let journaled: Vec<_> = found.iter().map(|found| tier.journaled(found).unwrap()).collect();
    let run = tier.begin().unwrap();
    let both = found.iter().zip(&journaled);
    let mut writers: Vec<_> =
        both.map(|(found, journaled)| run.writers(&found.end, journaled.as_ref()).unwrap()).collect();
    for (stream, record, bytes) in contents(format) {
        let (writer, journal) = &mut writers[usize::from(stream)];
        if format >= 4 && record.hash == 5 {
            snapshot(run.tier(), writer);
        }
        writer.add(&record, &bytes).unwrap();
        if writer.waiting() == 2 {
            writer.commit().unwrap();
        } else if let Some(journal) = journal {
            journal.add(writer.start(), &record, &bytes);
            journal.commit().unwrap();
        }
    }
    if format == 5 {
        run.set_spaces(&spaces(format)).unwrap();
    }
    run.raise_ceiling(0x0002_0000).unwrap();
    if format == 1 {
        writers.into_iter().for_each(|(writer, _)| writer.close().unwrap());
        run.end().unwrap();
    }
    sim.image()
}

/// Writes a snapshot of a stream, in two parts.
fn snapshot(tier: &Tier, writer: &mut StreamWriter) {
    let (of, mut entries) = (writer.here(), Vec::new());
    let (mut met, stops) = (Hashes::of_bytes(1024), AtomicBool::new(false));
    let survey = tier.survey(&of, &|_| true, &mut met, &stops, &mut |entry| {
        entries.push(entry);
        true
    });
    assert_eq!(survey.unwrap().end, SurveyEnd::Whole);
    let (first, second) = entries.split_at(1);
    for (number, entries) in (0..).zip([first, second]) {
        let part = Part { below: of.end(), number, is_last: number == 1 };
        assert!(writer.write_part(part, entries).unwrap());
    }
    writer.drain().unwrap();
}

fn packed(image: &[u8]) -> Vec<u8> {
    let blocks = image.chunks(BLOCK_BYTES).enumerate();
    let full = blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
    full.flat_map(|(number, block)| [&(number as u32).to_le_bytes(), block].concat()).collect()
}

fn unpacked(packed: &[u8], bytes: u64) -> Vec<u8> {
    let mut image = vec![0; bytes as usize];
    for block in packed.chunks(4 + BLOCK_BYTES) {
        let (number, block) = block.split_first_chunk().unwrap();
        image[u32::from_le_bytes(*number) as usize * BLOCK_BYTES..][..BLOCK_BYTES].copy_from_slice(block);
    }
    image
}

#[test]
fn the_image_of_each_format_that_is_read_gives_what_was_written() {
    let newest = FORMATS[FORMATS.len() - 1];
    if std::env::var_os("TORC_WRITE_IMAGE").is_some() {
        std::fs::write(path(newest), packed(&written(newest))).unwrap();
    }
    for format in FORMATS {
        let config = config(format);
        let image = unpacked(&std::fs::read(path(format)).unwrap(), config.bytes);
        let tier = Tier::open(Arc::new(Sim::of_image(image, 512))).unwrap();
        assert_eq!((*tier.config(), tier.ceiling(), tier.is_clean()), (config, 0x0002_0000, format == 1));
        assert_eq!(*tier.spaces(), spaces(format));
        let mut reader = tier.reader();
        for stream in 0..2 {
            let mut expected: Vec<_> =
                contents(format).into_iter().filter(|(own, _, _)| *own == stream).collect();
            let mut compare = |record: Record, place: Option<Place>| {
                let (_, added, bytes) = expected.pop().expect("no more than was written");
                assert_eq!(record, added);
                let read = place.map(|place| reader.read(place).unwrap().to_vec());
                assert_eq!(read.unwrap_or_default(), bytes);
            };
            let journaled = tier.journaled(&tier.find(stream).unwrap()).unwrap();
            let journaled = journaled.map(|journaled| journaled.records).unwrap_or_default();
            assert_eq!(journaled.len(), usize::from(format > 1));
            journaled.into_iter().for_each(|(record, place)| compare(record, place));
            let recovered = tier.recover_all(stream, &mut |event| match event {
                Event::Record { record, place } => compare(record, place),
                Event::Part { .. } => {}
                Event::Lost(lost) => panic!("{lost:?}"),
            });
            let (_, counts) = recovered.unwrap();
            assert!(expected.is_empty() && counts.damaged == 0, "{counts:?}");
            assert_eq!(counts.parts, if format >= 4 && stream == 0 { 2 } else { 0 });
        }
    }
}

#[test]
fn the_snapshot_of_an_image_is_read() {
    let image = unpacked(&std::fs::read(path(4)).unwrap(), config(4).bytes);
    let tier = Tier::open(Arc::new(Sim::of_image(image, 512))).unwrap();
    let (mut told, mut reader) = (Vec::new(), tier.reader());
    let (_, counts) = tier
        .recover(0, &mut |event| {
            let Event::Record { record, place: Some(place) } = event else { panic!("{event:?}") };
            told.push((record, reader.read(place).unwrap().to_vec()));
        })
        .unwrap();
    // The newest of each key, and nothing of one that was deleted.
    let living = contents(4)
        .into_iter()
        .filter(|(_, record, _)| [3, 4].contains(&record.hash) || record.version == 0x0001_0003);
    let living: Vec<_> = living.map(|(_, record, bytes)| (record, bytes)).rev().collect();
    assert_eq!((&told, counts.has_snapshot, counts.batches), (&living, true, 0));
}

/// What is written today is, to the byte, what was kept. Compression alone may come out otherwise in a later version of its
/// library; then the kept image stays, as it must be read, and this test compares with a new one.
#[test]
fn what_is_written_is_to_the_byte_what_was_kept() {
    for format in FORMATS {
        let kept = std::fs::read(path(format)).unwrap();
        let written = packed(&written(format));
        let first = written.iter().zip(&kept).position(|(now, then)| now != then);
        assert_eq!((first, written.len()), (None, kept.len()), "the first byte that differs");
    }
}
