//! The tier of a simulated server: what a seed draws of it, the medium that outlives servers, and the steps of its storage side.

use super::sleeper::SimClock;
use crate::server::Recovers;
use crate::slots::SlotMap;
use crate::tier::{
    Durability, Inline, Port, ReadsChoice, Rearm, Snapshots, Socket, StorageParts, TierConfig, TierFigures,
    TierPath, Wakers,
};
use crate::transport::Waker;
use crate::transport::sim::Random;
use crate::worker::Bug;
use std::sync::Arc;
use std::time::Duration;
use torc_engine::command::Millis;
use torc_pmem::format::spaces::SpaceTable;
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::sim::{Call, Sim as SimMedium};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::tier::{OpenError, Tier};

/// What goes on with a server beside what its clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Incident {
    /// An orderly end, and another server over what the medium has.
    Stop,
    /// The same after an end in no order.
    Crash,
    /// A call to the medium fails, so many calls from then on.
    Fails(Call, u64),
    /// Bits flip on the medium.
    Rots,
}

/// What a seed draws of a tier.
#[derive(Debug)]
pub(super) struct TierWorld {
    pub(super) durability: Durability,
    pub(super) config: Config,
    settings: TierConfig,
    /// The medium tears writes into pieces of so many bytes: those of memory, or of a disk.
    piece_bytes: usize,
    /// Percent of the steps in which the storage side writes, and tries to read and tell; how many messages it takes at most.
    write_percent: u32,
    read_percent: u32,
    jobs_max: usize,
    told_max: usize,
    /// After which steps what happens.
    pub(super) incidents: Vec<(u64, Incident)>,
    /// Milliseconds from a failure until the tier is taken into use again; `None`: it is not.
    rearms_after: Option<Millis>,
}

/// Streams of a tier that is little, and of one that has room for everything: bytes of each.
const LITTLE_BYTES: usize = 1 << 20;
const MUCH_BYTES: u64 = 6 << 20;
const BATCH_BYTES: u32 = 128 << 10;
const JOURNAL: JournalConfig = JournalConfig { bytes: 256 << 10, batch_bytes: 16 << 10 };
/// What comes to a journal first is less than this, bytes.
const JOURNAL_BYTES: u64 = 32 << 10;
/// Room for some thousand keys.
const SNAPSHOT_MEMORY: u64 = 64 << 10;
const CACHE_BYTES: u64 = 256 << 10;
/// What readers and those that tell do in a step of the simulation at most, together.
const STEPS_MAX: usize = 8;
/// Steps within which incidents come, if clients are not done before.
const INCIDENT_STEPS: u64 = 1_000;

impl TierWorld {
    pub(super) fn new(random: &mut Random, shards: u16) -> TierWorld {
        let durability = match random.below(5) {
            0 => Durability::None,
            1 | 2 => Durability::Always,
            _ => Durability::Interval(Duration::from_millis(20 + random.number() % 400)),
        };
        let fits = random.chance(60);
        let is_memory = random.chance(30);
        let journal = if random.chance(50) { JOURNAL } else { JournalConfig::NONE };
        let least = 10 * u64::from(BATCH_BYTES) + u64::from(journal.bytes);
        let stream = if fits { MUCH_BYTES } else { least + random.below(LITTLE_BYTES) as u64 };
        let bytes =
            stream * u64::from(shards) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64 + 2 * BLOCK_BYTES as u64;
        let mut config = Config {
            bytes,
            page_bytes: [4096, 16 << 10][random.below(2)],
            batch_bytes: BATCH_BYTES,
            streams: shards,
            journal,
            has_snapshots: false,
            volume: random.number(),
            hash_seed: random.number(),
        };
        // Drawn apart, so that seeds without snapshots stay what they are.
        let mut snapshots = Random::new(config.volume);
        config.has_snapshots = snapshots.chance(60);
        let settings = TierConfig {
            path: TierPath::Memory,
            bytes: Some(bytes),
            durability,
            cache_bytes: if is_memory || random.chance(30) { 0 } else { CACHE_BYTES },
            journal_bytes: JOURNAL_BYTES,
            snapshots: Snapshots {
                a_lap: 1 + snapshots.number() % 8,
                memory_bytes: SNAPSHOT_MEMORY,
                least_bytes: 16 << (10 + snapshots.number() % 5),
                dead_percent: if snapshots.chance(70) { 0 } else { Snapshots::DEAD_PERCENT },
                share_percent: 100,
            },
            reads_wait: random.chance(60),
            resets: false,
            index_percent: 50,
            reads: ReadsChoice::Threads,
            cpus: Vec::new(),
        };
        TierWorld {
            durability,
            config,
            settings,
            piece_bytes: if is_memory { 64 } else { 512 },
            write_percent: [10, 30, 90][random.below(3)],
            read_percent: [20, 50, 90][random.below(3)],
            jobs_max: [1, 2, 100][random.below(3)],
            told_max: [2, 20, 1000][random.below(3)],
            incidents: incidents(random),
            rearms_after: random.chance(60).then(|| random.number() % 500),
        }
    }

