//! What the benches share: how many items of which sizes.

use torc_bench::workload::{Objects, keys::KeySpace, sizes::SizeDistribution};

/// How many items: the canonical million when measuring, few when the bench only has to run
/// (`cargo test` starts it without `--bench`).
pub(crate) fn items() -> u64 {
    match std::env::args().any(|argument| argument == "--bench") {
        true => 1_000_000,
        false => 1_000,
    }
}

/// The canonical objects: keys of 16 bytes, values of 64.
pub(crate) fn objects(count: u64) -> Objects {
    let keys = KeySpace::new(count, SizeDistribution::Fixed(16)).expect("16 digits hold any number");
    Objects::new(keys, SizeDistribution::Fixed(64))
}
