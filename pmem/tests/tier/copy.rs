//! A tier that is carried over to another medium: the same is found there, but for what there is no room for.

use std::ops::RangeInclusive;
use std::sync::Arc;

use torc_pmem::copy::{Copied, CopyError, Progress, copy};
use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{Call, Random, Sim};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config};

/// The slots of each stream, as the scripts have them.
fn slots(streams: u16) -> Vec<(RangeInclusive<u16>, u16)> {
    let start = |stream: u16| (u32::from(stream) * 16384).div_ceil(u32::from(streams)) as u16;
    (0..streams).map(|stream| (start(stream)..=start(stream + 1) - 1, stream)).collect()
}

fn copied(from: &Arc<dyn Medium>, to: &Arc<Sim>, config: Config) -> Result<Copied, CopyError> {
    let (from, to) = (Tier::open(from.clone()).expect("a tier"), to.clone() as Arc<dyn Medium>);
    let mut last = 0;
    copy(&from, &to, Config { volume: 99, ..config }, &slots(config.streams), &mut |progress: Progress| {
        assert!(progress.done_bytes > last && progress.done_bytes <= progress.all_bytes);
        last = progress.done_bytes;
    })
}

fn closed(streams: u16, seed: u64, steps: u64) -> (Arc<Sim>, Model) {
    let mut script = Script::new(config(streams, 8), 512, seed, 40);
    for _ in 0..steps {
        let (step, hash) = script.any();
        script.step(step, hash).expect("no call fails");
    }
    script.close()
}

#[test]
fn all_is_found_again_however_the_target_is_divided() {
    for (seed, streams) in (0..60).zip([1, 2, 3].into_iter().cycle()) {
        let (sim, model) = closed(streams, seed, 30 * seed);
        let medium: Arc<dyn Medium> = sim.clone();
        let before = Found::of_image(&sim.image());
        for target in [1, 2, 5] {
            let wide = config(target, 40);
            let to = Arc::new(Sim::new(wide.bytes, 512));
            let done = copied(&medium, &to, wide).expect("no call fails");
            assert_eq!((done.dropped, done.lost), (0, 0));
            let found = Found::of_image(&to.image());
            assert_eq!(found.items, before.items, "seed {seed}, {streams} streams to {target}");
            // It is used as any tier is, and goes on.
            let mut model = model.clone();
            model.restart(&before);
            let mut script = Script::on(to, model, 1_000_000, seed, 40).expect("no call fails");
            for _ in 0..100 {
                let (step, hash) = script.any();
                script.step(step, hash).expect("no call fails");
            }
            let (sim, model) = script.close();
            model.check(&Found::of_image(&sim.image()));
        }
    }
}

#[test]
fn what_there_is_no_room_for_is_the_oldest_and_nothing_older_comes_back() {
    let mut dropped = 0;
    for seed in 0..40 {
        let mut script = Script::new(config(2, 30), 512, seed, 200);
        for _ in 0..600 {
            let (step, hash) = script.any();
            script.step(step, hash).expect("no call fails");
        }
        let newest = script.version;
        let (sim, _) = script.close();
        let before = Found::of_image(&sim.image());
        let small = config(1, 8);
        let to = Arc::new(Sim::new(small.bytes, 512));
        let done = copied(&(sim as Arc<dyn Medium>), &to, small).expect("no call fails");
        dropped += done.dropped;
        let found = Found::of_image(&to.image());
        let oldest = found.items.values().min().expect("there are items");
        for (hash, version) in &found.items {
            assert_eq!(before.items.get(hash), Some(version), "seed {seed}, key {hash}");
        }
        // What was carried on for its sake has kept its version, and lies in younger batches.
        let missing = |(hash, _): &(&u64, &u64)| !found.items.contains_key(hash);
        let youngest = before.items.iter().filter(missing).map(|(_, version)| *version).max();
        assert!(
            youngest < Some(newest - 20),
            "seed {seed}: {youngest:?} of {newest} is missing, not {oldest}"
        );
    }
    assert!(dropped > 1000, "{dropped}");
}

