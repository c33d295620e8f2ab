use super::*;
use crate::format::geometry::Place;
use crate::format::record::{Kind, Record};
use crate::format::superblock::JournalConfig;
use crate::media::sim::Sim;
use crate::media::volatile::Volatile;
use crate::stream::{Miss, StreamWriter, Unfit, WriteError};

pub(crate) const CONFIG: Config = Config {
    bytes: 2 << 20,
    page_bytes: 4096,
    batch_bytes: 16 << 10,
    streams: 2,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 99,
    hash_seed: 7,
};

fn item(hash: u64, version: u64) -> Record {
    Record { hash, version, expiry: 0, space: 0, slot: (hash % 16384) as u16, kind: Kind::Item }
}

/// A tier on memory, and a writer for each stream.
fn started(medium: &Arc<dyn Medium>) -> (Run, Vec<StreamWriter>, Vec<Vec<Event>>) {
    let tier = Tier::open(Arc::clone(medium)).unwrap();
    let mut told = vec![Vec::new(); tier.config().streams.into()];
    let ends: Vec<StreamEnd> = (0..tier.config().streams)
        .map(|stream| {
            let told = &mut told[usize::from(stream)];
            tier.recover(stream, &mut |event| told.push(event)).unwrap().0
        })
        .collect();
    let run = tier.begin().unwrap();
    let writers = ends.iter().map(|end| run.writer(end).unwrap()).collect();
    (run, writers, told)
}

fn value(hash: u64, version: u64) -> Vec<u8> {
    let line = format!("{hash} in version {version}; ");
    line.as_bytes().iter().copied().cycle().take(8 + (hash % 700) as usize).collect()
}

#[test]
fn what_was_written_is_told_and_read_after_a_clean_stop_over_many_laps() {
    let medium: Arc<dyn Medium> = Arc::new(Volatile::new(CONFIG.bytes).unwrap());
    Tier::create(&medium, CONFIG).unwrap();
    let (mut version, mut freed) = (0, 0);
    let mut model: std::collections::HashMap<u64, (u64, Place)> = Default::default();
    for run_number in 0..4_u64 {
        let (run, mut writers, told) = started(&medium);
        let recovered: Vec<&Event> = told.iter().flatten().collect();
        assert!(run_number == 0 || recovered.len() >= model.len(), "{} {}", recovered.len(), model.len());
        let mut newest: std::collections::HashMap<u64, (u64, Place)> = Default::default();
        for event in recovered {
            let Event::Record { record, place: Some(place) } = event else { panic!("{event:?}") };
            let entry = newest.entry(record.hash).or_insert((record.version, *place));
            *entry = (*entry).max((record.version, *place));
        }
        assert_eq!(newest, model);
        let mut reader = run.tier().reader();
        for (hash, (version, place)) in &model {
            assert_eq!(reader.read(*place).unwrap(), value(*hash, *version));
        }
        let mut records = Vec::new();
        for round in 0..400_u64 {
            let writer = &mut writers[(round % 2) as usize];
            while writer.wants_room() {
                let oldest = writer.oldest(&mut records).unwrap().unwrap();
                assert!(!oldest.is_damaged);
                for (record, place) in records.drain(..) {
                    freed += 1;
                    if model.get(&record.hash) == Some(&(record.version, place.unwrap())) {
                        model.remove(&record.hash);
                    }
                }
                writer.free(oldest);
            }
            for number in 0..20 {
                version += 1;
                let hash = round * 37 % 500 * 2 + round % 2 + number * 1000;
                let place = loop {
                    match writer.add(&item(hash, version), &value(hash, version)) {
                        Ok(place) => break place.unwrap(),
                        Err(Unfit::BatchFull) => writer.write().unwrap(),
                        Err(error) => panic!("{error}"),
                    }
                };
                model.insert(hash, (version, place));
            }
            if round % 3 == 0 {
                writer.commit().unwrap();
            }
        }
        run.raise_ceiling(version).unwrap();
        writers.into_iter().for_each(|writer| writer.close().unwrap());
        run.end().unwrap();
        let tier = Tier::open(Arc::clone(&medium)).unwrap();
        assert_eq!((tier.is_clean(), tier.ceiling()), (true, version));
    }
    assert!(freed > 10_000, "several laps: {freed}");
}

