//! How deep and how wide a load is: `DEPTH` or `DEPTH@CONNECTIONS`, several separated by commas.

use std::{fmt, str::FromStr, time::Duration};

use clap::Args;
use serde::Serialize;

use crate::{
    error::BenchError,
    generator::{Plan, pace::Pace},
    load::seconds,
};

/// One depth of pipelining with its number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shape {
    pub depth: u32,
    pub connections: usize,
}

/// From this depth on, fewer connections are the default.
const DEEP: u32 = 64;
const CONNECTIONS: usize = 50;
const CONNECTIONS_DEEP: usize = 16;

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (depth, connections) = match text.split_once('@') {
            None => (text, None),
            Some((depth, connections)) => (depth, Some(connections)),
        };
        let positive = |text: &str| {
            let number = text.parse::<u32>().ok().filter(|&number| number > 0);
            number.ok_or_else(|| format!("'{text}' is not a whole number above 0"))
        };
        let depth = positive(depth)?;
        let default = if depth < DEEP { CONNECTIONS } else { CONNECTIONS_DEEP };
        let connections = match connections {
            None => default,
            Some(text) => positive(text)? as usize,
        };
        Ok(Self { depth, connections })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "depth {}, {} connections", self.depth, self.connections)
    }
}

/// Flags that say how long is measured.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TimingArgs {
    /// Length of one measurement, seconds; by default 2, for tails 5, for waits and tiers 1
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Load before each measurement, seconds
    #[arg(long, default_value_t = 0.5, value_name = "S")]
    warmup: f64,
}

impl TimingArgs {
    pub(crate) fn timing(&self, seconds_default: f64) -> Result<Timing, BenchError> {
        let duration = seconds("seconds", self.seconds.unwrap_or(seconds_default))?;
        Ok(Timing { warmup: seconds("warmup", self.warmup)?, duration })
    }
}

/// Length of one measurement, and of the load before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub warmup: Duration,
    pub duration: Duration,
}

impl Shape {
    /// A plan for a generator with a core of its own; open loop at `rate`, or closed.
    pub(crate) fn plan(&self, timing: Timing, rate: Option<f64>, seed: u64) -> Plan {
        Plan {
            pace: rate.map_or(Pace::Closed, |rate| Pace::Open { rate }),
            warmup: timing.warmup,
            duration: Some(timing.duration),
            spin: true,
            seed,
            ..Plan::closed(self.connections, self.depth)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_the_depth_unless_given() {
        let shape = |text: &str| text.parse::<Shape>().map(|s| (s.depth, s.connections));
        assert_eq!(shape("1"), Ok((1, 50)));
        assert_eq!(shape("64"), Ok((64, 16)));
        assert_eq!(shape("16@3"), Ok((16, 3)));
        for wrong in ["", "0", "1@0", "x", "1@", "-1"] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }
}
