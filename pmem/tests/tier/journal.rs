//! Journals that are damaged, copied, or left behind by an orderly end. How they crash is in `crash.rs`.

use std::sync::Arc;

use torc_pmem::copy::copy;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::stream::Journal;
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config, journaled};

/// Where the journal begins, bytes, and its ring.
fn journal_at() -> (usize, usize) {
    let at = config(1, 8).bytes as usize;
    (at, at + 2 * BLOCK_BYTES)
}

/// A tier that was cut off with batches in its journal, each of a change, and how many bytes they take.
fn cut_off(seed: u64, changes: u64) -> (Vec<u8>, Model, usize) {
    let mut script = Script::new(journaled(1, 8), 512, seed, 12);
    for number in 0..changes {
        let step = if number % 5 == 4 { Step::Delete } else { Step::Set };
        // Small values.
        let hash = 2 * (number % 9 + 1);
        script.step(step, hash).expect("no call fails");
        script.step(Step::Drain, hash).expect("no call fails");
    }
    let batches = script.journaled() as usize;
    assert!(batches > 3, "{batches}");
    let packed = Tier::open(script.medium.clone()).expect("a tier");
    let end = packed.find(1).expect("a journal").end.appended_bytes() as usize;
    (script.medium.image(), script.model, end)
}

#[test]
fn what_a_damaged_journal_may_have_superseded_does_not_come_back() {
    let mut found_items = 0;
    for seed in 0..6 {
        let (image, model, end) = cut_off(seed, 7 + 3 * seed);
        let (_, ring) = journal_at();
        // The last one could not be told from one that was never safe.
        for at in (ring..ring + end - BLOCK_BYTES).step_by(8) {
            let mut damaged = image.clone();
            damaged[at] ^= 0x10;
            let found = Found::of_image(&damaged);
            model.check_damaged(&found);
            found_items += found.items.len();
            // A byte of each head, and one of each item.
            if ![0, 200].contains(&(at % BLOCK_BYTES)) {
                continue;
            }
            // What was found is what is there from here on.
            let mut model = model.clone();
            model.restart(&found);
            let sim = Arc::new(Sim::of_image(damaged, 512));
            let mut script = Script::on(sim, model, 1_000_000, seed, 12).expect("no call fails");
            for _ in 0..60 {
                let (step, hash) = script.any();
                script.step(step, hash).expect("no call fails");
            }
            let (sim, model) = script.close();
            model.check(&Found::of_image(&sim.image()));
        }
    }
    assert!(found_items > 10_000, "{found_items}");
}

#[test]
fn without_its_checkpoints_nothing_is_known_after_a_cut_and_all_after_an_orderly_end() {
    let wrecked = |mut image: Vec<u8>| {
        let (checkpoints, ring) = journal_at();
        image[checkpoints..ring].fill(0xEE);
        Found::of_image(&image)
    };
    let (image, model, _) = cut_off(1, 12);
    assert!(!Found::of_image(&image).items.is_empty());
    assert!(wrecked(image.clone()).items.is_empty(), "the journal may have superseded anything");
    let sim = Arc::new(Sim::of_image(image, 512));
    let (sim, model) = Script::on(sim, model, 1_000, 1, 12).expect("no call fails").close();
    let found = wrecked(sim.image());
    model.check(&found);
    assert!(!found.items.is_empty());
}

#[test]
fn of_a_stream_that_is_lost_its_journal_says_nothing_either() {
    let (mut image, ..) = cut_off(1, 12);
    assert!(!Found::of_image(&image).items.is_empty());
    // Behind the superblocks lie the stream's checkpoints.
    image[2 * BLOCK_BYTES..4 * BLOCK_BYTES].fill(0xEE);
    assert!(Found::of_image(&image).items.is_empty(), "what was packed may have superseded anything");
}

