//! Snapshots in the streams: what is told by one is what the tables say that it is of, or the tables are read. How they crash is in
//! `crash.rs`, how they rot in `damage.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use torc_pmem::copy::copy;
use torc_pmem::format::UNIT_BYTES;
use torc_pmem::format::batch::{Bounds, HEAD_BYTES, Head, Part};
use torc_pmem::format::geometry::{Geometry, Ring};
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::recover::{Event, Hashes, StreamEnd, SurveyEnd};
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config, in_parts, journaled, living, snapshotted};

fn ring(config: Config) -> Ring {
    Geometry::new(config).expect("a configuration").ring(0)
}

fn opened(image: &[u8]) -> Tier {
    Tier::open(Arc::new(Sim::of_image(image.to_vec(), 512))).expect("a tier")
}

/// The batches of the first stream of an undamaged image, newest first.
fn batches(image: &[u8], config: Config) -> Vec<Bounds> {
    let (ring, tier) = (ring(config), opened(image));
    let end = tier.find(0).expect("a stream").end;
    let byte = |position: u64| ring.byte(position) as usize;
    let foot = |last: u64| Head::decode_foot(&image[..byte(last) + UNIT_BYTES]);
    let mut bounds = end.end().checked_sub(1).and_then(foot).map(|foot| foot.bounds);
    let mut batches = Vec::new();
    let oldest = (end.appended_bytes() - end.used_bytes()) / UNIT_BYTES as u64;
    while let Some(found) = bounds.filter(|bounds| bounds.units > 0 && bounds.start >= oldest) {
        batches.push(found);
        bounds = Head::decode_head(&image[byte(found.start)..]).map(|head| head.previous);
    }
    batches
}

fn parts(image: &[u8], config: Config) -> Vec<(Bounds, Part)> {
    batches(image, config).into_iter().filter_map(|bounds| Some((bounds, bounds.part()?))).collect()
}

/// Steps by chance, and a snapshot behind them, with some steps behind that. Cut off.
fn with_snapshot(config: Config, seed: u64, steps: u64) -> (Vec<u8>, Model) {
    let mut script = Script::new(config, 512, seed, 30);
    let go = |script: &mut Script, steps: u64| {
        for number in 0..steps {
            let (step, hash) = script.any();
            let step = if matches!(step, Step::Snapshot) { Step::Set } else { step };
            script.step(if number % 5 == 4 { Step::Drain } else { step }, hash).expect("no call fails");
        }
    };
    go(&mut script, steps);
    script.snapshot(1);
    go(&mut script, 5);
    script.step(Step::Checkpoint, 1).expect("no call fails");
    (script.medium.image(), script.model)
}

