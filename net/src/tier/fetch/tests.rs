//! Both readers on a real file give the same.

use super::*;
use crate::tier::mailbox::Mailbox;
use crate::tier::testing::silent;
use crate::transport::choice::{Chosen, TransportChoice, choose};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::Medium;
use torc_pmem::media::file::{Access, FileMedium};
use torc_pmem::tier::Tier;

const CONFIG: Config = Config {
    bytes: 4 << 20,
    page_bytes: 4096,
    batch_bytes: 64 << 10,
    streams: 1,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 7,
    hash_seed: 1,
};
const ITEMS: u64 = 400;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A tier with pages of small items, pages that a long item has for itself, and one page that is damaged.
fn tier(path: &PathBuf) -> (Arc<dyn Medium>, Vec<Place>) {
    let medium: Arc<dyn Medium> = Arc::new(FileMedium::open(path, CONFIG.bytes, Access::Best).unwrap());
    Tier::create(&medium, CONFIG).unwrap();
    let tier = Tier::open(medium.clone()).unwrap();
    let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
    let run = tier.begin().unwrap();
    let mut writer = run.writer(&end).unwrap();
    let mut places = Vec::new();
    for hash in 0..ITEMS {
        let record = Record { hash, version: hash + 1, expiry: 0, space: 0, slot: 0, kind: Kind::Item };
        let len = if hash % 50 == 49 { 20_000 } else { 700 };
        let bytes: Vec<u8> = (0..len).map(|at| (hash * 31 + at * at % 251) as u8).collect();
        places.extend(writer.add(&record, &bytes).unwrap());
        if hash % 20 == 19 {
            writer.commit().unwrap();
        }
    }
    let damaged = places[ITEMS as usize / 2].unit() * 64 + 100;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"damage", damaged).unwrap();
    // Units without a page, and one outside of the ring.
    places.extend([1, 64, 4 << 14].map(|unit| Place::from_bits(unit << 13)));
    (medium, places)
}

/// What whoever reads by `choice` gives for each place, and who that is.
fn read(medium: &Arc<dyn Medium>, places: &[Place], choice: ReadsChoice) -> (BTreeMap<u64, String>, String) {
    let reader = Tier::open(medium.clone()).unwrap().reader();
    let (fetchers, fetches) = Fetchers::new();
    let (mailbox, inbox) = Mailbox::new(silent());
    let (mailboxes, figures) = (vec![mailbox], Arc::new(TierFigures::default()));
    let parts = FetchParts { fetches, mailboxes, reader, figures: figures.clone(), cpus: Vec::new() };
    let (threads, who) = start(parts, choice).unwrap();
    places.iter().for_each(|place| fetchers.fetch(Fetch { shard: 0, place: *place }));
    let mut found = BTreeMap::new();
    let since = Instant::now();
    for _ in places {
        let page = loop {
            match inbox.fetched.try_recv() {
                Ok(page) => break page,
                Err(_) => assert!(since.elapsed() < Duration::from_secs(60), "somebody reads"),
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        let words = match page.page {
            Ok(kept) => format!("{kept:?}"),
            Err(miss) => miss.to_string(),
        };
        found.insert(page.place.to_bits(), words);
    }
    assert_eq!(figures.reads.load(std::sync::atomic::Ordering::Relaxed), places.len() as u64);
    // They end when nobody can ask.
    drop(fetchers);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    (found, who)
}

#[test]
fn an_executor_gives_what_threads_give() {
    let path = Scratch(std::env::temp_dir().join(format!("torc-fetch-{}", std::process::id())));
    let (medium, places) = tier(&path.0);
    let (by_threads, who) = read(&medium, &places, ReadsChoice::Threads);
    assert_eq!(who, "16 threads: --tier-reads threads");
    let (found, who) = read(&medium, &places, ReadsChoice::Auto);
    let grants_uring = matches!(choose(TransportChoice::Auto), Ok(Chosen::Uring));
    assert!(who.starts_with("io_uring") || !grants_uring || medium.direct_file().is_none(), "{who}");
    assert_eq!(found, by_threads);
    assert!(by_threads.values().any(|words| words.contains("damaged")));
    assert!(by_threads.values().any(|words| words.len() > 60_000), "a long item has a page for itself");
}

#[test]
fn what_shards_have_asked_for_is_read_before_the_end() {
    let path = Scratch(std::env::temp_dir().join(format!("torc-fetch-end-{}", std::process::id())));
    let (medium, places) = tier(&path.0);
    let (fetchers, fetches) = Fetchers::new();
    let (mailbox, inbox) = Mailbox::new(silent());
    let parts = FetchParts {
        fetches,
        mailboxes: vec![mailbox],
        reader: Tier::open(medium).unwrap().reader(),
        figures: Arc::default(),
        cpus: Vec::new(),
    };
    let (threads, _) = start(parts, ReadsChoice::Auto).unwrap();
    places.iter().for_each(|place| fetchers.fetch(Fetch { shard: 0, place: *place }));
    drop(fetchers);
    let mut count = 0;
    while inbox.fetched.recv_blocking().is_ok() {
        count += 1;
    }
    assert_eq!(count, places.len());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_medium_that_is_no_file_is_read_by_threads_and_not_by_io_uring() {
    let medium: Arc<dyn Medium> = Arc::new(torc_pmem::media::sim::Sim::new(CONFIG.bytes, 512));
    Tier::create(&medium, CONFIG).unwrap();
    let parts = || FetchParts {
        fetches: Fetchers::new().1,
        mailboxes: Vec::new(),
        reader: Tier::open(medium.clone()).unwrap().reader(),
        figures: Arc::default(),
        cpus: Vec::new(),
    };
    let (threads, who) = start(parts(), ReadsChoice::Auto).unwrap();
    assert_eq!(who, "16 threads: the medium is no file with direct I/O");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let refused = start(parts(), ReadsChoice::Uring).unwrap_err().to_string();
    assert_eq!(refused, "--tier-reads uring: the medium is no file with direct I/O");
}
