//! Miss ratios of S3-FIFO (Yang et al., SOSP 2023) as libCacheSim, commit aa0fc40, gives them, every
//! object counted as 1: what a replay of these traces is held against.

use crate::workload::trace::Trace;

/// A published trace, known by its counts, and S3-FIFO's miss ratios by percent of its objects.
struct Reference {
    requests: usize,
    distinct: u32,
    s3_fifo: [(f64, f64); 4],
}

/// CloudPhysics w106, and the OLTP trace of the ARC paper.
const REFERENCES: [Reference; 2] = [
    Reference {
        requests: 113_872,
        distinct: 48_974,
        s3_fifo: [(5.0, 0.8026), (10.0, 0.7525), (20.0, 0.6780), (40.0, 0.6177)],
    },
    Reference {
        requests: 914_145,
        distinct: 186_880,
        s3_fifo: [(5.0, 0.3789), (10.0, 0.3222), (20.0, 0.2740), (40.0, 0.2289)],
    },
];

/// S3-FIFO's miss ratio on this trace with this percent of its objects, if known.
pub(super) fn s3_fifo(trace: &Trace, percent: f64) -> Option<f64> {
    let counts = (trace.objects.len(), trace.distinct);
    let known = REFERENCES.iter().find(|known| (known.requests, known.distinct) == counts)?;
    let point = known.s3_fifo.iter().find(|(share, _)| *share == percent);
    point.map(|(_, ratio)| *ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_traces_have_a_reference() {
        let mut trace = Trace { objects: vec![0; 113_872], sizes: Vec::new(), distinct: 48_974 };
        assert_eq!(s3_fifo(&trace, 10.0), Some(0.7525));
        assert_eq!(s3_fifo(&trace, 11.0), None);
        trace.distinct = 1;
        assert_eq!(s3_fifo(&trace, 10.0), None);
    }
}
