//! Several simulated media as one: what goes over an end, what is drained, what fails, and who belongs to whom.

use super::*;
use crate::format::superblock::{Config, JournalConfig, Refused};
use crate::media::sim::{Call, CrashPoint, Random, Sim};
use crate::media::{bytes, bytes_mut, zeroed};
use crate::tier::Tier;

const SIZES: [u64; 3] = [1 << 20, (1 << 20) + (200 << 10), (1 << 20) + 8192];
const EXTENT: u64 = 64 << 10;
const SET: u64 = 0x5E7;

fn sims(count: usize) -> Vec<Arc<Sim>> {
    SIZES.iter().take(count).map(|bytes| Arc::new(Sim::new(*bytes, 512))).collect()
}

fn named(sims: &[Arc<Sim>]) -> Vec<Named> {
    let name = |(number, sim): (usize, &Arc<Sim>)| (format!("m{number}"), sim.clone() as Arc<dyn Medium>);
    sims.iter().enumerate().map(name).collect()
}

fn layout_of(sims: &[Arc<Sim>]) -> Layout {
    layout(&sims.iter().map(|sim| sim.bytes()).collect::<Vec<_>>()).expect("members of some size")
}

fn made(sims: &[Arc<Sim>]) -> Composite {
    Composite::make(named(sims), SET, layout_of(sims)).expect("no call fails")
}

fn filled(count: usize, seed: u64) -> Vec<Block> {
    let (mut blocks, mut random) = (zeroed(count), Random(seed));
    bytes_mut(&mut blocks).iter_mut().for_each(|byte| *byte = random.next() as u8);
    blocks
}

fn refusal(members: Vec<Named>) -> String {
    Composite::open(members).expect_err("it is refused").to_string()
}

/// A tier on it, so that it holds something.
fn hold(sims: &[Arc<Sim>]) {
    let medium: Arc<dyn Medium> = Arc::new(Composite::open(named(sims)).expect("a set"));
    Tier::create(&medium, config(medium.bytes())).expect("a tier");
}

fn config(bytes: u64) -> Config {
    let (page_bytes, batch_bytes, journal) = (4096, 16 << 10, JournalConfig::NONE);
    Config {
        bytes,
        page_bytes,
        batch_bytes,
        streams: 1,
        journal,
        has_snapshots: false,
        volume: 7,
        hash_seed: 1,
    }
}

#[test]
fn what_is_written_over_any_end_is_read_and_so_is_all_around_it() {
    let sims = sims(3);
    let composite = made(&sims);
    // 15, 19 and 16 extents fit beside the labels.
    assert_eq!(composite.bytes(), (15 + 19 + 16) * EXTENT);
    let (mut model, mut random) = (vec![0; composite.bytes() as usize], Random(3));
    for number in 0..400 {
        let count = 1 + random.below(60);
        let at = random.below(composite.bytes() / BLOCK_BYTES as u64 - count) * BLOCK_BYTES as u64;
        let blocks = filled(count as usize, number);
        composite.write(at, &blocks).unwrap();
        model[at as usize..][..size_of_val(&*blocks)].copy_from_slice(bytes(&blocks));
        let mut out = zeroed(1 + random.below(60) as usize);
        let at = random.below(composite.bytes() / BLOCK_BYTES as u64 - out.len() as u64) * BLOCK_BYTES as u64;
        composite.read(at, &mut out).unwrap();
        assert!(bytes(&out) == &model[at as usize..][..size_of_val(&*out)], "at byte {at}");
    }
    let mut all = zeroed(model.len() / BLOCK_BYTES);
    composite.read(0, &mut all).unwrap();
    assert!(bytes(&all) == model);
    // Opened again, in another order.
    let mut members = named(&sims);
    members.rotate_left(1);
    Composite::open(members).unwrap().read(0, &mut all).unwrap();
    assert!(bytes(&all) == model);
    let outside = composite.write(composite.bytes() - 4096, &filled(2, 1)).unwrap_err();
    assert!(matches!(outside, MediaError::Outside { .. }), "{outside}");
}

