//! A shard's reads against a model, on a stream that is written around and around while reads are under way.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::Medium;
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::stream::{Reader, StreamWriter};
use torc_pmem::tier::{Run, Tier};

/// So small that it is written over every few steps.
const CONFIG: Config = Config {
    bytes: 160 << 10,
    page_bytes: 4096,
    batch_bytes: 16 << 10,
    streams: 1,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 5,
    hash_seed: 9,
};
const CACHE_BYTES: usize = 30_000;

struct World {
    random: Random,
    writer: StreamWriter,
    reader: Reader,
    pages: Pages,
    fetches: Receiver<Fetch>,
    fetched: async_channel::Sender<FetchedPage>,
    /// What the index would name: the bytes at each place, and their hash.
    named: BTreeMap<u64, (u64, Vec<u8>)>,
    hashes: u64,
    /// Asked for and not read; read and not delivered.
    asked: Vec<Fetch>,
    read: Vec<FetchedPage>,
    /// Places that somebody waits for.
    waiting: BTreeSet<u64>,
    _run: Run,
}

impl World {
    fn new(seed: u64) -> World {
        let medium: Arc<dyn Medium> = Arc::new(Sim::new(CONFIG.bytes, 512));
        Tier::create(&medium, CONFIG).unwrap();
        let tier = Tier::open(medium).unwrap();
        let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
        let run = tier.begin().unwrap();
        let (fetchers, fetches) = Fetchers::new();
        let (fetched, fetched_out) = async_channel::bounded(FETCHED_MAX);
        let pages = Pages::new(3, fetchers, fetched_out, &run.tier().overwrites(), CACHE_BYTES);
        World {
            random: Random(seed),
            writer: run.writer(&end).unwrap(),
            reader: run.tier().reader(),
            pages,
            fetches,
            fetched,
            named: BTreeMap::new(),
            hashes: 0,
            asked: Vec::new(),
            read: Vec::new(),
            waiting: BTreeSet::new(),
            _run: run,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound.max(1) as u64) as usize
    }

    /// Writes a batch; before that the oldest one is left when room is wanted.
    fn write(&mut self) {
        while self.writer.wants_room() {
            let mut records = Vec::new();
            let oldest = self.writer.oldest(&mut records).unwrap();
            for (_, place) in records {
                place.map(|place| self.named.remove(&place.to_bits()));
            }
            let Some(oldest) = oldest else { break };
            self.writer.free(oldest);
        }
        let mut added = Vec::new();
        for _ in 0..1 + self.below(12) {
            self.hashes += 1;
            let (hash, len) = (self.hashes, 200 + self.below(1200));
            let bytes: Vec<u8> = std::iter::repeat_with(|| self.random.next() as u8).take(len).collect();
            let record = Record { hash, version: hash, expiry: 0, space: 0, slot: 0, kind: Kind::Item };
            match self.writer.add(&record, &bytes) {
                Ok(place) => added.push((place.unwrap().to_bits(), (hash, bytes))),
                Err(_) => break,
            }
        }
        self.writer.commit().unwrap();
        self.named.extend(added);
    }

    /// Fetches an item that is named.
    fn fetch(&mut self) {
        let number = self.below(self.named.len());
        let Some((place, (hash, bytes))) = self.named.iter().nth(number) else { return };
        // Who waits for a place asks once.
        if self.waiting.contains(place) {
            return;
        }
        match self.pages.fetch(*hash, Place::from_bits(*place)) {
            Some(page) => assert_eq!(page.item(Place::from_bits(*place).ordinal()), Ok(&bytes[..]), "kept"),
            None => assert!(self.waiting.insert(*place)),
        }
        self.asked.extend(std::iter::from_fn(|| self.fetches.try_recv().ok()));
        assert!(self.pages.cached_bytes() <= CACHE_BYTES);
    }