#[test]
fn of_a_damaged_tier_the_same_is_found_as_before() {
    for (seed, steps) in [(1, 60), (2, 400), (3, 400)] {
        let mut script = Script::new(config(1, 8), 512, seed, 25);
        for number in 0..steps {
            let (step, hash) = script.any();
            let step = if number % 4 == 3 { Step::Drain } else { step };
            script.step(step, hash).expect("no call fails");
        }
        let (sim, model) = script.close();
        let image = sim.image();
        let mut lost = 0;
        for round in 0..600 {
            let mut random = Random(seed * 10_000 + round);
            let mut damaged = image.clone();
            for _ in 0..1 + random.below(6) {
                // Blocks in a row, as heads and feet of batches are what the others are found by. Tables end before a foot.
                let first = random.below((image.len() / BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
                for block in 0..random.below(4) as usize {
                    let from = [0, BLOCK_BYTES - 400][random.below(2) as usize];
                    let at = first + block * BLOCK_BYTES + from + random.below(300) as usize;
                    damaged.get_mut(at).into_iter().for_each(|byte| *byte ^= 4);
                }
            }
            let medium: Arc<dyn Medium> = Arc::new(Sim::of_image(damaged, 512));
            let Some(before) = Found::of_medium(&medium) else { continue };
            let wide = config(2, 20);
            let to = Arc::new(Sim::new(wide.bytes, 512));
            lost += copied(&medium, &to, wide).expect("no call fails").lost;
            let found = Found::of_image(&to.image());
            assert_eq!(found.items, before.items, "seed {seed}, round {round}");
            model.check_damaged(&found);
        }
        assert!(lost > 100, "{lost} items were damaged themselves");
    }
}

#[test]
fn a_call_that_fails_ends_it_and_the_source_is_as_it_was() {
    let (sim, _) = closed(2, 5, 300);
    let (image, small) = (sim.image(), config(2, 8));
    for (call, is_source) in
        [(Call::Read, true), (Call::Read, false), (Call::Write, false), (Call::Drain, false)]
    {
        let mut failed = 0;
        loop {
            let to = Arc::new(Sim::new(small.bytes, 512));
            let tier = Tier::open(sim.clone() as Arc<dyn Medium>).expect("a tier");
            let failing = if is_source { &sim } else { &to };
            failing.fail(call, failed, libc::EIO);
            let medium = to.clone() as Arc<dyn Medium>;
            match copy(&tier, &medium, Config { volume: 9, ..small }, &slots(2), &mut |_| {}) {
                Ok(_) => break,
                Err(error) => assert!(error.to_string().contains("Input/output error"), "{error}"),
            }
            failed += 1;
        }
        // A call that is beyond the last one is still to fail.
        sim.fail(call, u64::from(u32::MAX), libc::EIO);
        assert!(failed >= 5, "{call:?}: {failed}");
    }
    assert!(sim.image() == image, "nothing is written to the source");
}

#[test]
fn it_goes_on_with_the_ceiling_and_the_end_of_the_source() {
    let small = config(1, 8);
    for ends in [false, true] {
        let sim = Arc::new(Sim::new(small.bytes, 512));
        let medium: Arc<dyn Medium> = sim.clone();
        Tier::create(&medium, small).unwrap();
        let run = Tier::open(medium.clone()).unwrap().begin().unwrap();
        run.raise_ceiling(12_345).unwrap();
        if ends {
            run.end().unwrap();
        }
        let to = Arc::new(Sim::new(small.bytes, 512));
        copied(&medium, &to, Config { hash_seed: 7, ..small }).unwrap();
        let tier = Tier::open(to).unwrap();
        assert_eq!((tier.ceiling(), tier.is_clean()), (12_345, ends));
        assert_eq!((tier.config().hash_seed, tier.config().volume), (small.hash_seed, 99));
    }
}
