//! The table of spaces: at a crash it is what it was before a change or what it is behind it, and damage to one superblock does not
//! bring an older one back.

use std::sync::Arc;

use torc_pmem::format::spaces::SpaceTable;
use torc_pmem::media::BLOCK_BYTES;
use torc_pmem::media::sim::{Call, Sim};
use torc_pmem::tier::Tier;

use crate::script::{config, journaled, snapshotted};

fn opened(image: Vec<u8>) -> Tier {
    Tier::open(Arc::new(Sim::of_image(image, 512))).unwrap()
}

/// The tables that a tier comes to have, one after the other.
fn tables() -> Vec<SpaceTable> {
    let mut tables = vec![SpaceTable::default()];
    for number in 1..20_usize {
        let (last, version) = (tables[number - 1], number as u64 * 100);
        tables.push(match number % 3 {
            0 => last.swapped(number % 16, (number + 5) % 16, version),
            _ => last.flushed(number % 4, version, |_| true).unwrap(),
        });
    }
    tables
}

#[test]
fn a_crash_at_any_drain_leaves_the_table_of_before_or_of_behind() {
    for config in [config(2, 8), journaled(2, 8), snapshotted(2, 8)] {
        let sim = Arc::new(Sim::new(config.bytes, 512));
        Tier::create(&(sim.clone() as Arc<_>), config).unwrap();
        let run = Tier::open(sim.clone()).unwrap().begin().unwrap();
        let (tables, mut tried) = (tables(), 0);
        sim.keep_crash_points();
        for pair in tables.windows(2) {
            run.set_spaces(&pair[1]).unwrap();
            for point in sim.take_crash_points() {
                // A superblock is a block of eight pieces.
                assert!(point.undrained() <= 8, "{}", point.undrained());
                for subset in 0..1_u32 << point.undrained() {
                    let tier = opened(point.image(|piece| subset >> piece & 1 == 1));
                    assert!(pair.contains(tier.spaces()), "{:?}", tier.spaces());
                    tried += 1;
                }
            }
            // What the other shards tell later changes nothing, and a ceiling takes the table along.
            run.set_spaces(&pair[0]).unwrap();
            run.raise_ceiling(pair[1].version).unwrap();
            assert_eq!(opened(sim.image()).spaces(), &pair[1]);
            sim.take_crash_points();
        }
        assert!(tried > 5_000, "{tried}");
    }
}

#[test]
fn damage_to_one_superblock_brings_no_older_table_back() {
    let config = config(1, 8);
    let sim = Arc::new(Sim::new(config.bytes, 512));
    Tier::create(&(sim.clone() as Arc<_>), config).unwrap();
    let run = Tier::open(sim.clone()).unwrap().begin().unwrap();
    for table in &tables()[1..] {
        run.set_spaces(table).unwrap();
        for block in 0..2 {
            let mut image = sim.image();
            image[block * BLOCK_BYTES + 300] ^= 4;
            assert_eq!(opened(image).spaces(), table);
        }
    }
}

#[test]
fn a_table_that_cannot_be_written_is_refused_and_stays_what_it_was_or_is_the_new_one() {
    for (call, number) in [(Call::Write, 0), (Call::Write, 1), (Call::Drain, 0), (Call::Drain, 1)] {
        let config = config(1, 8);
        let sim = Arc::new(Sim::new(config.bytes, 512));
        Tier::create(&(sim.clone() as Arc<_>), config).unwrap();
        let run = Tier::open(sim.clone()).unwrap().begin().unwrap();
        let tables = tables();
        sim.fail(call, number, libc::EIO);
        assert!(run.set_spaces(&tables[1]).is_err());
        for seed in 0..50 {
            let tier = opened(sim.crash_point().random_image(seed));
            assert!(tables[..2].contains(tier.spaces()));
        }
    }
}

#[test]
fn a_copy_and_the_next_run_have_the_table() {
    let config = config(1, 8);
    let sim = Arc::new(Sim::new(config.bytes, 512));
    Tier::create(&(sim.clone() as Arc<_>), config).unwrap();
    let tables = tables();
    let run = Tier::open(sim.clone()).unwrap().begin().unwrap();
    run.set_spaces(&tables[9]).unwrap();
    run.end().unwrap();
    let tier = Tier::open(sim.clone()).unwrap();
    assert!(tier.is_clean());
    let to: Arc<dyn torc_pmem::media::Medium> = Arc::new(Sim::new(config.bytes, 512));
    torc_pmem::copy::copy(&tier, &to, config, &[(0..=16383, 0)], &mut |_| {}).unwrap();
    assert_eq!(Tier::open(to).unwrap().spaces(), &tables[9]);
    drop(tier.begin_volatile().unwrap());
    assert_eq!(Tier::superblock(&*sim).unwrap().spaces, tables[9]);
}
