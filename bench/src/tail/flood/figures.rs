//! What the floods are, and what is measured beside them.

use clap::ValueEnum;
use serde::Serialize;

use crate::{generator::measure::Figures, lab::shape::Shape, load::Protocol};

/// What the flooders ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::tail) enum Flood {
    Get,
    Set,
    /// The shortest command of memcached's meta protocol
    Mn,
    Ping,
    /// MGET of 1,000 keys
    Mget,
}

impl Flood {
    /// The protocols that have the command.
    pub(super) fn protocols(self) -> &'static [Protocol] {
        match self {
            Self::Get | Self::Set => &[Protocol::Resp, Protocol::Memcache],
            Self::Mn => &[Protocol::Memcache],
            Self::Ping | Self::Mget => &[Protocol::Resp],
        }
    }
}

/// The measured clients: a closed loop.
pub(super) const CLIENTS: Shape = Shape { depth: 1, connections: 10 };
pub(super) const FLOODERS: usize = 8;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(in crate::tail) struct FloodRun {
    pub(super) flood: Flood,
    pub(super) round: u32,
    pub(super) server: String,
    pub(super) protocol: Protocol,
    /// Requests of the flooders that were answered, a second.
    pub(super) flood_per_second: f64,
    pub(super) figures: Figures,
}

/// Torc in one protocol beside the peer with the lower p99.9 of the same round, over all protocols.
#[derive(Clone, Debug, Serialize)]
pub(in crate::tail) struct FloodRatio {
    pub(super) flood: Flood,
    pub(super) protocol: Protocol,
    pub(super) rounds: usize,
    /// Median over the rounds.
    pub(super) p99_9: f64,
    pub(super) p99: f64,
}
