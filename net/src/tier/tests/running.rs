//! Shards with a tier on a simulated medium, and without a server.

use super::*;

/// The shards of a server, without the server.
pub(super) struct Running {
    pub(super) shards: Vec<Shard>,
    pub(super) ports: Vec<Port>,
    pub(super) storage: Storage,
    pub(super) figures: Arc<TierFigures>,
    /// By hash, where items lie.
    pub(super) places: HashMap<u64, u64>,
    /// By shard and stream: what was freed since the start.
    pub(super) freed: Vec<HashMap<u16, u64>>,
    /// Of these slots the tier takes no more items.
    full: Vec<std::ops::RangeInclusive<u16>>,
}

pub(super) fn start(medium: Arc<dyn Medium>, shards: u16) -> Running {
    start_with(medium, shards, 8 << 20)
}

/// Starts, and waits until everything is known.
pub(super) fn start_with(medium: Arc<dyn Medium>, shards: u16, memory_bytes: u64) -> Running {
    let mut running = begin(medium, shards, memory_bytes, true);
    running.learn_all();
    running
}

/// Starts without taking anything of what shards are told.
pub(super) fn begin(medium: Arc<dyn Medium>, shards: u16, memory_bytes: u64, reads_wait: bool) -> Running {
    let tier = Tier::open(medium).unwrap();
    let slots = SlotMap::even(shards);
    let shard_of = |number: u16| {
        let config = ShardConfig {
            shard: number,
            seed: tier.config().hash_seed,
            segment_bytes: 64 << 10,
            ..ShardConfig::new(memory_bytes)
        };
        let mut shard = Shard::new(config).unwrap();
        shard.remember_changes(slot_of);
        shard.start_above(tier.ceiling());
        shard.begin_recovery((0..SLOTS).filter(|slot| slots.owner(*slot) == number), slot_of, reads_wait);
        shard
    };
    let stores: Vec<Shard> = (0..shards).map(shard_of).collect();
    let figures = Arc::new(TierFigures::default());
    let parts = StorageParts {
        tier,
        wakers: (0..shards).map(|_| silent()).collect(),
        slots,
        durability: Durability::Interval(MOMENT),
        cpus: Vec::new(),
        reads: ReadsChoice::Auto,
        figures: figures.clone(),
        clock: MachineClock::new(),
        cache_bytes: 32 << 10,
        journal_bytes: JOURNAL_BYTES,
        snapshots: SNAPSHOTS,
        recovers: true,
    };
    let (storage, links) = Storage::start(parts).unwrap();
    let ports = (0..).zip(links).map(|(shard, link)| linked(shard, link, &figures)).collect();
    let freed = vec![HashMap::new(); usize::from(shards)];
    Running { shards: stores, ports, storage, figures, places: HashMap::new(), freed, full: Vec::new() }
}

/// The end of a shard that uses a tier.
fn linked(shard: u16, link: crate::tier::port::Link, figures: &Arc<TierFigures>) -> Port {
    let (mut port, socket) = Port::new(shard, figures.clone());
    socket.send(link).unwrap();
    assert!(port.take_link(0));
    port
}

impl Running {
    pub(super) fn owner(&self, key: &[u8]) -> usize {
        usize::from(SlotMap::even(self.shards.len() as u16).owner(slot_of(key)))
    }

    /// Whether the tier takes no more of a key.
    pub(super) fn is_full(&self, key: &[u8]) -> bool {
        self.full.iter().any(|slots| slots.contains(&slot_of(key)))
    }

    /// Takes what a shard is told next; false: there is nothing now.
    pub(super) fn learn(&mut self, shard: usize) -> bool {
        let Some(told) = self.ports[shard].next_told() else { return false };
        let told = {
            let freed = self.freed[shard].get(&told.stream).copied().unwrap_or_default();
            told.without_freed(freed)
        };
        self.shards[shard].recover(&told.known);
        if told.is_damaged {
            self.shards[shard].leave_untold();
        }
        told.ended.into_iter().for_each(|slots| self.shards[shard].end_slots(slots));
        true
    }

