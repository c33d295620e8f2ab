//! Each server over the one that it is held against.

use serde::Serialize;

use super::{args::Kind, rounds::Run, servers::WITHOUT};
use crate::{
    lab::shape::Shape,
    results::{groups, median},
};

/// Medians over the rounds of a server's figures over those of another one in the same round, under the same load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) kind: Kind,
    pub(super) value_bytes: u32,
    pub(super) gets: f64,
    pub(super) shape: Shape,
    pub(super) server: String,
    pub(super) over: &'static str,
    /// CPU an operation.
    pub(super) cpu: f64,
    pub(super) operations_per_second: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
}

/// What a server is held against, if anything.
fn against(server: &str) -> Option<&'static str> {
    match server {
        "torc, file" | "torc, memory" => Some(WITHOUT),
        "torc, always" => Some("redis, always"),
        "torc, interval:1s" => Some("redis, everysec"),
        _ => None,
    }
}

/// One ratio for each load and server that is held against another one that was measured.
pub(super) fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let cells = groups(runs, |run| (run.kind, run.value_bytes, run.gets, run.shape, &*run.server));
    let ratio = |(cell, own): (_, Vec<&Run>)| {
        let (kind, value_bytes, gets, shape, server) = cell;
        let over = against(server)?;
        let ratio = |figure: fn(&Run) -> f64| {
            let of_rounds = own.iter().filter_map(|run| {
                let same = |other: &&Run| {
                    let load = (other.kind, other.value_bytes, other.gets, other.shape);
                    other.server == over
                        && load == (kind, value_bytes, gets, shape)
                        && other.round == run.round
                };
                Some(figure(run) / figure(runs.iter().find(same)?))
            });
            median(of_rounds.collect())
        };
        Some(Ratio {
            kind,
            value_bytes,
            gets,
            shape,
            server: server.into(),
            over,
            cpu: ratio(|run| run.figures.cpu_us())?,
            operations_per_second: ratio(|run| run.figures.operations_per_second)?,
            p99: ratio(|run| run.figures.latency_us.p99)?,
            p99_9: ratio(|run| run.figures.latency_us.p99_9)?,
        })
    };
    cells.into_iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::measure::Figures;

    #[test]
    fn a_server_is_held_against_its_own_baseline_in_the_same_round() {
        let run = |round, server: &str, cpu| Run {
            kind: Kind::Cost,
            value_bytes: 64,
            gets: 0.9,
            shape: "16".parse().unwrap(),
            offered: None,
            round,
            server: server.into(),
            figures: Figures::of_a_second(100, cpu),
            kept_bytes: 0.0,
        };
        let runs = [
            run(0, WITHOUT, 1.0),
            run(0, "torc, file", 3.0),
            run(0, "torc, always", 9.0),
            run(1, "torc, file", 8.0),
            run(1, WITHOUT, 4.0),
            run(2, "torc, file", 100.0),
            run(2, WITHOUT, 100.0),
            run(3, "torc, file", 1.0),
        ];
        let ratios = ratios(&runs);
        assert_eq!(ratios.len(), 1, "nothing stands beside `always`: {ratios:?}");
        assert_eq!((&*ratios[0].server, ratios[0].over, ratios[0].cpu), ("torc, file", WITHOUT, 2.0));
    }
}