#[test]
fn of_a_snapshot_any_part_of_which_is_damaged_tables_say_the_same() {
    let mut tried = 0;
    for seed in 0..10 {
        let config = snapshotted(1, 16);
        let (image, model) = with_snapshot(config, seed, 60);
        let found = Found::of_image(&image);
        model.check(&found);
        assert!(found.has_snapshot() && !found.items.is_empty());
        let ring = ring(config);
        for (bounds, _) in parts(&image, config) {
            let head = ring.byte(bounds.start) as usize;
            let (table, end) = (head + HEAD_BYTES, ring.byte(bounds.end() - 1) as usize + UNIT_BYTES);
            let foot = end - HEAD_BYTES;
            // Head or foot alone can be done without.
            for (first, second, is_read) in [
                (head..head + 1, 0..0, true),
                (foot..foot + 1, 0..0, true),
                (table..table + 1, 0..0, false),
                (head..head + 1, foot..foot + 1, false),
                (head..end, 0..0, false),
            ] {
                let mut damaged = image.clone();
                [first, second]
                    .into_iter()
                    .for_each(|range| damaged[range].iter_mut().for_each(|byte| *byte ^= 0x55));
                let without = Found::of_image(&damaged);
                assert_eq!(without.items, found.items, "seed {seed}, {bounds:?}");
                let counts = &without.counts[0];
                assert_eq!((counts.has_snapshot, counts.damaged > 0), (is_read, !is_read), "{bounds:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn where_the_newest_snapshot_is_not_whole_the_one_before_it_is_read() {
    let mut fewer = 0;
    for seed in 0..10 {
        let config = snapshotted(1, 40);
        let mut script = Script::new(config, 512, seed, 30);
        let go = |script: &mut Script| {
            for number in 0..30 {
                let (step, hash) = script.any();
                let step = if matches!(step, Step::Snapshot) { Step::Set } else { step };
                script.step(if number % 5 == 4 { Step::Drain } else { step }, hash).expect("no call fails");
            }
        };
        for _ in 0..2 {
            go(&mut script);
            script.snapshot(1);
        }
        go(&mut script);
        script.step(Step::Checkpoint, 1).expect("no call fails");
        let image = script.medium.image();
        let all = Found::of_image(&image);
        let mut below: Vec<u64> = parts(&image, config).iter().map(|(_, part)| part.below).collect();
        below.dedup();
        assert!(below.len() == 2 && below.is_sorted_by(|newer, older| newer > older), "{below:?}");
        let records = |found: &Found| found.counts[0].records;
        for (bounds, part) in parts(&image, config).iter().filter(|(_, part)| part.below == below[0]) {
            let mut damaged = image.clone();
            damaged[ring(config).byte(bounds.start) as usize + HEAD_BYTES] ^= 1;
            let older = Found::of_image(&damaged);
            assert!(older.has_snapshot() && older.items == all.items);
            if part.number > 0 {
                // Some of it was told before.
                continue;
            }
            let tables = Found::of_tables(&opened(&damaged));
            assert!(records(&all) <= records(&older) && records(&older) < records(&tables));
            fewer += records(&older) - records(&all);
        }
    }
    assert!(fewer > 50, "{fewer}");
}

/// What may lie where: a part is the oldest batch, the ring begins anew at a snapshot's position, or between its parts.
#[test]
fn snapshots_go_around_the_ring_and_are_freed_like_every_batch() {
    let (mut oldest, mut at_start, mut within, mut part_gone) = (0, 0, 0, 0);
    for seed in 0..30 {
        let config = snapshotted(1, 8 + seed % 5);
        let ring = ring(config);
        let mut script = Script::new(config, 512, seed, 30);
        for _ in 0..600 {
            let (step, hash) = script.any();
            script.step(step, hash).expect("no call fails");
            if !matches!(step, Step::Drain | Step::Snapshot) {
                continue;
            }
            let image = script.medium.image();
            script.model.check(&Found::of_image(&image));
            let all = batches(&image, config);
            oldest += u64::from(all.last().is_some_and(|oldest| oldest.part().is_some()));
            let lap = |position: u64| position / ring.units();
            let parts: Vec<_> =
                all.iter().filter_map(|bounds| Some((bounds.start, bounds.part()?))).collect();
            for ((newer, part), (older, before)) in parts.iter().zip(&parts[parts.len().min(1)..]) {
                at_start += u64::from(ring.next_start(part.below) != part.below);
                within += u64::from(part.below == before.below && lap(*newer) != lap(*older));
            }
            let first = all.iter().filter_map(Bounds::part).next_back();
            part_gone += u64::from(first.is_some_and(|first| first.number > 0));
        }
    }
    assert!(
        oldest > 20 && at_start > 20 && within > 5 && part_gone > 20,
        "{oldest} {at_start} {within} {part_gone}"
    );
}

#[test]
fn what_was_flushed_or_deleted_between_a_snapshot_and_its_parts_stays_gone() {
    let config = snapshotted(1, 20);
    for step in [Step::Flush, Step::Delete, Step::Set] {
        let mut script = Script::new(config, 512, 3, 30);
        for hash in 1..10 {
            script.step(Step::Set, hash).expect("no call fails");
        }
        script.step(Step::Checkpoint, 1).expect("no call fails");
        script.step(Step::Snapshot, 1).expect("no call fails");
        script.step(step, 9).expect("no call fails");
        script.step(Step::Checkpoint, 1).expect("no call fails");
        assert!(Found::of_image(&script.medium.image()).items.contains_key(&3));
        // The parts of the snapshot that was begun before.
        for _ in 0..9 {
            script.step(Step::Snapshot, 1).expect("no call fails");
        }
        script.step(Step::Checkpoint, 1).expect("no call fails");
        let found = Found::of_image(&script.medium.image());
        assert!(found.has_snapshot());
        script.model.check(&found);
        assert_eq!(found.items.contains_key(&9), matches!(step, Step::Set), "{step:?}");
    }
}

#[test]
fn what_a_damaged_table_behind_a_snapshot_may_have_superseded_is_not_told_by_it() {
    let config = snapshotted(1, 30);
    let mut doubtful = 0;
    for seed in 0..20 {
        let (image, model) = with_snapshot(config, seed, 60);
        let below = parts(&image, config)[0].1.below;
        let behind = batches(&image, config).into_iter().filter(|bounds| bounds.start >= below);
        for bounds in behind.filter(|bounds| bounds.part().is_none()) {
            let mut damaged = image.clone();
            let table = ring(config).byte(bounds.start + u64::from(bounds.table)) as usize;
            damaged[table] ^= 1;
            let found = Found::of_image(&damaged);
            assert!(found.has_snapshot());
            model.check_damaged(&found);
            let of_tables = Found::of_tables(&opened(&damaged));
            assert_eq!(found.items, of_tables.items, "seed {seed}");
            doubtful += found.counts[0].doubtful;
        }
    }
    assert!(doubtful > 50, "{doubtful}");
}

#[test]
fn a_tier_with_snapshots_is_copied_and_the_copy_has_none() {
    for seed in 0..20 {
        let (image, _) = with_snapshot(snapshotted(1, 16), seed, 60);
        let before = Found::of_image(&image);
        for target in [config(1, 40), journaled(1, 40), snapshotted(1, 40)] {
            let to: Arc<dyn Medium> = Arc::new(Sim::new(target.bytes, 512));
            let done = copy(&opened(&image), &to, target, &[(0..=16383, 0)], &mut |_| {});
            assert_eq!(done.expect("no call fails").lost, 0);
            let found = Found::of_medium(&to).expect("a tier");
            assert_eq!((&found.items, found.counts[0].parts), (&before.items, 0), "seed {seed}");
        }
    }
}

#[test]
fn all_tables_and_parts_are_told_to_whoever_asks() {
    let config = snapshotted(1, 16);
    let (image, _) = with_snapshot(config, 5, 60);
    let mut met = Vec::new();
    let (_, counts) = opened(&image)
        .recover_all(0, &mut |event| {
            if let Event::Part { part, records } = event {
                met.push((part, records));
            }
        })
        .expect("no call fails");
    let there: Vec<_> = parts(&image, config).iter().map(|(bounds, part)| (*part, bounds.records)).collect();
    assert_eq!((&met, counts.parts, counts.has_snapshot), (&there, there.len() as u64, false));
    let numbers: Vec<u16> = met.iter().rev().map(|(part, _)| part.number).collect();
    assert_eq!(numbers, (0..met.len() as u16).collect::<Vec<_>>());
    assert!(
        met.len() > 1 && met.iter().map(|(part, _)| part.is_last).eq((0..met.len()).map(|back| back == 0))
    );
}

/// A snapshot is looked for while its stream is written, and written over: what was freed meanwhile may be in it or not.
#[test]
fn a_snapshot_is_made_while_its_stream_is_written_over() {
    let (mut freed, mut whole) = (0, 0);
    for seed in 0..60 {
        let config = snapshotted(1, 10);
        let mut script = Script::new(config, 512, seed, 30);
        let go = |script: &mut Script, steps: u64| {
            for number in 0..steps {
                let (step, hash) = script.any();
                let step = if matches!(step, Step::Snapshot) { Step::Set } else { step };
                script.step(if number % 5 == 4 { Step::Drain } else { step }, hash).expect("no call fails");
            }
        };
        go(&mut script, 150);
        let of = script.here(0);
        let tier = script.tier().clone();
        let (mut entries, mut random) = (Vec::new(), Random(seed));
        let (mut met, stops) = (Hashes::of_bytes(64 << 10), AtomicBool::new(false));
        let every = 1 + random.below(20);
        let survey = tier.survey(&of, &|_| true, &mut met, &stops, &mut |entry| {
            entries.push(entry);
            if random.below(every) == 0 {
                go(&mut script, 40);
            }
            true
        });
        match survey.expect("no call fails").end {
            SurveyEnd::Freed => freed += 1,
            SurveyEnd::Whole => whole += 1,
            other => panic!("{other:?}"),
        }
        script.take_parts(0, in_parts(entries, of.end(), &mut random));
        for _ in 0..40 {
            let (step, hash) = script.any();
            script.step(step, hash).expect("no call fails");
            script.model.check(&Found::of_image(&script.medium.image()));
        }
    }
    assert!(freed > 3 && whole > 20, "{freed} {whole}");
}

#[test]
fn a_snapshot_is_told_while_its_stream_is_written_over() {
    for seed in 0..30 {
        let config = snapshotted(1, 12);
        let (image, model) = with_snapshot(config, seed, 200);
        let sim = Arc::new(Sim::of_image(image, 512));
        let tier = Tier::open(sim.clone()).expect("a tier");
        let found = tier.find(0).expect("no call fails");
        let mut script = Script::on(sim.clone(), model, 1_000_000, seed, 30).expect("no call fails");
        // Its writer tells other ends.
        let found = script.tier().find(0).map_or(found, |found| found);
        let (positions, tier) = (script.tier().positions(&found), script.tier().clone());
        let mut told = Vec::new();
        let counts = tier.tell(&found, &AtomicBool::new(false), &mut |event| {
            let Event::Record { record, place: Some(place) } = event else { return };
            let oldest = script.here(0).oldest();
            told.push((record.hash, positions.of(place), oldest));
            if told.len() % 3 == 0 {
                let (step, hash) = script.any();
                script.step(step, hash).expect("no call fails");
            }
        });
        assert_eq!(counts.expect("no call fails").damaged, 0, "what was freed is no damage");
        // Of a batch that was read before it was freed all is told; shards leave that out.
        let stale = told.iter().filter(|(_, position, oldest)| position < oldest).count();
        assert!(stale < told.len() || told.is_empty());
    }
}

#[test]
fn a_survey_says_why_it_ends() {
    let config = snapshotted(1, 16);
    let mut script = Script::new(config, 512, 7, 100);
    for hash in 0..60 {
        script.step(Step::Set, hash).expect("no call fails");
    }
    script.step(Step::Drain, 1).expect("no call fails");
    let (of, tier) = (script.here(0), script.tier().clone());
    let survey = |of: &StreamEnd, bytes: usize, stops: bool, most: usize| {
        let (mut met, mut taken) = (Hashes::of_bytes(bytes), 0);
        let stops = AtomicBool::new(stops);
        let survey = tier.survey(of, &|_| true, &mut met, &stops, &mut |_| {
            taken += 1;
            taken < most
        });
        survey.expect("no call fails")
    };
    let whole = survey(&of, 64 << 10, false, 1000);
    assert_eq!((whole.end, whole.records, whole.living), (SurveyEnd::Whole, 60, 60));
    let full = survey(&of, 40 * 8, false, 1000);
    assert_eq!((full.end, full.living), (SurveyEnd::Full, 30));
    assert_eq!(survey(&of, 64 << 10, false, 7).end, SurveyEnd::Stopped);
    assert_eq!(survey(&of, 64 << 10, true, 1000).end, SurveyEnd::Freed);
    let last = ring(config).byte(of.end() - 1) as usize - BLOCK_BYTES / 2;
    (last - 2000..last + 2000).for_each(|at| script.medium.rot(at, |byte| byte ^ 0xFF));
    assert_eq!(survey(&of, 64 << 10, false, 1000).end, SurveyEnd::Damaged);
}

#[test]
fn a_part_waits_for_what_was_added_and_for_room() {
    let config = snapshotted(1, 8);
    let medium: Arc<dyn Medium> = Arc::new(Sim::new(config.bytes, 512));
    Tier::create(&medium, config).expect("a tier");
    let tier = Tier::open(medium).expect("a tier");
    let end = tier.find(0).expect("no call fails").end;
    let run = tier.begin().expect("no call fails");
    let mut writer = run.writer(&end).expect("no call fails");
    let record = |hash| Record { hash, version: hash, expiry: 0, space: 0, slot: 0, kind: Kind::Item };
    writer.add(&record(1), &[1; 100]).expect("it fits");
    let part = Part { below: writer.here().end(), number: 0, is_last: true };
    assert!(!writer.write_part(part, &[]).expect("no call fails"), "something waits");
    writer.commit().expect("no call fails");
    let part = Part { below: writer.here().end(), ..part };
    let living = living(run.tier(), &writer.here());
    assert_eq!(living.len(), 1);
    assert!(writer.write_part(part, &living).expect("no call fails"));
    // With no records it says that there is nothing.
    let part = Part { below: writer.here().end(), ..part };
    assert!(writer.write_part(part, &[]).expect("no call fails"));
    writer.drain().expect("no call fails");
    let found = Tier::open(run.tier().medium().clone()).expect("a tier");
    let (_, counts) = found.recover(0, &mut |event| panic!("{event:?}")).expect("no call fails");
    assert_eq!((counts.parts, counts.has_snapshot, counts.batches), (1, true, 0));
    while !writer.wants_room() {
        assert!(writer.write_part(part, &living).expect("no call fails"));
    }
    assert!(!writer.write_part(part, &living).expect("no call fails"), "no room");
}

/// Of which slots a snapshot is looked for does not matter.
#[test]
fn a_survey_of_some_slots_at_a_time_finds_all() {
    let mut script = Script::new(snapshotted(1, 16), 512, 2, 60);
    for _ in 0..200 {
        let (step, hash) = script.any();
        script.step(step, hash).expect("no call fails");
    }
    script.step(Step::Drain, 1).expect("no call fails");
    let (of, tier) = (script.here(0), script.tier().clone());
    let survey = |passes: u16| {
        let mut found = BTreeSet::new();
        for pass in 0..passes {
            let mut met = Hashes::of_bytes(64 << 10);
            let wanted = |slot: u16| slot % passes == pass;
            let take = &mut |entry: torc_pmem::format::record::Entry| {
                assert!(found.insert((entry.record.hash, entry.record.version, entry.position())));
                true
            };
            tier.survey(&of, &wanted, &mut met, &AtomicBool::new(false), take).expect("no call fails");
        }
        found
    };
    let all = survey(1);
    assert!(all.len() > 10);
    [2, 3, 7].into_iter().for_each(|passes| assert_eq!(survey(passes), all));
}
