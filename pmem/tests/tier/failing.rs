//! Calls to the medium that fail, each once.

use std::sync::Arc;

use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{Call, Sim};
use torc_pmem::media::{MediaError, Medium};
use torc_pmem::stream::{Miss, WriteError};
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config, journaled};

/// Runs steps until a call fails, checks that the stream is latched then, and what a restart finds. Whether one failed.
fn fails_at(config: Config, call: Call, number: u64, errno: i32) -> bool {
    let mut script = Script::new(config, 512, 11, 30);
    script.medium.fail(call, number, errno);
    for step_number in 0..400_u64 {
        let (step, hash) = script.any();
        let before = script.model.clone();
        let Err(error) = script.step(step, hash) else { continue };
        let WriteError::Media(error) = error else { panic!("{error}") };
        let words = std::io::Error::from_raw_os_error(errno).to_string();
        assert!(error.to_string().contains(&words), "{error}");
        if call != Call::Read {
            // What failed once is not tried again: nobody knows what the medium holds.
            assert!(script.is_latched(0));
        }
        let amid = Model::amid(&before, &script.model);
        for seed in 0..20 {
            amid.check(&Found::of_image(&script.medium.crash_point().random_image(step_number + seed)));
        }
        let sim = Arc::new(Sim::of_image(script.medium.image(), 512));
        let mut again = Script::on(sim, amid, script.version, 5, 30).expect("no other call fails");
        again.step(Step::Set, 3).expect("no other call fails");
        again.close();
        return true;
    }
    false
}

#[test]
fn each_write_once() {
    for config in [config(1, 8), journaled(1, 8)] {
        let fails = |number: &u64| fails_at(config, Call::Write, *number, libc::ENOSPC);
        let failed = (0..1000).take_while(fails).count();
        assert!(failed > 50, "{failed}");
    }
}

#[test]
fn each_drain_once() {
    for config in [config(1, 8), journaled(1, 8)] {
        let fails = |number: &u64| fails_at(config, Call::Drain, *number, libc::EIO);
        let failed = (0..1000).take_while(fails).count();
        assert!(failed > 50, "{failed}");
    }
}

#[test]
fn each_read_once_while_room_is_made() {
    let failed =
        (0..1000).take_while(|number| fails_at(config(1, 8), Call::Read, *number, libc::EIO)).count();
    assert!(failed > 10, "{failed}");
}

#[test]
fn each_read_of_a_recovery_once() {
    let mut script = Script::new(config(1, 8), 512, 11, 30);
    for _ in 0..300 {
        let (step, hash) = script.any();
        script.step(step, hash).unwrap();
    }
    let (sim, model) = script.close();
    let medium: Arc<dyn Medium> = sim.clone();
    let mut failed = 0;
    loop {
        let tier = Tier::open(medium.clone()).unwrap();
        sim.fail(Call::Read, failed, libc::EIO);
        match tier.recover(0, &mut |_| {}) {
            Err(MediaError::Io { what: "read", .. }) => failed += 1,
            Err(error) => panic!("{error}"),
            Ok(_) => break,
        }
    }
    assert!(failed > 10, "{failed}");
    let (sim_of_image, mut place) = (Arc::new(Sim::of_image(sim.image(), 512)), None);
    let tier = Tier::open(sim_of_image.clone()).unwrap();
    tier.recover(0, &mut |event| {
        if let torc_pmem::recover::Event::Record { place: Some(found), .. } = event {
            place = Some(found);
        }
    })
    .unwrap();
    let mut reader = tier.reader();
    sim_of_image.fail(Call::Read, 0, libc::EIO);
    assert!(matches!(reader.read(place.unwrap()), Err(Miss::Media(_))));
    assert!(reader.read(place.unwrap()).is_ok());
    model.check(&Found::of_image(&sim.image()));
}

#[test]
fn each_call_of_making_and_beginning_once() {
    let config = config(2, 8);
    for call in [Call::Write, Call::Drain] {
        let mut failed = 0;
        loop {
            let sim = Arc::new(Sim::new(config.bytes, 512));
            let medium: Arc<dyn Medium> = sim.clone();
            sim.fail(call, failed, libc::EIO);
            let made = Tier::create(&medium, config).and_then(|()| Tier::open(medium.clone())).map_err(drop);
            let begun = made.and_then(|tier| {
                let found = Found::of_medium(&medium).ok_or(())?;
                let run = tier.begin().map_err(drop)?;
                let writers = found.ends.iter().map(|end| run.writer(end).map_err(drop));
                writers.collect::<Result<Vec<_>, ()>>()
            });
            // Whatever was made, what a crash leaves is no tier, or an empty one.
            let image = sim.crash_point().random_image(failed);
            if let Some(found) = Found::of_medium(&(Arc::new(Sim::of_image(image, 512)) as Arc<dyn Medium>)) {
                assert!(found.items.is_empty());
            }
            if begun.is_ok() {
                break;
            }
            failed += 1;
        }
        assert!(failed > 0, "{call:?}");
    }
}

#[test]
fn nothing_of_an_earlier_tier_comes_back_when_a_medium_is_divided_anew() {
    let mut script = Script::new(config(1, 8), 512, 2, 20);
    for _ in 0..50 {
        let (step, hash) = script.any();
        script.step(step, hash).unwrap();
    }
    let (sim, _) = script.close();
    assert!(!Found::of_image(&sim.image()).items.is_empty());
    let medium: Arc<dyn Medium> = sim.clone();
    Tier::create(&medium, Config { volume: 77, ..config(1, 8) }).unwrap();
    assert!(Found::of_image(&sim.image()).items.is_empty());
    // The same steps, which come by the same positions.
    let mut script = Script::on(sim, Model::default(), 10_000, 2, 20).unwrap();
    for number in 0..50 {
        let (step, hash) = script.any();
        let before = script.model.clone();
        script.step(step, hash).unwrap();
        let amid = Model::amid(&before, &script.model);
        amid.check(&Found::of_image(&script.medium.crash_point().random_image(number)));
    }
}

#[test]
fn a_crash_while_a_medium_is_divided_anew_leaves_nothing_of_the_earlier_tier() {
    let mut script = Script::new(config(2, 8), 512, 4, 20);
    for _ in 0..80 {
        let (step, hash) = script.any();
        script.step(step, hash).unwrap();
    }
    let (sim, model) = script.close();
    let medium: Arc<dyn Medium> = sim.clone();
    sim.keep_crash_points();
    Tier::create(&medium, Config { volume: 77, ..config(2, 8) }).unwrap();
    for (number, point) in sim.take_crash_points().iter().enumerate() {
        for seed in 0..50 {
            let image: Arc<dyn Medium> = Arc::new(Sim::of_image(point.random_image(seed), 512));
            match Found::of_medium(&image) {
                // Until the first drain all of it may still be there.
                Some(found) if number == 0 => model.check(&found),
                Some(found) => assert!(found.items.is_empty(), "drain {number}, seed {seed}"),
                None => {}
            }
        }
    }
}
