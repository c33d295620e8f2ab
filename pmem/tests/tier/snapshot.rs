//! Snapshots in the streams: what is told by one is what the tables say that it is of, or the tables are read. How they crash is in
//! `crash.rs`, how they rot in `damage.rs`.

use std::sync::Arc;

use torc_pmem::copy::copy;
use torc_pmem::format::UNIT_BYTES;
use torc_pmem::format::batch::{Bounds, HEAD_BYTES, Head, Part};
use torc_pmem::format::geometry::{Geometry, Ring};
use torc_pmem::format::superblock::Config;
use torc_pmem::media::Medium;
use torc_pmem::media::sim::Sim;
use torc_pmem::recover::Event;
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config, journaled, snapshotted};

pub(crate) fn ring(config: Config) -> Ring {
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
pub(crate) fn with_snapshot(config: Config, seed: u64, steps: u64) -> (Vec<u8>, Model) {
    let mut script = Script::new(config, 512, seed, 30);
    script.go(steps);
    script.snapshot(1);
    script.go(5);
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
            // Its records go over as those of their batches alone: of what was deleted since, a part has the older one.
            let records = Found::of_tables(&opened(&image)).counts[0].records;
            let done = done.expect("no call fails");
            assert_eq!((done.records, done.lost), (records, 0));
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