#[test]
fn items_of_all_lengths_come_back_and_one_that_is_too_long_is_refused() {
    let medium: Arc<dyn Medium> = Arc::new(Volatile::new(CONFIG.bytes).unwrap());
    Tier::create(&medium, CONFIG).unwrap();
    let (run, mut writers, _) = started(&medium);
    let (writer, mut reader) = (&mut writers[1], run.tier().reader());
    let mut random = crate::media::sim::Random(5);
    for (version, len) in
        [1, 7, 8, 9, 4000, 4024, 4025, 5000, 4095, 4096, 15980, 15992, 3].into_iter().enumerate()
    {
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(len).collect();
        let mut add = || writer.add(&item(3, version as u64), &bytes);
        let place = match add() {
            Err(Unfit::BatchFull) => {
                writer.commit().unwrap();
                writer.add(&item(3, version as u64), &bytes).unwrap()
            }
            added => added.unwrap(),
        };
        writer.commit().unwrap();
        assert_eq!(reader.read(place.unwrap()).unwrap(), bytes, "{len} bytes");
    }
    let most = match writer.add(&item(1, 1), &[0; 1 << 20]) {
        Err(Unfit::TooLong { most, .. }) => most,
        other => panic!("{other:?}"),
    };
    let longest: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(most).collect();
    let place = writer.add(&item(1, 1), &longest).unwrap().unwrap();
    writer.commit().unwrap();
    assert_eq!(reader.read(place).unwrap(), longest);
    assert_eq!(writer.add(&item(1, 1), &[]), Err(Unfit::Kind));
    let tombstone = Record { kind: Kind::Tombstone, ..item(1, 2) };
    assert_eq!(writer.add(&tombstone, &[1]), Err(Unfit::Kind));
    assert_eq!(writer.add(&tombstone, &[]), Ok(None));
    assert!(matches!(reader.read(Place::from_bits(place.to_bits() + 1)), Err(Miss::Corrupt(_))));
}

#[test]
fn what_is_not_a_tier_of_this_size_is_refused_by_name() {
    let open = |image: Vec<u8>| Tier::open(Arc::new(Sim::of_image(image, 512))).unwrap_err().to_string();
    assert!(open(vec![0; 2 << 20]).ends_with("it holds nothing yet"));
    assert!(open(vec![1; 2 << 20]).ends_with("it holds something that is not a tier of Torc"));
    let sim = Arc::new(Sim::new(CONFIG.bytes, 512));
    let medium: Arc<dyn Medium> = sim.clone();
    Tier::create(&medium, CONFIG).unwrap();
    let image = sim.image();
    let shorter = open(image[..1 << 20].to_vec());
    assert!(shorter.ends_with("it was made for 2097152 bytes and has 1048576"), "{shorter}");
    let (run, _, _) = started(&medium);
    run.void().unwrap();
    assert!(open(sim.image()).ends_with("it was voided after its medium had failed"));
}

#[test]
fn a_stream_that_is_never_freed_says_so_and_loses_nothing() {
    let medium: Arc<dyn Medium> = Arc::new(Volatile::new(CONFIG.bytes).unwrap());
    Tier::create(&medium, CONFIG).unwrap();
    let (_run, mut writers, _) = started(&medium);
    let writer = &mut writers[0];
    let mut added = 0;
    let refused = loop {
        let record = item(added, added + 1);
        writer.add(&record, &value(added, added + 1)).unwrap();
        match writer.commit() {
            Ok(()) => added += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, WriteError::NoRoom), "{refused}");
    assert!(writer.wants_room());
    let (_run, _, told) = started(&medium);
    assert_eq!(told[0].len() as u64, added);
}

#[test]
fn what_a_run_without_durability_leaves_counts_only_when_it_ended_in_order() {
    let sim = Arc::new(Sim::new(CONFIG.bytes, 512));
    let medium: Arc<dyn Medium> = sim.clone();
    let open = |image: Vec<u8>| Tier::open(Arc::new(Sim::of_image(image, 512)));
    Tier::create_above(&medium, CONFIG, 77).unwrap();
    let begin = |writes: bool| {
        let tier = Tier::open(medium.clone()).unwrap();
        assert_eq!(tier.ceiling(), 77);
        let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
        let run = tier.begin_volatile().unwrap();
        let mut writer = run.writer(&end).unwrap();
        if writes {
            writer.add(&item(1, 1), b"an item").unwrap();
            writer.commit().unwrap();
        }
        (run, writer)
    };
    for writes in [false, true] {
        let (run, writer) = begin(writes);
        let unfinished = open(sim.image()).unwrap_err();
        assert!(matches!(unfinished, OpenError::Refused { source: Refused::Unfinished, .. }), "{unfinished}");
        assert!(
            Tier::superblock(&*medium).unwrap().is_void,
            "whoever does not know the flag believes nothing"
        );
        writer.close().unwrap();
        assert!(open(sim.image()).is_err(), "not before its end");
        run.end().unwrap();
        assert!(open(sim.image()).unwrap().is_clean());
    }
    let (run, _writer) = begin(false);
    run.void().unwrap();
    let refused = |image| open(image).unwrap_err().to_string();
    assert!(refused(sim.image()).ends_with("it was voided after its medium had failed"));
    run.end().unwrap();
    assert!(refused(sim.image()).ends_with("it was voided after its medium had failed"));
}

