//! Ratios of CPU per operation, and which rounds count. A server that is slower, that lets its tail
//! grow or that misses can be cheap without being good, so a round counts only if Torc's
//! throughput is no lower than the peer's, its p99 at most 1.1 times the peer's, and every read of
//! both hit.

use serde::Serialize;

use super::{Load, Run};
use crate::{
    lab::shape::Shape,
    load::Protocol,
    results::{groups, median},
};

/// Torc in one protocol over a peer, or over the floor, at one shape and load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) protocol: Protocol,
    pub(super) shape: Shape,
    pub(super) load: Load,
    /// Over which servers, the cheapest of them in each round; or `floor`.
    pub(super) against: String,
    /// Median of the counting rounds' ratios.
    pub(super) ratio: Option<f64>,
    pub(super) ratio_min: Option<f64>,
    pub(super) ratio_max: Option<f64>,
    pub(super) rounds_counted: usize,
    pub(super) rounds: usize,
    /// Why rounds do not count, each reason once.
    pub(super) reasons: Vec<&'static str>,
}

/// A round counts only if Torc's p99 is at most this times the peer's.
const P99_RATIO_MAX: f64 = 1.1;

/// At the same offered load two servers' throughputs differ by chance; this much is no difference.
const FIXED_THROUGHPUT_SLACK: f64 = 0.01;

/// The peers that matter at a depth: memcached answers each get of a pipeline with a write of its own, and is
/// several times dearer there.
pub(super) fn peers(depth: u32) -> &'static [&'static str] {
    if depth == 1 { &["redis", "memcached"] } else { &["redis"] }
}

/// All ratios that these runs allow.
pub(super) fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let cells = groups(runs, |run| (run.server == "torc", run.protocol, run.shape, run.load));
    for ((_, protocol, shape, load), torc) in cells.into_iter().filter(|((is_torc, ..), _)| *is_torc) {
        let peers = peers(shape.depth);
        let over_peer = torc.iter().filter_map(|run| {
            let peer = cheapest(run, runs, |other| peers.contains(&&*other.server))?;
            Some(judge(run, peer))
        });
        let over_floor = torc.iter().filter_map(|run| {
            let echo = |other: &Run| other.server.starts_with("echo") && other.protocol == protocol;
            Some(Ok(run.figures.cpu_us() / cheapest(run, runs, echo)?.figures.cpu_us()))
        });
        for (against, rounds) in
            [(peers.join("/"), over_peer.collect::<Vec<_>>()), ("floor".into(), over_floor.collect())]
        {
            if !rounds.is_empty() {
                let (ratios_counted, reasons) = sorted(&rounds);
                ratios.push(Ratio {
                    protocol,
                    shape,
                    load,
                    against,
                    ratio: median(ratios_counted.clone()),
                    ratio_min: ratios_counted.first().copied(),
                    ratio_max: ratios_counted.last().copied(),
                    rounds_counted: ratios_counted.len(),
                    rounds: rounds.len(),
                    reasons,
                });
            }
        }
    }
    ratios
}

/// A round's ratio, or why it does not count.
type Round = Result<f64, &'static str>;

/// The ratios of the rounds that count, rising, and why others do not.
fn sorted(rounds: &[Round]) -> (Vec<f64>, Vec<&'static str>) {
    let mut ratios: Vec<f64> = rounds.iter().filter_map(|round| round.ok()).collect();
    ratios.sort_by(f64::total_cmp);
    let mut reasons: Vec<&str> = rounds.iter().filter_map(|round| round.err()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    (ratios, reasons)
}

/// The cheapest run that `may` be the measure, in the same round, shape and load.
fn cheapest<'a>(run: &Run, runs: &'a [Run], may: impl Fn(&Run) -> bool) -> Option<&'a Run> {
    let beside = runs.iter().filter(|other| {
        (other.round, other.shape, other.load) == (run.round, run.shape, run.load) && may(other)
    });
    beside.min_by(|a, b| a.figures.cpu_us().total_cmp(&b.figures.cpu_us()))
}

fn judge(torc: &Run, peer: &Run) -> Round {
    let (ours, theirs) = (&torc.figures, &peer.figures);
    let slack = match torc.load {
        Load::Saturation => 0.0,
        Load::Fixed => FIXED_THROUGHPUT_SLACK,
    };
    if ours.tally.misses + theirs.tally.misses > 0 {
        return Err("reads missed");
    }
    if ours.operations_per_second < theirs.operations_per_second * (1.0 - slack) {
        return Err("throughput below the peer's");
    }
    if ours.latency_us.p99 > theirs.latency_us.p99 * P99_RATIO_MAX {
        return Err("p99 above 1.1 x the peer's");
    }
    Ok(ours.cpu_us() / theirs.cpu_us())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::measure::Figures;

    fn run(round: u32, server: &str, per_second: u64, cpu_us: f64, p99_us: u64, misses: u64) -> Run {
        let mut figures = Figures::of_a_second(per_second, cpu_us);
        figures.tally.misses = misses;
        figures.latency_us.p99 = p99_us as f64;
        Run {
            round,
            server: server.into(),
            protocol: Protocol::Resp,
            shape: Shape { depth: 16, connections: 50 },
            load: Load::Saturation,
            offered_per_second: None,
            figures,
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_that_count() {
        let mut runs = Vec::new();
        for (round, cpu_us) in [(0, 0.4), (1, 0.6), (2, 0.5)] {
            runs.push(run(round, "torc", 200, cpu_us, 100, 0));
            runs.push(run(round, "redis", 100, 1.0, 100, 0));
        }
        let ratios = ratios(&runs);
        assert_eq!(ratios.len(), 1);
        assert_eq!(ratios[0].ratio, Some(0.5));
        assert_eq!((ratios[0].rounds_counted, ratios[0].rounds), (3, 3));
        assert_eq!((ratios[0].ratio_min, ratios[0].ratio_max), (Some(0.4), Some(0.6)));
        assert_eq!(ratios[0].against, "redis");
    }

    #[test]
    fn slow_tailed_and_missing_rounds_do_not_count() {
        let redis = |round| run(round, "redis", 100, 1.0, 100, 0);
        let runs = [
            run(0, "torc", 99, 0.1, 100, 0),
            redis(0),
            run(1, "torc", 100, 0.1, 112, 0),
            redis(1),
            run(2, "torc", 100, 0.1, 100, 1),
            redis(2),
            run(3, "torc", 100, 0.4, 109, 0),
            redis(3),
        ];
        let ratio = &ratios(&runs)[0];
        assert_eq!((ratio.rounds_counted, ratio.rounds), (1, 4));
        assert_eq!(ratio.ratio, Some(0.4));
        assert_eq!(ratio.reasons.len(), 3);
    }

    #[test]
    fn the_floor_is_the_cheaper_echo() {
        let runs = [
            run(0, "torc", 100, 1.0, 100, 0),
            run(0, "echo-uring", 500, 0.5, 50, 0),
            run(0, "echo-epoll", 500, 0.8, 50, 0),
        ];
        let ratios = ratios(&runs);
        assert_eq!((ratios.len(), &*ratios[0].against, ratios[0].ratio), (1, "floor", Some(2.0)));
    }

    #[test]
    fn without_a_round_that_counts_there_is_no_ratio() {
        let runs = [run(0, "torc", 50, 0.1, 100, 0), run(0, "redis", 100, 1.0, 100, 0)];
        assert_eq!(ratios(&runs)[0].ratio, None);
    }
}
