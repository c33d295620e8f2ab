//! What is asked for of RDMA, and what came of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use torc_rdma::Cause;
use torc_rdma::verbs::survey::choice::Wish;

/// `--rdma`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RdmaChoice {
    /// Where a device can be used, else not.
    #[default]
    Auto,
    Off,
    /// With a device, or no start.
    Require,
}

impl RdmaChoice {
    /// As they are written.
    pub const ALL: [RdmaChoice; 3] = [RdmaChoice::Auto, RdmaChoice::Off, RdmaChoice::Require];
}

impl fmt::Display for RdmaChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RdmaChoice::Auto => "auto",
            RdmaChoice::Off => "off",
            RdmaChoice::Require => "require",
        })
    }
}

impl FromStr for RdmaChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = RdmaChoice::ALL.into_iter().find(|choice| choice.to_string() == text);
        found.ok_or_else(|| format!("'{text}' is none of auto, off and require"))
    }
}

/// `--rdma` and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    pub choice: RdmaChoice,
    /// `--rdma-device`, `--rdma-port`, `--rdma-gid`. Default: what fits best.
    pub wish: Wish,
    /// `--rdma-clients`: connections over RDMA that a shard has at most; each takes 160 KiB of locked memory, at the start. Default: 32.
    pub clients_max: usize,
    /// `--rdma-pairs`: queue pairs that one client has at most, over all shards, by its session. Beyond that it asks by those that it
    /// has, and requests are passed on between shards. Default: 64.
    pub pairs_max: usize,
    /// `--rdma-reads`: clients may read the shards' memory, all of it. Default: false.
    pub reads: bool,
    /// `--rdma-key-lifetime`: keys to read it by are replaced so often. Default: 10 min.
    pub keys_for: Option<Duration>,
    /// `--rdma-traffic-class`: DSCP and ECN bits of what is sent. Default: 0.
    pub traffic_class: u8,
    /// `--rdma-down-timeout`: a port that stays down for so long is given up, and its device closed. Default: 5 s.
    pub down_timeout: Duration,
}

impl Default for Rdma {
    fn default() -> Rdma {
        Rdma {
            choice: RdmaChoice::Auto,
            wish: Wish::default(),
            clients_max: 32,
            pairs_max: 64,
            reads: false,
            keys_for: Some(Duration::from_secs(600)),
            traffic_class: 0,
            down_timeout: Duration::from_secs(5),
        }
    }
}

/// What a server has of RDMA, in words for its banner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RdmaStatus {
    Off,
    /// Clients may go on over this device.
    On(String),
    /// There is none that can be used: why, and what may help.
    Unavailable {
        cause: Cause,
        why: String,
        cure: Option<&'static str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_written_as_they_are_read() {
        for choice in RdmaChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("on".parse::<RdmaChoice>().unwrap_err().contains("require"));
    }
}