#[test]
fn a_drain_reaches_what_was_written_and_nobody_else() {
    let sims = sims(3);
    let composite = made(&sims);
    let mut before: Vec<u64> = sims.iter().map(|sim| sim.calls(Call::Drain)).collect();
    let mut drained = |what: &str, expected: [u64; 3]| {
        let now: Vec<u64> = sims.iter().map(|sim| sim.calls(Call::Drain)).collect();
        let since: Vec<u64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
        assert_eq!(since, expected, "{what}");
        before = now;
    };
    composite.drain().unwrap();
    drained("nothing was written", [0, 0, 0]);
    composite.write(EXTENT, &filled(2, 1)).unwrap();
    composite.drain().unwrap();
    drained("the second extent", [0, 1, 0]);
    composite.write(2 * EXTENT - 4096, &filled(2, 1)).unwrap();
    composite.drain().unwrap();
    drained("over the end of the second", [0, 1, 1]);
    composite.write(0, &filled(40, 1)).unwrap();
    composite.drain_range(0, 8192).unwrap();
    drained("a range of what was written", [1, 0, 0]);
    composite.drain().unwrap();
    drained("the rest", [0, 1, 1]);
    let safe = |sim: &Arc<Sim>| sim.crash_point().undrained() == 0;
    assert!(sims.iter().all(safe));
}

#[test]
fn each_member_that_fails_is_named_and_fails_as_the_whole() {
    for failing in 0..3 {
        let sims = sims(3);
        let composite = made(&sims);
        let over_all = filled(48, 1);
        for call in [Call::Write, Call::Drain, Call::Read] {
            sims[failing].fail(call, 0, libc::EIO);
            let failed = match call {
                Call::Write => composite.write(0, &over_all),
                Call::Drain => composite.write(0, &over_all).and_then(|()| composite.drain()),
                Call::Read => composite.read(0, &mut zeroed(48)),
            };
            let words = failed.unwrap_err().to_string();
            assert!(words.starts_with(&format!("m{failing}: cannot ")), "{words}");
        }
        let failures: Vec<u64> = composite.members().iter().map(|member| member.failures).collect();
        assert_eq!(failures, (0..3).map(|number| 3 * u64::from(number == failing)).collect::<Vec<_>>());
        // What a drain that failed had to make safe is not taken for safe by the next.
        let drains = sims[failing].calls(Call::Drain);
        composite.drain().unwrap();
        assert_eq!(sims[failing].calls(Call::Drain), drains + 1);
    }
}

#[test]
fn a_write_that_fails_has_touched_its_member() {
    let sims = sims(2);
    let composite = made(&sims);
    sims[1].fail(Call::Write, 0, libc::ENOSPC);
    composite.write(0, &filled(32, 1)).unwrap_err();
    composite.drain().unwrap();
    assert!(sims.iter().all(|sim| sim.crash_point().undrained() == 0));
}

#[test]
fn who_finds_a_member_no_more_touched_waits_for_whoever_drains_it() {
    /// A medium whose drain takes a while.
    #[derive(Debug)]
    struct Slow(Sim, AtomicBool);

    impl Medium for Slow {
        fn describe(&self) -> String {
            self.0.describe()
        }
        fn bytes(&self) -> u64 {
            self.0.bytes()
        }
        fn is_persistent(&self) -> bool {
            true
        }
        fn is_byte_addressable(&self) -> bool {
            false
        }
        fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
            self.0.write(at, blocks)
        }
        fn drain(&self) -> Result<(), MediaError> {
            self.1.store(true, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(50));
            self.0.drain()
        }
        fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
            self.0.read(at, out)
        }
    }

    let slow = Arc::new(Slow(Sim::new(1 << 20, 512), AtomicBool::new(false)));
    let members: Vec<Named> =
        vec![("slow".into(), slow.clone()), ("other".into(), Arc::new(Sim::new(1 << 20, 512)))];
    let composite = Composite::make(members, SET, layout(&[1 << 20, 1 << 20]).unwrap()).unwrap();
    composite.write(0, &filled(1, 1)).unwrap();
    slow.1.store(false, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| composite.drain().unwrap());
        while !slow.1.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        composite.drain().unwrap();
        assert_eq!(slow.0.crash_point().undrained(), 0);
    });
}