    pub(super) fn learn_all(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.shards.iter().any(Shard::is_recovering) {
            assert!(Instant::now() < end, "recovery comes to an end");
            if !(0..self.shards.len()).any(|shard| self.learn(shard)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    pub(super) fn execute(&mut self, key: &[u8], op: Op<'_>) {
        let owner = self.owner(key);
        let hash = self.shards[owner].hash(0, key);
        self.shards[owner].execute(&Command { database: 0, key, op }, hash, NOW);
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        self.execute(key, Op::Write(Write::set(value)));
    }

    pub(super) fn hand_over(&mut self) {
        for (shard, port) in self.shards.iter_mut().zip(&self.ports) {
            let mut batch = Box::<SaveBatch>::default();
            shard.take_unsaved(|unsaved| batch.take(&unsaved));
            port.save(batch);
        }
    }

    /// What a shard is told next; it must come.
    pub(super) fn next(&mut self, shard: usize) -> Reply {
        self.next_within(shard, PATIENCE).expect("the shard is told something")
    }

    pub(super) fn next_within(&mut self, shard: usize, patience: Duration) -> Option<Reply> {
        let end = Instant::now() + patience;
        loop {
            self.ports[shard].begin_look();
            match self.ports[shard].next() {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                found => return found,
            }
        }
    }

    /// Hands everything over, and waits until it is saved.
    pub(super) fn save(&mut self) {
        while self.shards.iter().any(Shard::has_unsaved) {
            self.hand_over();
            let (mut waiting, end) = (self.shards.len(), Instant::now() + PATIENCE);
            while waiting > 0 {
                assert!(Instant::now() < end, "everything is saved");
                for shard in 0..self.shards.len() {
                    let Some(reply) = self.next_within(shard, Duration::ZERO) else { continue };
                    waiting -= usize::from(matches!(reply, Reply::Saved(_)));
                    self.take(shard, reply);
                }
            }
        }
    }

    pub(super) fn take_saved(&mut self, shard: usize) {
        loop {
            let reply = self.next(shard);
            let is_saved = matches!(reply, Reply::Saved(_));
            self.take(shard, reply);
            if is_saved {
                return;
            }
        }
    }

    pub(super) fn tell(&mut self, shard: usize, batch: &SaveBatch) {
        for entry in &batch.entries {
            entry.tell(&mut self.shards[shard]);
            self.places.extend(entry.place.map(|place| (entry.record.hash, place)));
        }
    }

    /// Takes an item that is saved out of memory, if it is on the tier, too.
    pub(super) fn put_out(&mut self, key: &[u8]) {
        let owner = self.owner(key);
        if let Some(place) = self.places.get(&self.shards[owner].hash(0, key)) {
            self.shards[owner].demote(0, key, *place, NOW);
        }
    }

    /// Does what a worker does, but that all stays that was read.
    pub(super) fn take(&mut self, shard: usize, reply: Reply) {
        let of_shard = &mut self.shards[shard];
        match reply {
            Reply::Saved(batch) => self.tell(shard, &batch),
            Reply::Leave { stream, below, places } => {
                self.freed[shard].insert(stream, below);
                let places_of = &mut self.places;
                let stays = |leaving: &Leaving| {
                    let Leaving { record: Record { hash, version, expiry, kind, .. }, place } = *leaving;
                    if places_of.get(&hash) == Some(&place) {
                        places_of.remove(&hash);
                    }
                    let is_read = of_shard.accesses_at(hash, place) > 0;
                    let is_carried =
                        is_read && kind == Kind::Item && of_shard.may_be_carried(hash, place, version);
                    is_carried || {
                        match kind {
                            Kind::Chunk => of_shard.leave_chunk(hash, expiry, place, true),
                            _ => of_shard.leave_place(hash, place, true),
                        };
                        false
                    }
                };
                let stay = places.into_iter().filter(stays).collect();
                self.ports[shard].left(stream, stay);
            }
            Reply::Moved { stream, moves } => {
                for moved in moves {
                    of_shard.carried(moved.hash, moved.from, moved.to);
                    // Unless it was saved anew meanwhile.
                    moved.to.map(|place| self.places.entry(moved.hash).or_insert(place));
                }
                self.ports[shard].moved(stream);
            }
            Reply::Packed { stream, moves } => {
                for moved in moves {
                    of_shard.packed(moved.hash, moved.from, moved.to);
                    let place = self.places.get_mut(&moved.hash).filter(|place| **place == moved.from);
                    place.into_iter().zip(moved.to).for_each(|(place, to)| *place = to);
                }
                self.ports[shard].moved(stream);
            }
            Reply::Full(slots) => self.full.push(slots),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn next_fetched(&mut self, shard: usize, (hash, place): (u64, u64)) -> Option<Vec<u8>> {
        loop {
            match self.next(shard) {
                Reply::Fetched(Arrived { asked, page }) => {
                    assert_eq!(asked, [(hash, place)]);
                    let ordinal = Place::from_bits(place).ordinal();
                    return page.ok().and_then(|page| page.item(ordinal).ok().map(<[u8]>::to_vec));
                }
                other => self.take(shard, other),
            }
        }
    }

    /// What lies at a place, if it can be read.
    pub(super) fn fetch(&mut self, shard: usize, hash: u64, Ticket(place): Ticket) -> Option<Vec<u8>> {
        match self.ports[shard].fetch(hash, place) {
            Fetched::Item(item) | Fetched::Kept(item) => Some(item.to_vec()),
            Fetched::Gone => None,
            Fetched::Later => self.next_fetched(shard, (hash, place)),
        }
    }

    /// Brings an item back, with its chunks; `None`: it cannot be had.
    pub(super) fn bring_back(&mut self, shard: usize, hash: u64, ticket: Ticket) -> Option<()> {
        let head = self.fetch(shard, hash, ticket)?;
        let Some(mut returning) = self.shards[shard].promote(hash, ticket, &head, NOW).unwrap() else {
            return Some(());
        };
        assert_eq!(self.shards[shard].start_return(&mut returning, NOW), Ok(true));
        while let Some(chunk) = self.shards[shard].chunk_to_fetch(&mut returning, NOW).ok()? {
            let bytes = self.fetch(shard, chunk.name, chunk.ticket)?;
            self.shards[shard].chunk_back(&mut returning, &chunk, &bytes).ok()?;
        }
        self.shards[shard].end_return(&returning, NOW).ok()
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let owner = self.owner(key);
        let hash = self.shards[owner].hash(0, key);
        let get = Command { database: 0, key, op: Op::Read(Read::default()) };
        // It may be carried on while it is fetched.
        while let Outcome::Pending(ticket) = self.shards[owner].execute(&get, hash, NOW) {
            if self.bring_back(owner, hash, ticket).is_none() {
                self.shards[owner].forget_elsewhere(hash, ticket);
            }
        }
        match self.shards[owner].execute(&get, hash, NOW) {
            Outcome::Item(found) => Some(match found.value {
                Value::Inline(value) => value.to_vec(),
                Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
            }),
            Outcome::Miss => None,
            other => panic!("{other:?}"),
        }
    }

    /// Ends in order, if everything is saved.
    pub(super) fn stop(mut self) {
        for port in &self.ports {
            port.end(true);
        }
        self.ports.clear();
        self.storage.join().unwrap();
    }
}