#[test]
fn what_does_not_fit_into_a_batch_of_the_journal_is_for_the_stream() {
    let config = Config { batch_bytes: 64 << 10, bytes: 8 << 20, ..journaled(1, 8) };
    let medium: Arc<dyn Medium> = Arc::new(Sim::new(config.bytes, 512));
    Tier::create(&medium, config).expect("a tier");
    let tier = Tier::open(medium).expect("a tier");
    let found = tier.find(0).expect("no call fails");
    let alone = tier.journaled(&found).expect("no call fails");
    let run = tier.begin().expect("no call fails");
    let (mut stream, journal) = run.writers(&found.end, alone.as_ref()).expect("no call fails");
    let mut journal = journal.expect("a journal");
    let mut add = |journal: &mut Journal, hash: u64| {
        let (record, item) =
            (Record { hash, version: hash, expiry: 0, space: 0, slot: 0, kind: Kind::Item }, [7; 3000]);
        stream.add(&record, &item).expect("it fits");
        journal.add(stream.start(), &record, &item)
    };
    assert!((1..6).all(|hash| add(&mut journal, hash).is_some()));
    assert!(journal.has_room());
    assert_eq!(add(&mut journal, 6), None);
    assert!(!journal.has_room(), "it has not got all");
    // Nor has it if what comes then would fit.
    journal.add(0, &Record { hash: 7, version: 7, expiry: 0, space: 0, slot: 0, kind: Kind::Tombstone }, &[]);
    assert!(!journal.has_room());
    journal.skip();
    assert!(journal.has_room() && add(&mut journal, 8).is_some());
}

#[test]
fn what_a_journal_has_alone_is_copied_too() {
    for seed in 0..40 {
        let streams = 1 + (seed % 3) as u16;
        let mut script = Script::new(journaled(streams, 8), 512, seed, 40);
        for _ in 0..20 * seed {
            let (step, hash) = script.any();
            let step = if matches!(step, Step::Write) { Step::Drain } else { step };
            script.step(step, hash).expect("no call fails");
        }
        let image = script.medium.crash_point().random_image(seed);
        let before = Found::of_image(&image);
        for (target, config) in [(1, config(1, 40)), (2, journaled(2, 40))] {
            let from = Tier::open(Arc::new(Sim::of_image(image.clone(), 512))).expect("a tier");
            let to: Arc<dyn Medium> = Arc::new(Sim::new(config.bytes, 512));
            let half = 16384 / target;
            let slots: Vec<_> = (0..target).map(|part| (part * half..=(part + 1) * half - 1, part)).collect();
            let mut last = 0;
            let done = copy(&from, &to, config, &slots, &mut |progress| {
                assert!(progress.done_bytes > last && progress.done_bytes <= progress.all_bytes);
                last = progress.done_bytes;
            });
            assert_eq!(done.expect("no call fails").dropped, 0);
            assert_eq!(Found::of_medium(&to).expect("a tier").items, before.items, "seed {seed}");
        }
    }
}

/// A medium that has lost what it had drained lets some of it come back, and never anything else.
#[test]
fn blocks_of_everywhere_as_they_were_before_make_nobody_panic() {
    let mut random = Random(3);
    for seed in 0..30 {
        let (image, ..) = cut_off(seed, 30);
        let (earlier, ..) = cut_off(seed, 15);
        for _ in 0..30 {
            let mut reverted = image.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below((image.len() / BLOCK_BYTES - 2) as u64) as usize + 2;
                let at = at * BLOCK_BYTES;
                let old =
                    if random.below(2) == 0 { &earlier[at..][..BLOCK_BYTES] } else { &[0x5A; BLOCK_BYTES] };
                reverted[at..][..BLOCK_BYTES].copy_from_slice(old);
            }
            let sim = Arc::new(Sim::of_image(reverted, 512));
            let found = Found::of_medium(&(sim.clone() as Arc<dyn Medium>)).expect("a tier");
            let mut model = Model::default();
            model.take(&found);
            let mut script = Script::on(sim, model, 1_000_000, seed, 12).expect("no call fails");
            for _ in 0..40 {
                let (step, hash) = script.any();
                script.step(step, hash).expect("no call fails");
            }
            let (sim, model) = script.close();
            model.check(&Found::of_image(&sim.image()));
        }
    }
}