#[test]
fn members_that_are_missing_foreign_or_copied_are_named() {
    let (ours, theirs) = (sims(3), sims(3));
    made(&ours);
    hold(&ours);
    Composite::make(named(&theirs), SET + 1, layout_of(&theirs)).unwrap();
    let blank = || ("new".to_owned(), Arc::new(Sim::new(1 << 20, 512)) as Arc<dyn Medium>);
    let with = |place: usize, other: Named| {
        let mut members = named(&ours);
        members[place] = other;
        members
    };
    for place in 0..3 {
        let number = place + 1;
        let words = refusal(with(place, blank()));
        assert!(words.starts_with(&format!("member {number} of 3 is missing: new holds nothing")), "{words}");
        let (_, foreign) = named(&theirs).swap_remove(place);
        let words = refusal(with(place, ("alien".into(), foreign)));
        assert!(words.contains("alien") && words.contains("another tier than"), "{words}");
        let twin = Arc::new(Sim::of_image(ours[(place + 1) % 3].image(), 512));
        let words = refusal(with(place, ("twin".into(), twin)));
        assert!(words.contains("twin") && words.contains("one is a copy of the other"), "{words}");
        let mut less = named(&ours);
        less.remove(place);
        assert!(refusal(less).contains("of 3, and 2 are given"));
        let longer = Sim::of_image([ours[place].image(), vec![0; 4096]].concat(), 512);
        assert!(refusal(with(place, ("longer".into(), Arc::new(longer)))).contains("was made for"));
        let noise = Arc::new(Sim::of_image(bytes(&filled(256, 9)).to_vec(), 512));
        let words = refusal(with(place, ("noise".into(), noise)));
        assert!(
            words.contains("noise cannot be a member") && words.contains("not a tier of Torc"),
            "{words}"
        );
        let alone: Arc<dyn Medium> = Arc::new(Sim::new(1 << 20, 512));
        Tier::create(&alone, config(1 << 20)).unwrap();
        assert!(refusal(with(place, ("single".into(), alone))).contains("single is a tier of its own"));
    }
    assert_eq!(refusal(vec![blank(), blank()]), "they hold no tier");
    assert!(Composite::open(named(&ours)).is_ok());
}

#[test]
fn a_member_alone_is_no_tier_and_says_what_it_is() {
    let sims = sims(2);
    made(&sims);
    hold(&sims);
    for (number, sim) in sims.iter().enumerate() {
        let words = Tier::open(sim.clone()).unwrap_err().to_string();
        assert!(
            words.ends_with(&format!(
                "it is member {} of 2 that a tier lies on: give all of them",
                number + 1
            ))
        );
    }
}

#[test]
fn one_label_of_two_may_be_damaged_and_both_may_not() {
    for copy in 0..2 {
        let sims = sims(2);
        made(&sims);
        hold(&sims);
        sims[1].rot(copy * 4096 + 30, |byte| byte ^ 1);
        assert!(Composite::open(named(&sims)).is_ok(), "label {copy}");
        sims[1].rot((1 - copy) * 4096 + 30, |byte| byte ^ 1);
        assert!(
            refusal(named(&sims)).contains("m1 cannot be a member of the tier: both superblocks are damaged")
        );
    }
}

/// Crashes at each drain while members are made: they hold nothing then, or what they held before, and can always be made anew.
#[test]
fn a_crash_while_members_are_made_leaves_nothing_or_what_was_there() {
    for held in [false, true] {
        let sims = sims(3);
        if held {
            made(&sims);
            hold(&sims);
        }
        let points = crash_points(&sims);
        assert!(points.len() >= 6, "{}", points.len());
        for (number, point) in points.iter().enumerate() {
            for seed in 0..40 {
                let images = point.iter().zip(0..).map(|(member, salt)| member.random_image(seed * 3 + salt));
                let again: Vec<Arc<Sim>> = images.map(|image| Arc::new(Sim::of_image(image, 512))).collect();
                match Composite::open(named(&again)) {
                    Err(SetError::Blank) => {}
                    Err(other) => panic!("drain {number} of {}, seed {seed}: {other}", points.len()),
                    Ok(composite) => {
                        let superblock = Tier::superblock(&composite);
                        let is_empty =
                            superblock.is_err_and(|error| error.to_string().contains("holds nothing"));
                        // Until the first drain the superblocks of before may be there.
                        assert!(is_empty || held && number == 0, "drain {number}, seed {seed}");
                    }
                }
                made(&again);
                assert!(Composite::open(named(&again)).is_ok());
            }
        }
    }
}

