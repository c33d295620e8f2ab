//! Chance, bytes and sizes of a run.

use crate::client::Sizes;
use crate::setup::Place;
use torc_verbs::path::Mtu;
use torc_verbs::seam::Verbs;
use torc_verbs::sim::Device;

/// splitmix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `least` to `most`.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.next() % (most - least + 1) as u64) as usize
    }

    /// True so many times of a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// Of many sizes, small ones as often as large ones.
    pub(super) fn size(&mut self, most: usize) -> usize {
        let bits = most.ilog2() as usize + 1;
        let most = most.min(1 << self.between(0, bits));
        self.between(1, most)
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() - 1)]
    }
}

/// Runs a case under seeds.
pub(super) fn under_seeds(count: u64, case: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let one: Option<u64> = std::env::var("TORC_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..count, |seed| seed..seed + 1) {
        if let Err(panic) = std::panic::catch_unwind(|| case(seed)) {
            eprintln!("TORC_SIM_SEED={seed} replays this");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The byte of a stream at this place.
pub(super) fn byte(stream: u64, at: u64) -> u8 {
    ((at ^ stream << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

pub(super) fn bytes(stream: u64, at: u64, len: usize) -> Vec<u8> {
    (at..at + len as u64).map(|at| byte(stream, at)).collect()
}

#[track_caller]
pub(super) fn check(stream: u64, at: u64, found: &[u8]) {
    if let Some(wrong) = (0..found.len()).find(|&i| found[i] != byte(stream, at + i as u64)) {
        panic!("stream {stream}: byte {} is another one", at + wrong as u64);
    }
}

pub(super) fn place(device: &Device) -> Place {
    Place {
        port: 1,
        gid_index: 1,
        gid: device.gid(1, 1).expect("a GID"),
        mtu: Mtu::Bytes1024,
        reads_in: 4,
        reads_out: 4,
        traffic_class: 0,
    }
}

/// Sizes of both sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Connections have their receives in common.
    pub(super) shared: bool,
    pub(super) receives: u16,
    pub(super) receive_bytes: u32,
    pub(super) slots: usize,
    pub(super) slot_bytes: usize,
    pub(super) inline: bool,
    pub(super) client: Sizes,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            shared: true,
            receives: 16,
            receive_bytes: 4 << 10,
            slots: 16,
            slot_bytes: 4 << 10,
            inline: true,
            client: Sizes::default(),
        }
    }
}

impl Wanted {
    /// All at its smallest.
    pub(super) fn least() -> Wanted {
        let client = Sizes { receives: 1, receive_bytes: 256, landing_bytes: 64, lending_bytes: 64 };
        Wanted {
            shared: false,
            receives: 1,
            receive_bytes: 256,
            slots: 1,
            slot_bytes: 256,
            inline: false,
            client,
        }
    }

    pub(super) fn any(random: &mut Random) -> Wanted {
        let windows = [0, 64, 100, 448, 5000, 20_000, 70_000, 1 << 20];
        let client = Sizes {
            receives: random.pick(&[1, 2, 3, 4, 7, 32]),
            receive_bytes: random.pick(&[256, 300, 1000, 8 << 10]),
            landing_bytes: random.pick(&windows),
            lending_bytes: random.pick(&windows),
        };
        Wanted {
            shared: random.percent(50),
            receives: random.pick(&[1, 2, 3, 5, 16, 64]),
            receive_bytes: random.pick(&[256, 333, 4 << 10, 16 << 10]),
            slots: random.pick(&[1, 2, 3, 8, 9, 16]),
            slot_bytes: random.pick(&[256, 1000, 8 << 10]),
            inline: random.percent(50),
            client,
        }
    }

    /// Bytes of a stream that such sizes bring over in a while.
    pub(super) fn stream_bytes(&self) -> usize {
        let message = self.client.receive_bytes.min(self.receive_bytes).min(self.slot_bytes as u32) as usize;
        message * 150
    }
}
