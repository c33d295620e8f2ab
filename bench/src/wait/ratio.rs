//! Each way over sleeping at once.

use serde::Serialize;

use super::{Load, Run, Way};
use crate::results::{groups, median};

/// Medians over the rounds of a way's figures over those of [`Way::Sleep`] in the same round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) load: Load,
    pub(super) way: Way,
    pub(super) cpu: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
}

/// One ratio for each load and way, in the order of the runs.
pub(super) fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let ratio = |((load, way), own): ((Load, Way), Vec<&Run>)| {
        let over = |figure: fn(&Run) -> f64| {
            let ratios = own.iter().filter_map(|run| {
                let sleeps =
                    |other: &&Run| (other.way, other.load, other.round) == (Way::Sleep, load, run.round);
                Some(figure(run) / figure(runs.iter().find(sleeps)?))
            });
            median(ratios.collect())
        };
        Some(Ratio {
            load,
            way,
            cpu: over(|run| run.figures.cpu_us())?,
            p50: over(|run| run.figures.latency_us.p50)?,
            p99: over(|run| run.figures.latency_us.p99)?,
            p99_9: over(|run| run.figures.latency_us.p99_9)?,
        })
    };
    let cells = groups(runs, |run| (run.load, run.way));
    cells.into_iter().filter(|((_, way), _)| *way != Way::Sleep).filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::measure::Figures;

    #[test]
    fn rounds_are_matched_and_the_median_is_taken() {
        let load: Load = "1:50000".parse().unwrap();
        let run = |round, way, cpu_us: f64, p99_us: f64| {
            let mut figures = Figures::of_a_second(1000, cpu_us);
            figures.latency_us.p99 = p99_us;
            Run { round, way, load, figures }
        };
        let runs = [
            run(0, Way::Sleep, 10.0, 100.0),
            run(0, Way::Spin(20), 5.0, 50.0),
            run(1, Way::Spin(20), 40.0, 100.0),
            run(1, Way::Sleep, 20.0, 400.0),
            run(2, Way::Sleep, 10.0, 100.0),
            run(2, Way::Spin(20), 10.0, 900.0),
        ];
        let ratios = ratios(&runs);
        assert_eq!(ratios.len(), 1);
        assert_eq!((ratios[0].way, ratios[0].cpu, ratios[0].p99), (Way::Spin(20), 1.0, 0.5));
    }
}
