//! What servers of keys and values speak.

use clap::ValueEnum;
use serde::Serialize;

/// A protocol that servers of keys and values speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Resp,
    Memcache,
    Native,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Resp, Self::Memcache, Self::Native];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resp => "resp",
            Self::Memcache => "memcache",
            Self::Native => "native",
        }
    }
}
