//! Which operation a request is: weights such as `get=9,set=1`.

use std::{fmt, str::FromStr};

use super::keys::scale;

/// What one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get,
    Set,
}

/// Weights of the operations; at least one is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    pub get: u32,
    pub set: u32,
}

impl Mix {
    pub const READS: Self = Self { get: 1, set: 0 };
    pub const WRITES: Self = Self { get: 0, set: 1 };

    /// The operation for 32 random bits.
    #[inline]
    pub fn pick(&self, random: u32) -> Operation {
        let total = u64::from(self.get) + u64::from(self.set);
        match scale(u64::from(random) << 32, total) < u64::from(self.get) {
            true => Operation::Get,
            false => Operation::Set,
        }
    }

    /// The share of gets.
    pub fn gets(&self) -> f64 {
        f64::from(self.get) / (f64::from(self.get) + f64::from(self.set))
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { get: 0, set: 0 };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, ""));
            let weight = weight.parse().map_err(|_| format!("'{part}' is not NAME=WEIGHT"))?;
            match name {
                "get" => mix.get = weight,
                "set" => mix.set = weight,
                other => return Err(format!("unknown operation '{other}': get or set")),
            }
        }
        match mix.get == 0 && mix.set == 0 {
            true => Err("all weights are 0".into()),
            false => Ok(mix),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "get={},set={}", self.get, self.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::keys::spread;

    #[test]
    fn weights_are_read_and_the_rest_is_refused() {
        assert_eq!("get=9,set=1".parse(), Ok(Mix { get: 9, set: 1 }));
        assert_eq!("set=3".parse::<Mix>().unwrap().to_string(), "get=0,set=3");
        for wrong in ["", "get", "get=", "get=-1", "get=x", "get=0", "delete=1", "get=4294967296"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn operations_come_by_their_weights() {
        let mix = Mix { get: 9, set: 1 };
        let gets = (0..10_000).filter(|n| mix.pick(spread(*n) as u32) == Operation::Get).count();
        assert!((8_850..9_150).contains(&gets), "{gets}");
        assert!((0.899..0.901).contains(&mix.gets()));
    }
}
