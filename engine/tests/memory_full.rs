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