#[test]
fn what_was_freed_last_is_not_told_after_an_orderly_end() {
    let medium: Arc<dyn Medium> = Arc::new(Volatile::new(CONFIG.bytes).unwrap());
    Tier::create(&medium, CONFIG).unwrap();
    let (_run, mut writers, _) = started(&medium);
    let mut writer = writers.remove(0);
    for hash in 0..2 {
        writer.add(&item(hash, hash + 1), &value(hash, hash + 1)).unwrap();
        writer.commit().unwrap();
    }
    let oldest = writer.oldest(&mut Vec::new()).unwrap().unwrap();
    writer.free(oldest);
    writer.close().unwrap();
    let (_run, _, told) = started(&medium);
    let [Event::Record { record, .. }] = &told[0][..] else { panic!("{told:?}") };
    assert_eq!(record.hash, 1);
}

/// A stream with so many batches of one item each, as another run would find it.
fn written(medium: &Arc<dyn Medium>, batches: u64) -> Run {
    Tier::create(medium, Config { streams: 1, ..CONFIG }).unwrap();
    let (run, mut writers, _) = started(medium);
    for version in 1..=batches {
        let room = Record { slot: 1, ..item(version, version) };
        writers[0].add(&room, &incompressible(version, 9000)).unwrap();
        writers[0].commit().unwrap();
    }
    run
}

fn incompressible(seed: u64, len: usize) -> Vec<u8> {
    let mut random = crate::media::sim::Random(seed);
    std::iter::repeat_with(|| random.next() as u8).take(len).collect()
}

#[test]
fn a_stream_is_told_while_it_is_written_over_down_to_where_it_was_freed() {
    for freed_after in [1, 20, 60] {
        let medium: Arc<dyn Medium> = Arc::new(Volatile::new(CONFIG.bytes).unwrap());
        drop(written(&medium, 100));
        let tier = Tier::open(Arc::clone(&medium)).unwrap();
        let found = tier.find(0).unwrap();
        let positions = tier.positions(&found);
        let run = tier.clone().begin().unwrap();
        let mut writer = run.writer(&found.end).unwrap();
        let (mut told, mut freed) = (Vec::new(), 0);
        let mut write_over = || {
            // All of the ring, so that nothing of what was there can be read.
            for version in 101..300 {
                while writer.wants_room() {
                    let oldest = writer.oldest(&mut Vec::new()).unwrap().unwrap();
                    freed = oldest.end();
                    writer.free(oldest);
                }
                writer.add(&item(version, version), &incompressible(version, 9000)).unwrap();
                writer.commit().unwrap();
            }
            freed
        };
        let counts = tier.tell(&found, &AtomicBool::new(false), &mut |event| {
            let Event::Record { record, place: Some(place) } = event else { panic!("{event:?}") };
            told.push(record.version);
            assert!(positions.of(place) < found.end.end && positions.of(place) >= found.end.oldest);
            if told.len() == freed_after {
                assert!(
                    write_over() > positions.of(place),
                    "this one is gone, too, and can be known by its position"
                );
            }
        });
        assert_eq!(counts.unwrap().damaged, 0, "what was freed is no damage");
        assert_eq!(told, (0..freed_after as u64).map(|back| 100 - back).collect::<Vec<_>>());
    }
}

#[test]
fn telling_stops_when_it_is_told_to() {
    let medium: Arc<dyn Medium> = Arc::new(Volatile::new(CONFIG.bytes).unwrap());
    drop(written(&medium, 50));
    let tier = Tier::open(medium).unwrap();
    let (found, stops) = (tier.find(0).unwrap(), AtomicBool::new(false));
    let mut told = 0;
    let counts = tier.tell(&found, &stops, &mut |_| {
        told += 1;
        stops.store(told == 7, Relaxed);
    });
    assert_eq!((told, counts.unwrap().damaged), (7, 0));
}
