//! A tiny, full shard: what is read is the newest value or nothing, and the memory is kept.

mod support;

use proptest::prelude::*;
use support::step::STEP_BYTES;
use torc_engine::eviction::Algorithm;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]
    #[test]
    fn a_full_shard_forgets_but_never_errs(
        steps in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..120),
        segments in 8u64..=40,
        algorithm in prop::sample::select(&Algorithm::ALL),
    ) {
        support::crowded(&steps.concat(), segments, algorithm);
    }
}

#[test]
fn a_hot_long_value_whose_head_is_in_an_open_segment_does_not_block_eviction() {
    // Set a long value, read it, store and set more: one sealed segment, all chunks of the hot value.
    let steps: [[u8; STEP_BYTES]; 6] = [
        [231, 19, 96, 14, 0, 0, 0, 24, 0, 0, 0, 0],
        [32, 139, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [211, 44, 0, 0, 45, 0, 0, 0, 0, 0, 0, 0],
        [39, 219, 0, 48, 14, 117, 0, 8, 1, 77, 209, 196],
        [96, 219, 63, 175, 231, 123, 69, 72, 23, 92, 127, 199],
        [115, 3, 90, 233, 237, 69, 233, 180, 6, 63, 215, 100],
    ];
    support::crowded(&steps.concat(), 13, Algorithm::S3Fifo);
}
