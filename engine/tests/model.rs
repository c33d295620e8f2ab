//! A shard that never has to evict answers exactly as a simple map does.

mod support;

use proptest::prelude::*;
use support::step::STEP_BYTES;
use torc_engine::eviction::Algorithm;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]
    #[test]
    fn a_shard_is_a_map(
        steps in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..250),
        algorithm in prop::sample::select(&Algorithm::ALL),
    ) {
        support::exact(&steps.concat(), algorithm);
    }
}