    /// Memory of a shard that items may take which are on the tier, percent.
    pub(super) fn index_percent(&self) -> u64 {
        self.settings.index_percent
    }

    /// A worker's part, but for the port.
    pub(super) fn how(&self) -> (Durability, bool) {
        (self.durability, self.settings.reads_wait)
    }

    /// Whether a change is on the medium when it is answered.
    pub(super) fn is_always(&self) -> bool {
        self.durability == Durability::Always
    }

    /// Whether clients may ask for that.
    pub(super) fn makes_durable(&self) -> bool {
        self.durability != Durability::None
    }
}

fn incidents(random: &mut Random) -> Vec<(u64, Incident)> {
    let restarts = [0, 1, 1, 2, 3][random.below(5)];
    let (fails, rots) = (random.chance(15), random.chance(10));
    let mut all = Vec::new();
    let mut at = |random: &mut Random, incident| all.push((random.number() % INCIDENT_STEPS, incident));
    for _ in 0..restarts {
        let incident = if random.chance(60) { Incident::Crash } else { Incident::Stop };
        at(random, incident);
    }
    if fails {
        let call = [Call::Write, Call::Drain, Call::Read][random.below(3)];
        let number = random.number() % 10;
        at(random, Incident::Fails(call, number));
    }
    if rots {
        at(random, Incident::Rots);
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

/// A medium, and the storage side of a server on it.
pub(super) struct Backing {
    pub(super) medium: Arc<SimMedium>,
    pub(super) figures: Arc<TierFigures>,
    inline: Inline<SimClock>,
    again: Rearm<SimClock>,
    /// When the tier was seen to have failed.
    failed_at: Option<Millis>,
}

/// A tier that no server uses.
pub(super) struct Resting {
    medium: Arc<SimMedium>,
    tier: Tier,
}

impl Resting {
    /// A tier on a medium with this content; none: a new one.
    ///
    /// # Errors
    /// What is there cannot be used, though it must.
    pub(super) fn open(
        world: &TierWorld,
        image: Option<Vec<u8>>,
        random: &mut Random,
    ) -> Result<Resting, String> {
        let image = image.unwrap_or_else(|| vec![0; world.config.bytes as usize]);
        let medium = Arc::new(SimMedium::of_image(image, world.piece_bytes));
        let on: Arc<dyn Medium> = medium.clone();
        let told = |error: OpenError| error.to_string();
        match Tier::open(on.clone()) {
            Ok(tier) => Ok(Resting { medium, tier }),
            Err(OpenError::Refused { source, .. }) => {
                use torc_pmem::format::superblock::Refused::{Empty, Unfinished, Void};
                if !matches!(source, Empty | Unfinished | Void) {
                    return Err(format!("the tier is refused: {source}"));
                }
                let ceiling = Tier::superblock(&*on).map_or(0, |before| before.ceiling);
                // Another volume, as what the one before wrote is still there.
                let config = Config { volume: random.number(), ..world.config };
                Tier::create_above(&on, config, ceiling).map_err(told)?;
                Ok(Resting { medium, tier: Tier::open(on).map_err(told)? })
            }
            Err(error) => Err(told(error)),
        }
    }

    /// The spaces that databases had when the run before left it.
    pub(super) fn spaces(&self) -> &SpaceTable {
        self.tier.spaces()
    }

    /// What a shard begins with.
    pub(super) fn recovers(&self, world: &TierWorld) -> Recovers {
        Recovers { above: self.tier.ceiling(), reads_wait: world.settings.reads_wait }
    }

    /// Takes it into use for shards with these wakers. Returns a port for each.
    ///
    /// # Errors
    /// The medium's.
    pub(super) fn begin(
        self,
        world: &TierWorld,
        wakers: &[Arc<dyn Waker>],
        clock: &SimClock,
        bug: Bug,
    ) -> Result<(Backing, Vec<Port>), String> {
        let figures = Arc::new(TierFigures::default());
        let slots = SlotMap::even(wakers.len() as u16);
        let (mut ports, sockets): (Vec<Port>, Vec<Socket>) =
            (0..wakers.len() as u16).map(|shard| Port::new(shard, figures.clone())).unzip();
        let again = Rearm {
            settings: world.settings.clone(),
            config: world.config,
            slots: slots.clone(),
            clock: clock.clone(),
            figures: figures.clone(),
            sockets,
            wakers: Wakers(wakers.to_vec()),
        };
        let parts = StorageParts {
            tier: self.tier,
            wakers: wakers.to_vec(),
            slots,
            figures: figures.clone(),
            clock: clock.clone(),
            cache_bytes: world.settings.cache_bytes as usize / wakers.len(),
            durability: world.durability,
            journal_bytes: world.settings.journal_bytes,
            snapshots: world.settings.snapshots,
            cpus: Vec::new(),
            reads: world.settings.reads,
            recovers: true,
        };
        let (mut inline, links) = Inline::start(parts, world.told_max).map_err(|error| error.to_string())?;
        inline.put_in(bug);
        for (socket, link) in again.sockets.iter().zip(links) {
            // The port is here, and takes it.
            let _ = socket.send(link);
        }
        ports.iter_mut().for_each(|port| _ = port.take_link(0));
        Ok((Backing { medium: self.medium, figures, inline, again, failed_at: None }, ports))
    }
}

impl Backing {
    /// Takes some steps, or none, as chance has it.
    ///
    /// # Errors
    /// The tier cannot be taken into use again.
    pub(super) fn step(&mut self, world: &TierWorld, random: &mut Random, now: Millis) -> Result<(), String> {
        if random.chance(world.write_percent) {
            let jobs = 1 + random.below(world.jobs_max);
            self.inline.write(jobs);
        }
        for _ in 0..STEPS_MAX {
            if !random.chance(world.read_percent) {
                continue;
            }
            match random.below(if world.config.has_snapshots { 9 } else { 8 }) {
                8 => self.inline.make(),
                0 | 1 => self.inline.read(|count| random.below(count)),
                2 | 3 => self.inline.give(|count| random.below(count)),
                4 if random.chance(world.read_percent) => self.inline.recover(|count| random.below(count)),
                _ => self.inline.tell(|count| random.below(count)),
            }
        }
        self.rearm(world, random, now)
    }

    /// Takes a tier that has failed into use again, if it is time and all have let go of it.
    fn rearm(&mut self, world: &TierWorld, random: &mut Random, now: Millis) -> Result<(), String> {
        let Some(after) = world.rearms_after.filter(|_| self.figures.is_latched()) else { return Ok(()) };
        let failed_at = *self.failed_at.get_or_insert(now);
        if now < failed_at + after || !self.inline.has_ended() {
            return Ok(());
        }
        self.failed_at = None;
        let tier = self.again.divide(self.medium.clone(), random.number());
        let tier = tier.map_err(|error| error.to_string())?;
        let offered = self.again.offer(tier, |parts| Inline::start(parts, world.told_max));
        self.inline = offered.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// All shards have let go of it: works until it has ended.
    pub(super) fn end(mut self) -> Vec<u8> {
        while !self.inline.has_ended() {
            self.inline.write(usize::MAX);
        }
        self.medium.crash_point().image(|_| false)
    }

    /// What a crash leaves of the medium.
    pub(super) fn crash(self, random: &mut Random) -> Vec<u8> {
        self.medium.crash_point().random_image(random.number())
    }

    /// Lets a bit flip anywhere but in what says what the medium is.
    pub(super) fn rot(&self, random: &mut Random) {
        let first = 2 * BLOCK_BYTES;
        let at = first + random.below(self.medium.bytes() as usize - first);
        let bit = random.below(8);
        self.medium.rot(at, |byte| byte ^ 1 << bit);
    }

    /// Whether it has begun to write over what it had.
    pub(super) fn makes_room(&self) -> bool {
        self.inline.makes_room()
    }

    /// # Errors
    /// What is under way though nobody waits for anything, in words.
    pub(super) fn left_over(&self) -> Result<(), String> {
        self.inline.left_over().map_err(|left| format!("the storage side has something left: {left}"))
    }
}
