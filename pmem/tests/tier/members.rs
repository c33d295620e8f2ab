//! A tier on two media, each of which loses what it has not drained by its own chance, at each drain of either.

use std::sync::{Arc, Mutex};

use torc_pmem::composite::{Composite, Named, layout};
use torc_pmem::format::superblock::Config;
use torc_pmem::media::sim::{Call, CrashPoint, Random, Sim};
use torc_pmem::media::{Block, MediaError, Medium};
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, config, journaled, snapshotted};

const MEMBER_BYTES: u64 = 1 << 20;

type Points = Arc<Mutex<Vec<Vec<CrashPoint>>>>;

/// One of two, which notes what a crash would find on both whenever it is drained.
#[derive(Debug)]
struct Noted {
    number: usize,
    sims: Vec<Arc<Sim>>,
    points: Points,
}

impl Medium for Noted {
    fn describe(&self) -> String {
        self.sims[self.number].describe()
    }
    fn bytes(&self) -> u64 {
        self.sims[self.number].bytes()
    }
    fn is_persistent(&self) -> bool {
        true
    }
    fn is_byte_addressable(&self) -> bool {
        false
    }
    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        self.sims[self.number].write(at, blocks)
    }
    fn drain(&self) -> Result<(), MediaError> {
        let point = self.sims.iter().map(|sim| sim.crash_point()).collect();
        self.points.lock().expect("nobody panics").push(point);
        self.sims[self.number].drain()
    }
    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        self.sims[self.number].read(at, out)
    }
}

fn members(sims: &[Arc<Sim>], points: &Points) -> Vec<Named> {
    let noted = |number| Noted { number, sims: sims.to_vec(), points: points.clone() };
    (0..sims.len()).map(|number| (format!("m{number}"), Arc::new(noted(number)) as Arc<dyn Medium>)).collect()
}

/// What is left of a crash, each by its own chance.
fn left(point: &[CrashPoint], seed: u64) -> Vec<Arc<Sim>> {
    let image = |(member, salt): (&CrashPoint, u64)| {
        Arc::new(Sim::of_image(member.random_image(seed * 2 + salt), 512))
    };
    point.iter().zip(0..).map(image).collect()
}

fn found(sims: &[Arc<Sim>]) -> Found {
    let composite = Composite::open(members(sims, &Points::default())).expect("a set");
    Found::of(&Tier::open(Arc::new(composite)).expect("a tier"))
}

fn check(model: &Model, sims: &[Arc<Sim>]) {
    let found = found(sims);
    model.check(&found);
    let composite = Composite::open(members(sims, &Points::default())).expect("a set");
    let of_tables = Found::of_tables(&Tier::open(Arc::new(composite)).expect("a tier"));
    assert_eq!(found.items, of_tables.items, "a snapshot says what tables say");
    assert!(found.counts.iter().all(|counts| counts.damaged + counts.doubtful == 0), "a crash is no damage");
    assert_eq!(found.stale, 0, "what is packed is not told from the journal");
}

fn made(divided: fn(u16, u64) -> Config, streams: u16) -> (Vec<Arc<Sim>>, Points, Arc<Composite>, Config) {
    let sims: Vec<_> = (0..2).map(|_| Arc::new(Sim::new(MEMBER_BYTES, 512))).collect();
    let (points, layout) = (Points::default(), layout(&[MEMBER_BYTES; 2]).expect("large enough"));
    let config = Config { bytes: layout.bytes(), ..divided(streams, 8) };
    let composite = Composite::make(members(&sims, &points), 1, layout).expect("no call fails");
    (sims, points, Arc::new(composite), config)
}

/// Steps by chance with crashes among them. Returns how many images were looked at.
fn lives(divided: fn(u16, u64) -> Config, streams: u16, seed: u64) -> usize {
    let (mut sims, mut points, composite, config) = made(divided, streams);
    let (mut random, mut images) = (Random(seed), 0);
    let mut script = Script::create(composite, config, seed, 40);
    // What making it has drained is no step's.
    points.lock().expect("nobody panics").clear();
    for _ in 0..3 {
        let mut next = None;
        for number in 0..100 + random.below(400) {
            let (step, hash) = script.any();
            let before = script.model.clone();
            script.step(step, hash).expect("no call fails");
            let amid = Model::amid(&before, &script.model);
            for point in points.lock().expect("nobody panics").drain(..) {
                let after = left(&point, seed * 7 + number);
                check(&amid, &after);
                next = Some((amid.clone(), after));
                images += 1;
            }
        }
        let Some((model, after)) = next else { continue };
        (sims, points) = (after, Points::default());
        let composite = Arc::new(Composite::open(members(&sims, &points)).expect("a set"));
        script = Script::on(composite, model, script.version, random.next(), 40).expect("no call fails");
        points.lock().expect("nobody panics").clear();
    }
    let (_, model) = script.close();
    check(&model, &sims);
    images
}

#[test]
fn random_crashes_of_two_disks() {
    let images: usize = (0..16).map(|seed| lives(config, 1 + (seed % 3) as u16, seed)).sum();
    let journaled: usize = (100..116).map(|seed| lives(journaled, 1 + (seed % 3) as u16, seed)).sum();
    assert!(images > 1000 && journaled > 1000, "{images} {journaled}");
    let snapshotted: usize = (200..216).map(|seed| lives(snapshotted, 1 + (seed % 3) as u16, seed)).sum();
    assert!(snapshotted > 1000, "{snapshotted}");
}

#[test]
fn each_call_to_either_of_two_disks_once() {
    for (failing, call) in [(0, Call::Write), (1, Call::Write), (0, Call::Drain), (1, Call::Drain)] {
        let mut failed = 0;
        for number in 0..40 {
            let (sims, _, composite, config) = made(journaled, 1);
            let mut script = Script::create(composite, config, 11, 30);
            sims[failing].fail(call, number, libc::EIO);
            for step_number in 0..400 {
                let (step, hash) = script.any();
                let before = script.model.clone();
                let Err(error) = script.step(step, hash) else { continue };
                assert!(error.to_string().contains(&format!("m{failing}: cannot")), "{error}");
                assert!(script.is_latched(0));
                let amid = Model::amid(&before, &script.model);
                let point: Vec<_> = sims.iter().map(|sim| sim.crash_point()).collect();
                (0..10).for_each(|seed| amid.check(&found(&left(&point, step_number + seed))));
                failed += 1;
                break;
            }
        }
        assert!(failed > 10, "{failed} of {call:?} to {failing}");
    }
}