/// What crashes at each drain would find on all members, while these are made.
fn crash_points(sims: &[Arc<Sim>]) -> Vec<Vec<CrashPoint>> {
    // Each call of a member alone is followed by its drain, so members are at rest between two drains.
    let mut points = Vec::new();
    let total: u64 = {
        let trial: Vec<Arc<Sim>> = sims.iter().map(|sim| Arc::new(Sim::of_image(sim.image(), 512))).collect();
        made(&trial);
        trial.iter().map(|sim| sim.calls(Call::Drain)).sum()
    };
    for drain in 0..total {
        let trial: Vec<Arc<Sim>> = sims.iter().map(|sim| Arc::new(Sim::of_image(sim.image(), 512))).collect();
        let stopping = Arc::new(AtomicU64::new(drain));
        let members = trial.iter().zip(0..).map(|(sim, number)| {
            let until = Until { sim: sim.clone(), stopping: stopping.clone() };
            (format!("m{number}"), Arc::new(until) as Arc<dyn Medium>)
        });
        Composite::make(members.collect(), SET + 2, layout_of(sims)).expect_err("it is stopped");
        points.push(trial.iter().map(|sim| sim.crash_point()).collect());
    }
    points
}

/// A medium that fails for good at a drain of a set.
#[derive(Debug)]
struct Until {
    sim: Arc<Sim>,
    stopping: Arc<AtomicU64>,
}

impl Medium for Until {
    fn describe(&self) -> String {
        self.sim.describe()
    }
    fn bytes(&self) -> u64 {
        self.sim.bytes()
    }
    fn is_persistent(&self) -> bool {
        true
    }
    fn is_byte_addressable(&self) -> bool {
        false
    }
    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        self.sim.write(at, blocks)
    }
    fn drain(&self) -> Result<(), MediaError> {
        let stop = || MediaError::Drain(std::io::Error::from_raw_os_error(libc::EIO));
        let less = |left: u64| left.checked_sub(1);
        self.stopping.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).map_err(|_| stop())?;
        self.sim.drain()
    }
    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        self.sim.read(at, out)
    }
}

#[test]
fn a_tier_is_made_void_though_another_member_fails() {
    let sims = sims(2);
    made(&sims);
    hold(&sims);
    let medium: Arc<dyn Medium> = Arc::new(Composite::open(named(&sims)).unwrap());
    let tier = Tier::open(medium.clone()).unwrap();
    let run = tier.begin().unwrap();
    medium.write(EXTENT, &filled(1, 1)).unwrap();
    sims[1].fail(Call::Drain, 0, libc::EIO);
    assert!(medium.drain().is_err());
    sims[1].fail(Call::Drain, 0, libc::EIO);
    run.void().unwrap();
    let images = sims.iter().map(|sim| Arc::new(Sim::of_image(sim.crash_point().image(|_| false), 512)));
    let left = Composite::open(named(&images.collect::<Vec<_>>())).unwrap();
    let words = Tier::open(Arc::new(left)).unwrap_err().to_string();
    assert!(words.contains(&Refused::Void.to_string()), "{words}");
}

#[test]
fn equal_members_have_the_room_that_they_are_made_for() {
    for (all, count) in
        [(64 << 20, 2), ((1 << 30) + 4096, 3), (100 << 30, 2), ((256 << 20) - 4096, 1), (1, 2)]
    {
        let each = member_bytes(all, count);
        let room = layout(&vec![each; count as usize]).unwrap().bytes();
        assert!(room >= all && room - all <= count * (4 << 20), "{all} over {count}: {room}");
    }
    assert!(layout(&[1 << 30, MEMBER_BYTES_MIN - 4096]).is_none());
}
