//! Reads while the shard changes, queue pairs fail and keys are replaced, under seeds: every value is one that the key had while it was
//! read, and whose time was not over before, or it is doubt ([N-RDMA-17], [N-RDMA-18]).

use super::*;
use std::collections::HashMap;
use torc_proto::native::ReadCounts;

const KEYS: u64 = 24;
const READS: u64 = 300;
/// Never over.
const NEVER: u64 = u64::MAX;

/// What a key is: its value, and when that is over, milliseconds of the owner's clock.
type State = Option<(Vec<u8>, u64)>;

/// What keys have been in database 0, one state after the other, and what they are in database 1.
#[derive(Default)]
struct Model {
    states: HashMap<u64, Vec<State>>,
    others: HashMap<u64, State>,
    drawn: u64,
}

impl Model {
    fn of(&mut self, key: u64) -> &mut Vec<State> {
        self.states.entry(key).or_insert_with(|| vec![None])
    }

    fn put(&mut self, key: u64, state: State) {
        self.of(key).push(state);
    }

    /// The number of the state that is there.
    fn last(&mut self, key: u64) -> usize {
        self.of(key).len() - 1
    }

    fn swap(&mut self) {
        for key in 0..KEYS {
            let before = self.of(key).last().cloned().flatten();
            let other = self.others.insert(key, before).flatten();
            self.put(key, other);
        }
    }

    /// A value that no key had.
    fn draw(&mut self, len: usize) -> Vec<u8> {
        self.drawn += 1;
        self.drawn.to_le_bytes().iter().copied().cycle().take(len.max(8)).collect()
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
    /// Items that the index grows for.
    more: u64,
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
        match self.random.below(3200) {
            0..40 => self.change(),
            40..48 => self.owner.register(),
            48..80 => self.owner.turn(),
            80 if self.random.below(40) == 0 => {
                let at_once = self.random.below(2) == 0;
                self.owner.replace_keys(at_once);
            }
            81 if self.random.below(40) == 0 => self.owner.readers.revoker().revoke(),
            82 if self.random.below(20) == 0 => {
                self.network.set_link(&self.devices[0], false);
            }
            83..110 => self.network.set_link(&self.devices[0], true),
            110 if self.random.below(10) == 0 => self.flush(),
            111 if self.random.below(4) == 0 => {
                self.owner.swap();
                self.model.swap();
            }
            _ => {}
        }
    }

    fn flush(&mut self) {
        let now = self.owner.now();
        self.owner.shard.flush(None, now);
        (0..KEYS).for_each(|key| self.model.put(key, None));
        self.model.others.clear();
    }

    fn change(&mut self) {
        let key = self.random.below(KEYS);
        match self.random.below(12) {
            0 => {
                self.owner.delete(&name(key));
                self.model.put(key, None);
            }
            1..4 => {
                self.owner.get(&name(key));
            }
            4 => {
                let value = self.model.draw(20);
                self.owner.execute(1, &name(key), Op::Write(Write::set(&value)));
                self.model.others.insert(key, Some((value, NEVER)));
            }
            number => {
                let len = match self.random.below(3) {
                    0 => self.random.below(60),
                    1 => self.random.below(900),
                    _ => self.random.below(3000),
                };
                let value = self.model.draw(len as usize);
                let end = if number < 7 { self.owner.now() + 1 + self.random.below(4) } else { NEVER };
                let expiry = if end == NEVER { Expiry::Never } else { Expiry::At(end) };
                self.owner.execute(0, &name(key), Op::Write(Write { expiry, ..Write::set(&value) }));
                self.model.put(key, Some((value, end)));
                // Whoever asks makes it one that others may read.
                self.owner.get(&name(key));
            }
        }
        if self.is_crowded {
            let (noise, bytes) = (self.random.below(1 << 20), [9; 900]);
            self.owner.set(&noise.to_le_bytes(), &bytes);
        } else if self.more < 3000 {
            // The index grows by and by.
            for _ in 0..4 {
                self.more += 1;
                let key = (self.more << 32).to_le_bytes();
                self.owner.set(&key, b"more");
            }
        }
    }
}

