//! The numbers that a release has to reach: CPU per operation against a peer and against the
//! ceiling, at one server core.

/// A bar at one depth.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub depth: u32,
    /// The cheapest of these in the same round is the measure.
    pub peers: &'static [&'static str],
    /// Most that Torc may cost relative to that peer.
    pub peer_ratio_max: f64,
    /// Most that Torc may cost relative to the cheaper echo; without one, the ratio is recorded.
    pub ceiling_ratio_max: Option<f64>,
}

pub const BARS: [Bar; 3] = [
    Bar { depth: 1, peers: &["redis", "memcached"], peer_ratio_max: 0.75, ceiling_ratio_max: Some(1.3) },
    Bar { depth: 16, peers: &["redis"], peer_ratio_max: 0.45, ceiling_ratio_max: Some(2.25) },
    Bar { depth: 64, peers: &["redis"], peer_ratio_max: 0.30, ceiling_ratio_max: None },
];

/// A round counts only if Torc's p99 is at most this times the peer's.
pub const P99_RATIO_MAX: f64 = 1.1;

/// At the same offered load two servers' throughputs differ by chance; this much is no difference.
pub const FIXED_THROUGHPUT_SLACK: f64 = 0.01;

/// A server that is offered more than this share of its peak is left out: it would measure a queue.
pub const OFFERED_SHARE_MAX: f64 = 0.8;

/// The bar at a depth, if there is one.
pub fn at(depth: u32) -> Option<&'static Bar> {
    BARS.iter().find(|bar| bar.depth == depth)
}

/// The peers that are the measure at a depth; at other depths than the bars', all.
pub fn peers(depth: u32) -> &'static [&'static str] {
    at(depth).map_or(&["redis", "memcached"], |bar| bar.peers)
}
