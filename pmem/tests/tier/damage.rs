//! Damage to what had been drained: what is found is the newest of a key, or nothing.

use std::sync::Arc;

use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config, snapshotted};

/// A tier that was closed, the image that it had some time before, and what is on it.
fn closed(config: Config, seed: u64, steps: u64) -> (Vec<u8>, Vec<u8>, Model) {
    let mut script = Script::new(config, 512, seed, 25);
    let mut earlier = Vec::new();
    for number in 0..steps {
        let (step, hash) = script.any();
        // Small batches, so that versions of a key lie in many.
        let step = match number % 20 {
            7 => Step::Flush,
            3 | 8 | 11 | 15 | 19 => Step::Drain,
            _ => step,
        };
        script.step(step, hash).expect("no call fails");
        if number == steps * 4 / 5 {
            earlier = script.medium.image();
        }
        if config.has_snapshots && number == steps - 4 {
            script.snapshot(hash);
        }
    }
    let (sim, model) = script.close();
    let found = Found::of_image(&sim.image());
    model.check(&found);
    assert!(found.items.len() > 8, "{}", found.items.len());
    assert_eq!(found.has_snapshot(), config.has_snapshots);
    (sim.image(), earlier, model)
}

/// Opens a damaged image, and checks what is found. Whether there was anything at all.
fn check(medium: &Arc<dyn Medium>, model: &Model) -> bool {
    let found = Found::of_medium(medium);
    found.iter().for_each(|found| model.check_damaged(found));
    if let Some(tier) = Tier::open(Arc::clone(medium)).ok().filter(|tier| tier.config().has_snapshots) {
        model.check_damaged(&Found::of_tables(&tier));
    }
    found.is_some_and(|found| !found.items.is_empty())
}

/// Tiers that have never been written over, and that have.
const STEPS: [u64; 2] = [60, 400];

/// Without snapshots, and with one at the end.
fn cases() -> impl Iterator<Item = (Config, u64)> {
    STEPS.into_iter().flat_map(|steps| [config(1, 8), snapshotted(1, 8)].map(|config| (config, steps)))
}

#[test]
fn every_byte_changed() {
    for (config, steps) in cases() {
        let (image, _, model) = closed(config, steps, steps);
        let sim = Arc::new(Sim::of_image(image.clone(), 512));
        let medium: Arc<dyn Medium> = sim.clone();
        let (mut found, mut random) = (0, Random(7));
        let mut tried = 0;
        for at in (0..image.len()).filter(|at| image[at / 64 * 64..][..64].iter().any(|byte| *byte != 0)) {
            let flip = 1 << random.below(8);
            sim.rot(at, |byte| byte ^ flip);
            found += u64::from(check(&medium, &model));
            tried += 1;
            sim.rot(at, |byte| byte ^ flip);
        }
        // Damage costs what it hits and what that may have superseded, not all.
        assert!(found * 10 > tried * 9, "{found} of {tried}");
    }
}

/// A tier that a crash has cut off behind batches that were drained: in the midst of a last one, or behind it.
#[test]
fn every_byte_changed_and_a_crash() {
    for (seed, keep) in [(60, 3), (61, 12), (62, 64)] {
        let mut script = Script::new(config(1, 8), 512, seed, 25);
        for number in 0..seed {
            let (step, hash) = script.any();
            let step = if number % 3 == 2 { Step::Drain } else { step };
            script.step(step, hash).expect("no call fails");
        }
        script.step(Step::Drain, 1).expect("no call fails");
        let before = script.medium.image();
        script.step(Step::Set, 1).expect("no call fails");
        script.step(Step::Write, 1).expect("no call fails");
        let image = script.medium.crash_point().image(|piece| piece < keep);
        let sim = Arc::new(Sim::of_image(image.clone(), 512));
        let medium: Arc<dyn Medium> = sim.clone();
        assert!(check(&medium, &script.model));
        for at in (0..image.len()).filter(|at| image[at / 64 * 64..][..64].iter().any(|byte| *byte != 0)) {
            sim.rot(at, |byte| byte ^ 4);
            check(&medium, &script.model);
            let block = at / BLOCK_BYTES * BLOCK_BYTES..at / BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES;
            if keep == 64 && block.start >= 4 * BLOCK_BYTES && image[block.clone()] == before[block] {
                // What is whole behind the damage is not given up.
                let found = Found::of_medium(&medium).expect("a tier");
                assert_eq!(found.items.get(&1).copied(), script.model.newest(1), "byte {at}");
            }
            sim.rot(at, |byte| byte ^ 4);
        }
        // A whole block that is gone.
        for at in (0..image.len()).step_by(BLOCK_BYTES) {
            let mut gone = image.clone();
            gone[at..][..BLOCK_BYTES].fill(0xEE);
            check(&(Arc::new(Sim::of_image(gone, 512)) as Arc<dyn Medium>), &script.model);
        }
    }
}