    /// A thread reads one of the pages that were asked for.
    fn read(&mut self) {
        let number = self.below(self.asked.len());
        if number < self.asked.len() {
            let Fetch { place, shard } = self.asked.swap_remove(number);
            assert_eq!(shard, 3);
            let page = self.reader.page(place).map(|page| page.keep());
            self.read.push(FetchedPage { place, page });
        }
    }

    /// What was read comes to the shard, in any order.
    fn deliver(&mut self) {
        let number = self.below(self.read.len());
        if number < self.read.len() {
            self.fetched.try_send(self.read.swap_remove(number)).unwrap();
        }
        while let Some(Arrived { asked, page }) = self.pages.next() {
            for (_, place) in asked {
                assert!(self.waiting.remove(&place), "it is answered once");
                let Some((_, bytes)) = self.named.get(&place) else { continue };
                let item = page.as_ref().unwrap().item(Place::from_bits(place).ordinal());
                assert_eq!(item, Ok(&bytes[..]), "arrived");
            }
        }
        self.asked.extend(std::iter::from_fn(|| self.fetches.try_recv().ok()));
        assert!(self.pages.cached_bytes() <= CACHE_BYTES);
    }

    fn step(&mut self) {
        match self.below(16) {
            0 | 1 => self.write(),
            2..=9 => self.fetch(),
            10..=12 => self.read(),
            _ => self.deliver(),
        }
    }
}

#[test]
fn what_is_given_is_what_lies_there_now_and_nobody_waits_for_ever() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        (0..3000).for_each(|_| world.step());
        while !world.asked.is_empty() || !world.read.is_empty() {
            world.read();
            world.deliver();
        }
        assert!(world.waiting.is_empty(), "seed {seed}: {:?} wait", world.waiting);
        assert!(world.pages.flights.flights.is_empty());
        assert!(world.writer.figures().batches > 200, "it was written around often");
    }
}

#[test]
fn a_page_that_many_ask_for_is_read_once() {
    let mut world = World::new(1);
    world.write();
    let named: Vec<(u64, u64)> = world.named.iter().map(|(place, (hash, _))| (*place, *hash)).collect();
    let units: BTreeSet<u64> = named.iter().map(|(place, _)| Place::from_bits(*place).unit()).collect();
    assert!(units.len() < named.len());
    for (place, hash) in &named {
        assert!(world.pages.fetch(*hash, Place::from_bits(*place)).is_none());
    }
    assert_eq!(world.fetches.len(), units.len());
}

#[test]
fn the_oldest_pages_go_and_items_that_are_alone_are_not_kept() {
    let world = World::new(1);
    let overwrites = world._run.tier().overwrites();
    let mut cache = PageCache::new(overwrites.clone(), 10_000);
    let place = |unit: u64| Place::from_bits(unit << 13);
    let page = |items, len| Arc::new(KeptPage { items, payload: vec![0; len].into() });
    let mut keep = |unit, page: Arc<KeptPage>| cache.keep(place(unit), &page, overwrites.now(place(unit)));
    (100..104).for_each(|unit| keep(unit, page(2, 3000)));
    keep(104, page(1, 100));
    keep(105, page(2, 20_000));
    let kept: Vec<u64> = (100..106).filter(|unit| cache.find(place(*unit)).is_some()).collect();
    assert_eq!(kept, [101, 102, 103]);
    assert!((9000..=10_000).contains(&cache.bytes()), "{}", cache.bytes());
    // The one that came first is replaced, and keeps its turn.
    cache.keep(place(101), &page(2, 2000), overwrites.now(place(101)));
    cache.keep(place(106), &page(2, 3000), overwrites.now(place(106)));
    let kept: Vec<u64> = (100..107).filter(|unit| cache.find(place(*unit)).is_some()).collect();
    assert_eq!(kept, [102, 103, 106]);
    cache.clear();
    assert_eq!(cache.bytes(), 0);
    let mut none = PageCache::new(overwrites.clone(), 0);
    none.keep(place(100), &page(2, 10), overwrites.now(place(100)));
    assert!(none.find(place(100)).is_none());
}
