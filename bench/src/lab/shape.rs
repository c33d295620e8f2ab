//! How deep and how wide a load is: `DEPTH` or `DEPTH@CONNECTIONS`, several separated by commas.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;

use crate::generator::{
    Plan, TURN_BYTES, TURN_CONNECTIONS,
    pace::{Arrivals, OpenLoop, Pace},
};

/// One depth of pipelining with its number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
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

/// Length of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub warmup: Duration,
    pub duration: Duration,
}

impl Shape {
    /// A plan for a generator with a core of its own; open loop at `rate`, or closed.
    pub fn plan(&self, timing: Timing, rate: Option<f64>, seed: u64) -> Plan {
        Plan {
            connections: self.connections,
            depth: self.depth,
            window: false,
            pace: rate
                .map_or(Pace::Closed, |rate| Pace::Open(OpenLoop { rate, arrivals: Arrivals::Poisson })),
            warmup: timing.warmup,
            duration: Some(timing.duration),
            spin: true,
            turn_bytes: TURN_BYTES,
            turn_connections: TURN_CONNECTIONS,
            seed,
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