#[test]
fn every_prefix() {
    for (config, steps) in cases() {
        let (image, _, model) = closed(config, steps, steps);
        for len in (0..image.len()).step_by(64) {
            let mut cut = image.clone();
            cut[len..].fill(0);
            let medium: Arc<dyn Medium> = Arc::new(Sim::of_image(cut, 512));
            check(&medium, &model);
            if len % BLOCK_BYTES == 0 && len > 0 {
                let shorter: Arc<dyn Medium> = Arc::new(Sim::of_image(image[..len].to_vec(), 512));
                assert!(Tier::open(shorter).is_err(), "{len} bytes");
            }
        }
    }
}

#[test]
fn every_two_blocks_exchanged() {
    for (config, steps) in cases() {
        let (image, _, model) = closed(config, steps, steps);
        let blocks = image.len() / BLOCK_BYTES;
        for (first, second) in (0..blocks).flat_map(|first| (0..first).map(move |second| (first, second))) {
            let mut exchanged = image.clone();
            let (low, high) = exchanged.split_at_mut(first * BLOCK_BYTES);
            low[second * BLOCK_BYTES..][..BLOCK_BYTES].swap_with_slice(&mut high[..BLOCK_BYTES]);
            let medium: Arc<dyn Medium> = Arc::new(Sim::of_image(exchanged, 512));
            check(&medium, &model);
        }
    }
}

#[test]
fn every_block_as_it_was_before() {
    for (config, steps) in cases() {
        let (image, earlier, model) = closed(config, steps, steps);
        for at in (0..image.len()).step_by(BLOCK_BYTES) {
            for old in [&earlier, &vec![0; image.len()]] {
                let mut reverted = image.clone();
                reverted[at..][..BLOCK_BYTES].copy_from_slice(&old[at..][..BLOCK_BYTES]);
                let medium: Arc<dyn Medium> = Arc::new(Sim::of_image(reverted, 512));
                check(&medium, &model);
            }
        }
    }
}

#[test]
fn bytes_and_blocks_by_chance_and_going_on_from_there() {
    for (config, _) in cases() {
        by_chance(config);
    }
}

fn by_chance(config: Config) {
    let (image, earlier, model) = closed(config, 3, 400);
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut damaged = image.clone();
        for _ in 0..random.below(6) {
            let at = random.below(image.len() as u64) as usize;
            damaged[at] ^= random.next() as u8;
        }
        for _ in 0..random.below(3) {
            let at =
                2 * BLOCK_BYTES + random.below((image.len() / BLOCK_BYTES - 2) as u64) as usize * BLOCK_BYTES;
            let old = if random.below(2) == 0 { &earlier[at..][..BLOCK_BYTES] } else { &[0xAB; BLOCK_BYTES] };
            damaged[at..][..BLOCK_BYTES].copy_from_slice(old);
        }
        let sim = Arc::new(Sim::of_image(damaged, 512));
        let Some(found) = Found::of_medium(&(sim.clone() as Arc<dyn Medium>)) else { continue };
        model.check_damaged(&found);
        // From here on only what was found may be there.
        let mut lossy = model.clone();
        lossy.restart(&found);
        let mut script = Script::on(sim, lossy, 1_000_000 + seed, seed, 25).expect("no call fails");
        for _ in 0..120 {
            let (step, hash) = script.any();
            script.step(step, hash).expect("no call fails");
        }
        let (sim, model) = script.close();
        model.check_damaged(&Found::of_image(&sim.image()));
    }
}
