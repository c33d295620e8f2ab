//! What a snapshot has to hold, looked for and told while its stream is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use torc_pmem::format::batch::Part;
use torc_pmem::format::record::{Entry, Kind, Record};
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::recover::{Event, Hashes, StreamEnd, SurveyEnd};
use torc_pmem::tier::Tier;

use crate::model::{Found, value};
use crate::script::{Script, Step, in_parts, living, snapshotted};
use crate::snapshot::{ring, with_snapshot};

/// A snapshot is looked for while its stream is written, and written over: what was freed meanwhile may be in it or not.
#[test]
fn a_snapshot_is_made_while_its_stream_is_written_over() {
    let (mut freed, mut whole) = (0, 0);
    for seed in 0..60 {
        let config = snapshotted(1, 10);
        let mut script = Script::new(config, 512, seed, 30);
        script.go(150);
        let of = script.here(0);
        let tier = script.tier().clone();
        let (mut entries, mut random) = (Vec::new(), Random(seed));
        let (mut met, stops) = (Hashes::of_bytes(64 << 10), AtomicBool::new(false));
        let every = 1 + random.below(20);
        let survey = tier.survey(&of, &|_| true, &mut met, &stops, &mut |entry| {
            entries.push(entry);
            if random.below(every) == 0 {
                script.go(40);
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
    let mut read = 0;
    for seed in 0..30 {
        let config = snapshotted(1, 12);
        let (image, model) = with_snapshot(config, seed, 200);
        let sim = Arc::new(Sim::of_image(image, 512));
        let mut script = Script::on(sim, model, 1_000_000, seed, 30).expect("no call fails");
        let tier = script.tier().clone();
        let found = tier.find(0).expect("no call fails");
        let positions = tier.positions(&found);
        let (mut told, mut first) = (Vec::new(), BTreeSet::new());
        let counts = tier.tell(&found, &AtomicBool::new(false), &mut |event| {
            let Event::Record { record, place } = event else { return };
            if first.insert(record.hash) {
                told.extend(place.map(|place| (record, place)));
            }
            if told.len() % 3 == 0 {
                let (step, hash) = script.any();
                script.step(step, hash).expect("no call fails");
            }
        });
        assert_eq!(counts.expect("no call fails").damaged, 0, "what was freed is no damage");
        // Of a batch that was read before it was freed all is told; shards leave that out.
        let (mut reader, oldest) = (tier.reader(), script.here(0).oldest());
        for (record, place) in told.into_iter().filter(|(_, place)| positions.of(*place) >= oldest) {
            let item = reader.read(place).expect("it is there");
            assert_eq!(item, value(record.hash, record.version), "seed {seed}");
            read += 1;
        }
    }
    assert!(read > 50, "{read}");
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
            let take = &mut |entry: Entry| {
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
