//! Crashes at every drain point.

use std::sync::Arc;

use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{CrashPoint, Random, Sim};

use crate::model::{Found, Model, value};
use crate::script::{Script, Step, config, journaled, snapshotted};

/// Subsets of so many pieces are all tried: what a batch of one block or a checkpoint has on a disk.
const ALL_OF: usize = 8;

/// Images of crashes at a point: all, or some by chance.
fn images(point: &CrashPoint, random: u64, seed: u64) -> Vec<Vec<u8>> {
    match point.undrained() {
        pieces @ 0..=ALL_OF => {
            (0..1_u32 << pieces).map(|subset| point.image(|piece| subset >> piece & 1 == 1)).collect()
        }
        _ => (0..random).map(|number| point.random_image(seed * 1000 + number)).collect(),
    }
}

/// What is found after a crash is what was safe or came later, and nothing is taken for damage.
fn check(model: &Model, image: &[u8]) -> Found {
    let found = Found::of_image(image);
    model.check(&found);
    for counts in &found.counts {
        assert_eq!(
            (counts.damaged, counts.doubtful, counts.is_unreadable),
            (0, 0, false),
            "a crash is no damage"
        );
    }
    assert_eq!(found.stale, 0, "what is packed is not told from the journal");
    found
}

#[test]
fn every_subset_of_what_was_not_drained_at_every_drain_point() {
    every_subset(config(1, 8));
}

#[test]
fn every_subset_of_what_was_not_drained_with_a_journal() {
    assert!(every_subset(journaled(1, 8)) > 10);
}

#[test]
fn every_subset_of_what_was_not_drained_with_a_journal_and_snapshots() {
    assert!(every_subset(snapshotted(1, 8)) > 3);
}

/// Returns how many batches went to the journal.
fn every_subset(config: Config) -> u64 {
    use Step::{Checkpoint, Delete, Drain, Flush, Set, Snapshot, Write};
    let mut script = Script::new(config, 512, 1, 6);
    script.medium.keep_crash_points();
    let steps =
        [Set, Drain, Set, Delete, Drain, Set, Write, Set, Drain, Flush, Drain, Checkpoint, Set, Drain];
    let mut images_tried = 0;
    for round in 0..3 {
        for (number, step) in steps.into_iter().enumerate() {
            let before = script.model.clone();
            // One of the small values, so that a batch is a block.
            let hash = [1, 2, 4][(round + number) % 3];
            if config.has_snapshots && number % 4 == 1 {
                script.step(Snapshot, hash).unwrap();
            }
            script.step(step, hash).unwrap();
            let model = Model::amid(&before, &script.model);
            for point in script.medium.take_crash_points() {
                for image in images(&point, 50, number as u64) {
                    check(&model, &image);
                    images_tried += 1;
                }
            }
        }
    }
    assert!(images_tried > 5_000, "{images_tried}");
    script.journaled()
}

/// Steps by chance, and a crash by chance among them, a few times on one medium. Returns how many batches went to journals.
fn lives(config: fn(u16, u64) -> Config, streams: u16, piece_bytes: usize, seed: u64) -> u64 {
    let mut random = Random(seed);
    // Some drain often, and some have written half a ring before they do.
    let (batches, drains) = if seed % 4 == 3 { (32, 1) } else { (8, 9) };
    let mut journaled = 0;
    let mut script = Script::new(config(streams, batches), piece_bytes, seed, 40);
    let mut snapshots = 0;
    for life in 0..4 {
        script.drains = drains;
        script.medium.keep_crash_points();
        let mut next = None;
        for number in 0..50 + random.below(300) {
            let (mut step, hash) = script.any();
            if matches!(step, Step::Write) && config(1, 8).has_journals() && number % 8 != 0 {
                // What was written goes to no journal.
                step = Step::Drain;
            }
            let before = script.model.clone();
            script.step(step, hash).unwrap();
            let amid = Model::amid(&before, &script.model);
            for point in script.medium.take_crash_points() {
                let image = point.random_image(seed * 7 + number);
                snapshots += u64::from(check(&amid, &image).has_snapshot());
                next = Some((amid.clone(), image));
            }
        }
        journaled += script.journaled();
        let (mut model, version) = (script.model.clone(), script.version);
        let mut image = script.medium.crash_point().random_image(seed + life);
        check(&model, &image);
        // Every other time the crash was in the last step that has drained.
        if let (1, Some((before, kept))) = (life % 2, next) {
            (model, image) = (before, kept);
        }
        let sim = Arc::new(Sim::of_image(image, piece_bytes));
        script = Script::on(sim, model, version, random.next(), 40).unwrap();
    }
    let (sim, model) = script.close();
    check(&model, &sim.image());
    assert!(snapshots > 0 || !config(1, 8).has_snapshots, "seed {seed}");
    journaled
}

