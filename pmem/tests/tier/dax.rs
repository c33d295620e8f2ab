//! A tier in persistent memory that is real as far as the kernel knows: the folder in `TORC_TEST_DAX_DIR` lies on a file
//! system that is mounted with `-o dax`. Without it these tests say that they are skipped. `tools/guest/run.sh` runs them
//! in a guest with an emulated NVDIMM, and cuts it off from its power in between.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use torc_pmem::media::dax::Dax;
use torc_pmem::media::sim::Sim;
use torc_pmem::media::{MediaError, Medium, bytes, bytes_mut, zeroed};
use torc_pmem::tier::Tier;

use crate::model::{Found, Model};
use crate::script::{Script, Step, config};

const BYTES: u64 = 2 << 20;

/// A path in the folder, which is removed at the end.
struct Scratch {
    path: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Scratch {
    fn new(name: &str) -> Option<Scratch> {
        let Some(folder) = std::env::var_os("TORC_TEST_DAX_DIR") else {
            eprintln!("skipped: TORC_TEST_DAX_DIR names no folder in persistent memory (tools/guest/run.sh)");
            return None;
        };
        // One test at a time: while a process is being started it holds the locks of all files that are open.
        static ONE: Mutex<()> = Mutex::new(());
        let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Scratch { path: Path::new(&folder).join(name), _alone })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn what_was_written_through_a_map_sync_mapping_is_there_when_the_file_is_mapped_again() {
    let Some(path) = Scratch::new("medium") else { return };
    let medium = Dax::open(&path.path, BYTES).unwrap();
    assert!(medium.describe().starts_with("persistent memory"), "{}", medium.describe());
    assert!(is_mapped_with_sync(&path.path), "the kernel says that faults are synchronous");
    let mut blocks = zeroed(5);
    bytes_mut(&mut blocks).iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
    medium.write(12288, &blocks).unwrap();
    medium.drain().unwrap();
    drop(medium);
    let medium = Dax::open(&path.path, BYTES).unwrap();
    let mut out = zeroed(5);
    medium.read(12288, &mut out).unwrap();
    assert_eq!(bytes(&out), bytes(&blocks));
    medium.read(12288 + 5 * 4096, &mut out).unwrap();
    assert!(bytes(&out).iter().all(|byte| *byte == 0));
    assert_eq!(std::fs::read(&path.path).unwrap()[12288..12288 + 5 * 4096], *bytes(&blocks));
    drop(medium);
    let refused = Dax::open(&path.path, BYTES / 2).unwrap_err();
    assert!(matches!(refused, MediaError::Size { .. }), "{refused}");
}

/// Whether the flags of the mapping of a file have `sf`, a synchronous fault, which only MAP_SYNC gives.
fn is_mapped_with_sync(path: &Path) -> bool {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("the kernel tells of mappings");
    let (_, of_file) = maps.split_once(path.to_str().expect("a plain path")).expect("the file is mapped");
    let flags = of_file.lines().find_map(|line| line.strip_prefix("VmFlags:")).expect("a mapping has flags");
    flags.split_whitespace().any(|flag| flag == "sf")
}

#[test]
fn a_second_process_is_refused_until_the_first_has_closed_the_file() {
    let Some(path) = Scratch::new("locked") else { return };
    let other = || {
        let program = std::env::current_exe().expect("the test's own program");
        let mut command = Command::new(program);
        command.args(["--ignored", "--exact", "dax::another_process", "--nocapture"]);
        let output = command.env("TORC_TEST_DAX_OPEN", &path.path).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let medium = Dax::open(&path.path, BYTES).unwrap();
    let told = other();
    assert!(told.contains("is used by another process"), "{told}");
    drop(medium);
    let told = other();
    assert!(told.contains("opened: persistent memory"), "{told}");
}

#[test]
#[ignore = "the second process of another test"]
fn another_process() {
    let path = std::env::var_os("TORC_TEST_DAX_OPEN").expect("the path that it shall open");
    match Dax::open(Path::new(&path), BYTES) {
        Ok(medium) => println!("opened: {}", medium.describe()),
        Err(refused) => println!("refused: {refused}"),
    }
}

#[test]
fn a_tier_that_is_written_over_many_times_is_recovered_after_each_end() {
    let Some(path) = Scratch::new("tier") else { return };
    let config = config(2, 8);
    let mut script = Script::create(Arc::new(Dax::open(&path.path, config.bytes).unwrap()), config, 5, 40);
    for life in 0..3 {
        for _ in 0..1500 {
            let (step, hash) = script.any();
            script.step(step, hash).unwrap();
        }
        let version = script.version;
        let (medium, model) = script.close();
        drop(medium);
        let medium = Arc::new(Dax::open(&path.path, config.bytes).unwrap());
        assert!(Tier::open(medium.clone()).unwrap().is_clean());
        // It checks what it finds.
        script = Script::on(medium, model, version, life, 40).unwrap();
    }
}

/// What is the same in both lives of a tier that is cut off.
mod power {
    pub(super) const STREAMS: u16 = 2;
    pub(super) const BATCHES: u64 = 12;
    pub(super) const KEYS: u64 = 60;
    /// No cut comes later than this.
    pub(super) const STEPS: u64 = 200_000;
    /// So many steps after the last report the cut has come: reports do not wait in the guest, and one step of ten makes one.
    pub(super) const STEPS_AFTER: u64 = 300;

    pub(super) fn number(name: &str) -> u64 {
        let value = std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
        value.parse().unwrap_or_else(|_| panic!("{name} is a number"))
    }

    pub(super) fn path() -> std::path::PathBuf {
        let folder = std::env::var_os("TORC_TEST_DAX_DIR").expect("a folder in persistent memory");
        std::path::Path::new(&folder).join("power")
    }
}

/// The first life: steps under the seed `TORC_TEST_SEED`, and a line for each that was drained.
#[test]
#[ignore = "runs until the machine is cut off from its power; tools/guest/run.sh"]
fn writing_until_the_power_is_cut() {
    let config = config(power::STREAMS, power::BATCHES);
    let _ = std::fs::remove_file(power::path());
    let medium = Arc::new(Dax::open(&power::path(), config.bytes).unwrap());
    let mut script = Script::create(medium, config, power::number("TORC_TEST_SEED"), power::KEYS);
    for number in 0..power::STEPS {
        let (step, hash) = script.any();
        script.step(step, hash).unwrap();
        if matches!(step, Step::Drain | Step::Checkpoint) {
            println!("drained {number} .");
        }
    }
    panic!("the power was not cut");
}

/// The second life: all that was reported before the cut, step `TORC_TEST_DRAINED`, is there, and nothing is wrong; the tier
/// goes on from what was found.
#[test]
#[ignore = "looks at what a cut has left; tools/guest/run.sh"]
fn what_was_reported_before_the_cut_is_there() {
    let config = config(power::STREAMS, power::BATCHES);
    let (seed, drained) = (power::number("TORC_TEST_SEED"), power::number("TORC_TEST_DRAINED"));
    let mut allowed = Model::default();
    let mut script = Script::create(Arc::new(Sim::new(config.bytes, 64)), config, seed, power::KEYS);
    for number in 0..=drained + power::STEPS_AFTER {
        let (step, hash) = script.any();
        script.step(step, hash).unwrap();
        if number == drained {
            assert!(matches!(step, Step::Drain | Step::Checkpoint), "the steps are those of the first life");
            allowed = script.model.clone();
        } else if number > drained {
            allowed = Model::amid(&allowed, &script.model);
        }
    }
    let medium = Arc::new(Dax::open(&power::path(), config.bytes).unwrap());
    let tier = Tier::open(medium.clone()).unwrap();
    assert!(!tier.is_clean());
    let found = Found::of(&tier);
    assert!(
        found.counts.iter().all(|counts| counts.damaged == 0 && !counts.is_unreadable),
        "{:?}",
        found.counts
    );
    println!("found {} of {} keys", found.items.len(), power::KEYS);
    drop(tier);
    let mut script = Script::on(medium, allowed, script.version, seed + 1, power::KEYS).unwrap();
    for _ in 0..500 {
        let (step, hash) = script.any();
        script.step(step, hash).unwrap();
    }
    let (medium, model) = script.close();
    model.check(&Found::of(&Tier::open(medium).unwrap()));
}