/// A read that began and ended then, by the owner's clock, when the key had those states.
fn check(key: u64, from: usize, (began, ended): (u64, u64), found: &Get) {
    let Ok(found) = found else { return };
    with(|world| {
        let states = &world.model.states[&key][from..];
        let is_it = |state: &State| match (state, found) {
            (Some((value, end)), Some(found)) => value == found && began < *end,
            (Some((_, end)), None) => *end <= ended || world.is_crowded,
            (None, found) => found.is_none(),
        };
        assert!(
            states.iter().any(is_it),
            "key {key}, at {began} to {ended}: {found:?} is none of {states:?}"
        );
    });
}

/// What the reads under a seed came to: hits of remembered places, queue pairs that broke, and times that the index has grown.
fn run(seed: u64) -> (ReadCounts, [u64; 3]) {
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
    let limits = LeaseLimits { lease_ms: 2, resting_percent: 30 };
    owner.shard.let_read_leases(limits, owner.readers.revoker());
    let buckets = |owner: &Owner| owner.shard.stats().index_buckets.read();
    let small = buckets(&owner);
    WORLD.set(Some(World {
        network,
        owner,
        model: Model::default(),
        random: Random(seed),
        devices,
        is_crowded,
        more: 0,
    }));
    let idle: fn() = || with(World::step);
    let mut reader = end(&client, idle);
    let (mut counts, mut remembered, mut broken) = (ReadCounts::default(), 0, 0);
    let mut has_lease = false;
    for _ in 0..READS {
        if reader.is_broken() {
            counts = counts.plus(&reader.counts());
            remembered += reader.remembered();
            broken += 1;
            with(|world| world.network.set_link(&world.devices[0], true));
            reader = end(&client, idle);
        }
        // A real client waits longer after a refusal than a seed lasts.
        let asks = reader.asks_at() <= Instant::now() || !has_lease;
        if asks || with(|world| world.random.below(20) == 0) {
            let (asked, asked_at) = (reader.asked(), Instant::now());
            let given = with(|world| world.owner.answer(&asked)).expect("an answer");
            has_lease = given.lease_ms > 0;
            if reader.given(&given, asked_at).is_err() {
                reader = end(&client, idle);
                continue;
            }
        }
        let (key, from, began) = with(|world| {
            let key = world.random.below(KEYS);
            if world.random.below(4) == 0 {
                world.change();
            }
            (key, world.model.last(key), world.owner.now())
        });
        let found = get(&mut reader, &name(key));
        check(key, from, (began, with(|world| world.owner.now())), &found);
        if found.is_err() {
            // Who is in doubt asks.
            with(|world| world.owner.get(&name(key)));
        }
    }
    let grown = with(|world| u64::from(buckets(&world.owner) > small));
    WORLD.set(None);
    (counts.plus(&reader.counts()), [remembered + reader.remembered(), broken, grown])
}

#[test]
fn every_value_that_is_read_was_there_while_it_was_read() {
    let one: Option<u64> = std::env::var("TORC_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let (mut counts, mut all) = (ReadCounts::default(), [0; 3]);
    for seed in one.map_or(0..150, |seed| seed..seed + 1) {
        let (came, others) = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            eprintln!("TORC_SIM_SEED={seed} replays this");
            std::panic::resume_unwind(panic)
        });
        counts = counts.plus(&came);
        all.iter_mut().zip(others).for_each(|(all, more)| *all += more);
    }
    let [remembered, broken, grown] = all;
    let causes: Vec<_> = counts.causes().collect();
    let came = format!("{counts:?}, {remembered} remembered, {broken} broken, {grown} grown, {causes:?}");
    println!("{came}");
    if one.is_none() {
        let reads = counts.hits + counts.misses + causes.iter().map(|(_, count)| count).sum::<u64>();
        assert!(
            counts.hits > reads / 3 && counts.hits + counts.misses > reads / 2,
            "most is asked for: {came}"
        );
        assert!(remembered > 500 && broken > 50 && grown > 20, "{came}");
    }
}