#[test]
fn random_crashes_of_disks() {
    (0..40).for_each(|seed| _ = lives(config, 1 + (seed % 3) as u16, 512, seed));
}

#[test]
fn random_crashes_of_memory() {
    (100..125).for_each(|seed| _ = lives(config, 1 + (seed % 2) as u16, 64, seed));
}

#[test]
fn random_crashes_with_journals() {
    let disks = (200..260).map(|seed| lives(journaled, 1 + (seed % 3) as u16, 512, seed));
    let memory = (300..340).map(|seed| lives(journaled, 1 + (seed % 2) as u16, 64, seed));
    let batches: u64 = disks.chain(memory).sum();
    assert!(batches > 5000, "{batches}");
}

#[test]
fn random_crashes_with_journals_and_snapshots() {
    let disks = (400..470).map(|seed| lives(snapshotted, 1 + (seed % 3) as u16, 512, seed));
    let memory = (500..530).map(|seed| lives(snapshotted, 1 + (seed % 2) as u16, 64, seed));
    let batches: u64 = disks.chain(memory).sum();
    assert!(batches > 1000, "{batches}");
}

/// A key whose item in this version has so many bytes.
fn key_of(version: u64, is_right: impl Fn(usize) -> bool) -> u64 {
    (1..10_000).find(|hash| is_right(value(*hash, version).len())).expect("some key")
}

/// A batch that a crash has cut off, whole behind one that was torn, must not follow the next run's batch of the same length.
#[test]
fn what_was_cut_off_does_not_come_back_behind_the_next_run() {
    let mut script = Script::new(config(1, 8), 512, 1, 1);
    let set = |script: &mut Script| {
        let hash = key_of(script.version + 1, |len| len < 200);
        script.step(Step::Set, hash).unwrap();
        hash
    };
    set(&mut script);
    script.step(Step::Drain, 1).unwrap();
    for _ in 0..2 {
        set(&mut script);
        script.step(Step::Write, 1).unwrap();
    }
    // Both are a block; the first is torn.
    assert_eq!(script.medium.crash_point().undrained(), 16);
    let sim = Arc::new(Sim::of_image(script.medium.crash_point().image(|piece| piece >= 4), 512));
    let mut script = Script::on(sim, script.model, script.version, 1, 1).unwrap();
    let hash = set(&mut script);
    script.step(Step::Drain, hash).unwrap();
    check(&script.model, &script.medium.image());
}

/// A page of a batch that a crash has cut off must not pass for that of the next run's batch in its place.
#[test]
fn a_page_that_was_cut_off_does_not_pass_for_the_next_runs() {
    let mut script = Script::new(config(1, 8), 64, 1, 1);
    let first = key_of(1, |len| len == 100);
    script.step(Step::Set, first).unwrap();
    script.step(Step::Write, first).unwrap();
    // All but the foot.
    assert_eq!(script.medium.crash_point().undrained(), 64);
    let sim = Arc::new(Sim::of_image(script.medium.crash_point().image(|piece| piece < 62), 64));
    let mut script = Script::on(sim, script.model, script.version, 1, 1).unwrap();
    let second = (1..10_000).find(|hash| {
        let is_like = |hash: u64| hash % 2 == first % 2 && hash != first;
        value(*hash, 2).len() == 100 && is_like(*hash)
    });
    let second = second.expect("some key");
    script.step(Step::Set, second).unwrap();
    script.step(Step::Write, second).unwrap();
    // All but the page, which lies behind the head's two pieces.
    for pages in 3..6 {
        check(&script.model, &script.medium.crash_point().image(|piece| !(2..pages).contains(&piece)));
    }
}
