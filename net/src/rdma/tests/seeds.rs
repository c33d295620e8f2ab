//! Reads while the shard changes, queue pairs fail and keys are replaced, under seeds: every value is one that the key had while it was
//! read, or it is doubt ([N-RDMA-17], [N-RDMA-18]).

use super::*;
use std::collections::HashMap;
use torc_proto::native::ReadCounts;

const KEYS: u64 = 24;
const READS: u64 = 300;

/// What keys have been, one version after the other; the last is what they are.
#[derive(Default)]
struct Model(HashMap<u64, Vec<Option<Vec<u8>>>>);

impl Model {
    fn put(&mut self, key: u64, value: Option<Vec<u8>>) {
        self.0.entry(key).or_insert_with(|| vec![None]).push(value);
    }

    /// The number of the version that is there.
    fn version(&mut self, key: u64) -> usize {
        self.0.entry(key).or_insert_with(|| vec![None]).len() - 1
    }
}

struct World {
    network: Network,
    owner: Owner,
    model: Model,
    random: Random,
    devices: [Device; 2],
    /// Items are evicted, so any may be missing.
    is_crowded: bool,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

fn with<R>(act: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(|world| act(world.as_mut().expect("a world")))
}

fn name(key: u64) -> Vec<u8> {
    format!("key:{key}").into_bytes()
}

impl World {
    /// While a READ is under way something happens.
    fn step(&mut self) {
        self.network.step();
        match self.random.below(400) {
            0..40 => self.change(),
            40..44 => self.owner.register(),
            44..60 => self.owner.turn(),
            60 if self.random.below(40) == 0 => {
                let at_once = self.random.below(2) == 0;
                self.owner.replace_keys(at_once);
            }
            61 if self.random.below(40) == 0 => self.owner.readers.revoker().revoke(),
            62 if self.random.below(60) == 0 => {
                self.network.set_link(&self.devices[0], false);
            }
            63..70 => self.network.set_link(&self.devices[0], true),
            70 if self.random.below(20) == 0 => self.flush(),
            _ => {}
        }
    }

    fn flush(&mut self) {
        let now = self.owner.now();
        self.owner.shard.flush(None, now);
        (0..KEYS).for_each(|key| self.model.put(key, None));
    }

    fn change(&mut self) {
        let key = self.random.below(KEYS);
        match self.random.below(8) {
            0 => {
                self.owner.delete(&name(key));
                self.model.put(key, None);
            }
            1 | 2 => {
                self.owner.get(&name(key));
            }
            _ => {
                let len = match self.random.below(3) {
                    0 => self.random.below(60),
                    1 => self.random.below(900),
                    _ => self.random.below(3000),
                } as usize;
                let version = self.model.version(key);
                let value: Vec<u8> =
                    (0..len).map(|at| (at as u64 ^ key << 3 ^ version as u64) as u8).collect();
                self.owner.set(&name(key), &value);
                self.model.put(key, Some(value));
                // Whoever asks makes it one that others may read.
                self.owner.get(&name(key));
            }
        }
        if self.is_crowded {
            let (noise, bytes) = (self.random.below(1 << 20), [9; 900]);
            self.owner.set(&noise.to_le_bytes(), &bytes);
        }
    }
}

fn check(key: u64, from: usize, found: &Get) {
    let Ok(found) = found else { return };
    with(|world| {
        let versions = &world.model.0[&key][from..];
        let may_be_missing = world.is_crowded && found.is_none();
        assert!(may_be_missing || versions.contains(found), "key {key}: {found:?} is none of {versions:?}");
    });
}

fn run(seed: u64) -> (ReadCounts, [u64; 2]) {
    let is_crowded = seed.is_multiple_of(3);
    let weather = Weather { delay_max: 8, retry_delay: 4, ..Weather::default() };
    let (network, mut owner, client, devices) =
        world(seed, weather, if is_crowded { 1 << 20 } else { 2 << 20 });
    // All of the memory is in use before, and registered.
    for number in 0..4000u64 {
        owner.set(&(number % 50).to_le_bytes(), &[9; 900]);
    }
    owner.register();
    // Leases that end while it runs, and of which many segments may rest.
    let limits = LeaseLimits { lease_ms: 5, resting_percent: 30 };
    owner.shard.let_read_leases(limits, owner.readers.revoker());
    let model = Model::default();
    WORLD.set(Some(World { network, owner, model, random: Random(seed), devices, is_crowded }));
    let idle: fn() = || with(World::step);
    let mut reader = end(&client, idle);
    let (mut counts, mut remembered, mut broken) = (ReadCounts::default(), 0, 0);
    for _ in 0..READS {
        if reader.is_broken() {
            counts = counts.plus(&reader.counts());
            remembered += reader.remembered();
            broken += 1;
            with(|world| world.network.set_link(&world.devices[0], true));
            reader = end(&client, idle);
        }
        if reader.asks_at() <= Instant::now() || with(|world| world.random.below(20) == 0) {
            let (asked, asked_at) = (reader.asked(), Instant::now());
            let given = with(|world| world.owner.answer(&asked)).expect("an answer");
            if reader.given(&given, asked_at).is_err() {
                reader = end(&client, idle);
                continue;
            }
        }
        let (key, from) = with(|world| {
            let key = world.random.below(KEYS);
            world.change();
            (key, world.model.version(key))
        });
        let found = get(&mut reader, &name(key));
        check(key, from, &found);
    }
    WORLD.set(None);
    (counts.plus(&reader.counts()), [remembered + reader.remembered(), broken])
}

#[test]
fn every_value_that_is_read_was_there_while_it_was_read() {
    let one: Option<u64> = std::env::var("TORC_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let (mut counts, mut all) = (ReadCounts::default(), [0; 2]);
    for seed in one.map_or(0..150, |seed| seed..seed + 1) {
        let (came, others) = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            eprintln!("TORC_SIM_SEED={seed} replays this");
            std::panic::resume_unwind(panic)
        });
        counts = counts.plus(&came);
        all.iter_mut().zip(others).for_each(|(all, more)| *all += more);
    }
    let [remembered, broken] = all;
    let causes: Vec<_> = counts.causes().collect();
    let came = format!("{counts:?}, {remembered} remembered, {broken} broken, {causes:?}");
    println!("{came}");
    assert!(one.is_some() || counts.hits > 1000 && remembered > 50 && broken > 50, "{came}");
}
