//! Which operation a request is: weights such as `get=9,set=1,delete=1`.

use std::str::FromStr;

use serde::Serialize;

use super::sizes::scale64;

/// What one request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get,
    Set,
    Delete,
}

/// Weights of the operations; at least one is above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mix {
    pub get: u32,
    pub set: u32,
    pub delete: u32,
}

impl Mix {
    /// The operation for 32 random bits.
    #[inline]
    pub fn pick(&self, random: u32) -> Operation {
        let total = u64::from(self.get) + u64::from(self.set) + u64::from(self.delete);
        let at = scale64(u64::from(random) << 32, total);
        if at < u64::from(self.get) {
            Operation::Get
        } else if at < u64::from(self.get) + u64::from(self.set) {
            Operation::Set
        } else {
            Operation::Delete
        }
    }

    /// Shares of gets, sets and deletes, summing to 1.
    pub fn shares(&self) -> [f64; 3] {
        let total = f64::from(self.get) + f64::from(self.set) + f64::from(self.delete);
        [self.get, self.set, self.delete].map(|weight| f64::from(weight) / total)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self { get: 0, set: 0, delete: 0 };
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| format!("'{part}' is not NAME=WEIGHT"))?;
            let weight: u32 =
                weight.parse().map_err(|_| format!("the weight '{weight}' is not a whole number"))?;
            match name {
                "get" => mix.get = weight,
                "set" => mix.set = weight,
                "delete" => mix.delete = weight,
                other => return Err(format!("unknown operation '{other}': get, set or delete")),
            }
        }
        if mix.get == 0 && mix.set == 0 && mix.delete == 0 {
            return Err("all weights are 0".into());
        }
        Ok(mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::sizes::mix as spread;

    #[test]
    fn parses_weights_and_refuses_the_rest() {
        assert_eq!("get=9,set=1".parse(), Ok(Mix { get: 9, set: 1, delete: 0 }));
        assert_eq!("delete=2".parse(), Ok(Mix { get: 0, set: 0, delete: 2 }));
        for wrong in ["", "get", "get=x", "put=1", "get=0", "get=-1"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn picks_in_proportion() {
        let mix: Mix = "get=8,set=1,delete=1".parse().unwrap();
        let mut seen = [0u32; 3];
        for i in 0..10_000 {
            seen[mix.pick(spread(i) as u32) as usize] += 1;
        }
        assert!((7_800..8_200).contains(&seen[0]), "{seen:?}");
        assert!((850..1_150).contains(&seen[1]), "{seen:?}");
        assert!((850..1_150).contains(&seen[2]), "{seen:?}");
    }

    #[test]
    fn a_weight_of_zero_is_never_picked() {
        let mix: Mix = "get=1".parse().unwrap();
        assert_eq!(mix.pick(0), Operation::Get);
        assert_eq!(mix.pick(u32::MAX), Operation::Get);
    }
}
