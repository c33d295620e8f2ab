//! Which shard served how much of a load.

use serde::Serialize;

use crate::{error::BenchError, lab::info};

/// Counters of a server of two shards, or what they rose by.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Served {
    /// Requests of each shard's clients.
    requests: [f64; 2],
    /// Requests that one shard sent to the other.
    forwarded: f64,
}

impl Served {
    /// Reads the counters from the server's metrics at `admin`.
    pub(super) fn read(admin: &str) -> Result<Served, BenchError> {
        Served::parse(&info::metrics(admin)?)
    }

    fn parse(page: &str) -> Result<Served, BenchError> {
        let missing = |name: &str| BenchError::Invalid(format!("/metrics has no {name}"));
        let requests = |shard: &str| {
            let name = "torc_request_duration_seconds_count";
            info::labelled(page, name, &format!("shard=\"{shard}\"")).ok_or_else(|| missing(name))
        };
        let forwarded = "torc_forwarded_total";
        Ok(Served {
            requests: [requests("0")?, requests("1")?],
            forwarded: info::metric(page, forwarded).ok_or_else(|| missing(forwarded))?,
        })
    }

    pub(super) fn since(&self, before: &Served) -> Served {
        Served {
            requests: std::array::from_fn(|shard| self.requests[shard] - before.requests[shard]),
            forwarded: self.forwarded - before.forwarded,
        }
    }

    /// The first shard's share of the requests.
    pub(super) fn share(&self) -> f64 {
        self.requests[0] / self.requests.iter().sum::<f64>()
    }

    /// Requests of a million that went to the other shard.
    pub(super) fn forwarded_ppm(&self) -> f64 {
        1e6 * self.forwarded / self.requests.iter().sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_came_since() {
        let page = |first: u64, second: u64, forwarded: u64| {
            let line = |shard, count| {
                format!("torc_request_duration_seconds_count{{shard=\"{shard}\",class=\"read\"}} {count}\n")
            };
            let page = format!(
                "{}{}torc_forwarded_total{{shard=\"0\"}} {forwarded}\n",
                line(0, first),
                line(1, second)
            );
            Served::parse(&page).unwrap()
        };
        let since = page(40, 60, 9).since(&page(10, 50, 4));
        assert!((since.share() - 0.75).abs() < 1e-9 && (since.forwarded_ppm() - 125_000.0).abs() < 1e-9);
    }
}
