//! Keeps the process to its memory: tells the shards again and again what it has resident.

use super::running::Running;
use super::trimmer::Trimmer;
use crate::machine::{self, Resident};
use std::time::{Duration, Instant};

/// With less memory than this the allocator keeps little: long buffers become slower, but the process stays within it.
pub(super) const SMALL_MEMORY_BYTES: u64 = 64 << 20;
/// Between two looks at what the process has resident.
const EVERY: Duration = Duration::from_millis(25);
/// The same while resident memory grows fast or the memory is small, and while nothing happens.
const SOON: Duration = Duration::from_millis(5);
const CALM: Duration = Duration::from_millis(100);
/// Fewer turns of all shards between two looks are calm.
const CALM_TURNS: u64 = 4;
/// Least time between two calls that have the allocator give memory back, and the same if the memory is small.
const TRIM_EVERY: Duration = Duration::from_millis(500);
const TRIM_SOON: Duration = Duration::from_millis(20);
/// Share of the memory that the allocator has to keep for a call for it to be worth while.
const TRIM_SHARE: i64 = 64;

/// Keeps the process to its memory until `stop`.
pub(super) async fn until(server: &Running, stop: impl Future<Output = ()>) {
    let resident = Resident::of_this_process();
    let worth_bytes = server.memory_bytes() as i64 / TRIM_SHARE;
    let small = server.memory_bytes() < SMALL_MEMORY_BYTES;
    let mut trimmer = Trimmer::new(worth_bytes, if small { TRIM_SOON } else { TRIM_EVERY });
    let (mut unaccounted_before, mut turns_before) = (0, 0);
    let mut stop = std::pin::pin!(stop);
    let mut every = EVERY;
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(every) => {}
        }
        let (unaccounted, turns) = (server.balance_memory(resident.bytes()), server.turns());
        trimmer.look(unaccounted, Instant::now(), machine::trim_allocator);
        let grows = unaccounted - unaccounted_before > worth_bytes;
        every = match (grows, turns - turns_before < CALM_TURNS) {
            (true, _) => SOON,
            (false, true) => CALM,
            (false, false) if small => SOON,
            (false, false) => EVERY,
        };
        (unaccounted_before, turns_before) = (unaccounted, turns);
    }
}
