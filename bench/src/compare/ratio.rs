//! Ratios of CPU per operation, and which rounds count. A server that is slower, that lets its tail
//! grow or that misses can be cheap without being good, so a round counts only if Torc's
//! throughput is no lower than the peer's, its p99 at most 1.1 times the peer's, and every read of
//! both hit.

use serde::Serialize;

use super::{Load, Run};
use crate::{lab::shape::Shape, load::Protocol, results::median};

/// Torc in one protocol over a peer, or over the floor, at one shape and load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub protocol: Protocol,
    pub shape: Shape,
    pub load: Load,
    /// Over which server: a peer, or `floor`.
    pub against: String,
    /// Median of the counting rounds' ratios.
    pub ratio: Option<f64>,
    pub ratio_min: Option<f64>,
    pub ratio_max: Option<f64>,
    pub rounds_counted: usize,
    pub rounds: usize,
    /// Why rounds do not count, each reason once.
    pub reasons: Vec<String>,
}

/// A round counts only if Torc's p99 is at most this times the peer's.
const P99_RATIO_MAX: f64 = 1.1;

/// At the same offered load two servers' throughputs differ by chance; this much is no difference.
const FIXED_THROUGHPUT_SLACK: f64 = 0.01;

/// The peers that matter at a depth: memcached answers a pipeline with a write a request, and is
/// several times dearer there.
pub(super) fn peers(depth: u32) -> &'static [&'static str] {
    if depth == 1 { &["redis", "memcached"] } else { &["redis"] }
}

/// All ratios that these runs allow.
pub(super) fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let torc: Vec<&Run> = runs.iter().filter(|run| run.server == "torc").collect();
    let mut seen = Vec::new();
    for run in &torc {
        let cell = (run.protocol, run.shape, run.load);
        if seen.contains(&cell) {
            continue;
        }
        seen.push(cell);
        let cell_runs: Vec<&Run> =
            torc.iter().copied().filter(|run| (run.protocol, run.shape, run.load) == cell).collect();
        ratios.extend(over_peers(&cell_runs, runs));
        ratios.extend(over_floor(&cell_runs, runs));
    }
    ratios
}

/// What one round says.
type Round = Result<(f64, String), String>;

fn over_peers(torc: &[&Run], runs: &[Run]) -> Option<Ratio> {
    let depth = torc.first()?.shape.depth;
    let rounds = torc.iter().filter_map(|run| {
        let peer = cheapest(run, runs, |other| peers(depth).contains(&&*other.server))?;
        Some(judge(run, peer))
    });
    ratio(torc, rounds.collect(), peers(depth).join("/"))
}

fn over_floor(torc: &[&Run], runs: &[Run]) -> Option<Ratio> {
    let rounds = torc.iter().filter_map(|run| {
        let same = |other: &Run| other.server.starts_with("echo") && other.protocol == run.protocol;
        let echo = cheapest(run, runs, same)?;
        Some(Ok((cpu(run)? / cpu(echo)?, "floor".into())))
    });
    ratio(torc, rounds.collect(), "floor".into())
}

/// The cheapest run that `may` be the measure, in the same round, shape and load.
fn cheapest<'a>(run: &Run, runs: &'a [Run], may: impl Fn(&Run) -> bool) -> Option<&'a Run> {
    let beside = |other: &&Run| {
        (other.round, other.shape, other.load) == (run.round, run.shape, run.load)
            && cpu(other).is_some()
            && may(other)
    };
    let key = |run: &&Run| cpu(run).unwrap_or(f64::MAX);
    runs.iter().filter(beside).min_by(|a, b| key(a).total_cmp(&key(b)))
}

fn cpu(run: &Run) -> Option<f64> {
    let server = run.figures.server.as_ref()?;
    Some(server.cpu_us_per_operation).filter(|cpu| *cpu > 0.0)
}

fn judge(torc: &Run, peer: &Run) -> Round {
    let (ours, theirs) = (&torc.figures, &peer.figures);
    if ours.misses + theirs.misses > 0 {
        return Err("reads missed".into());
    }
    let slack = match torc.load {
        Load::Saturation => 0.0,
        Load::Fixed => FIXED_THROUGHPUT_SLACK,
    };
    if ours.operations_per_second < theirs.operations_per_second * (1.0 - slack) {
        return Err("throughput below the peer's".into());
    }
    if ours.latency_us.p99 > theirs.latency_us.p99 * P99_RATIO_MAX {
        return Err("p99 above 1.1 x the peer's".into());
    }
    match (cpu(torc), cpu(peer)) {
        (Some(ours), Some(theirs)) => Ok((ours / theirs, peer.server.clone())),
        _ => Err("no CPU figure".into()),
    }
}

fn ratio(torc: &[&Run], rounds: Vec<Round>, against: String) -> Option<Ratio> {
    let first = torc.first()?;
    if rounds.is_empty() {
        return None;
    }
    let mut reasons: Vec<String> = rounds.iter().filter_map(|r| r.clone().err()).collect();
    reasons.sort();
    reasons.dedup();
    let mut ratios: Vec<f64> = rounds.iter().flatten().map(|(ratio, _)| *ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let mut names: Vec<&str> = rounds.iter().flatten().map(|(_, name)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    Some(Ratio {
        protocol: first.protocol,
        shape: first.shape,
        load: first.load,
        against: match names[..] {
            [one] => one.into(),
            _ => against,
        },
        ratio: median(ratios.clone()),
        ratio_min: ratios.first().copied(),
        ratio_max: ratios.last().copied(),
        rounds_counted: ratios.len(),
        rounds: rounds.len(),
        reasons,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        generator::measure::Percentiles,
        report::{Figures, ServerFigures},
    };

    fn run(round: u32, server: &str, rate: f64, cpu: f64, p99: f64, misses: u64) -> Run {
        let mut figures = Figures {
            seconds: 1.0,
            operations: rate as u64,
            operations_per_second: rate,
            hits: 1,
            misses,
            done: 0,
            refused: 0,
            value_bytes: 0,
            unanswered: 0,
            latency_us: Percentiles::default(),
            generator_idle_share: 0.5,
            generator_run_delay_us: 0.0,
            server: Some(ServerFigures {
                cpu_us_per_operation: cpu,
                ticked_us_per_operation: cpu,
                cores_busy: 1.0,
                run_delay_us: 0.0,
                rss_bytes: 0,
            }),
        };
        figures.latency_us.p99 = p99;
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
        for (round, cpu) in [(0, 0.4), (1, 0.6), (2, 0.5)] {
            runs.push(run(round, "torc", 200.0, cpu, 100.0, 0));
            runs.push(run(round, "redis", 100.0, 1.0, 100.0, 0));
        }
        let [ratio] = &ratios(&runs)[..] else {
            panic!("one ratio expected");
        };
        assert_eq!(ratio.ratio, Some(0.5));
        assert_eq!((ratio.rounds_counted, ratio.rounds), (3, 3));
        assert_eq!((ratio.ratio_min, ratio.ratio_max), (Some(0.4), Some(0.6)));
        assert_eq!(ratio.against, "redis");
    }

    #[test]
    fn slow_tailed_and_missing_rounds_do_not_count() {
        let redis = |round| run(round, "redis", 100.0, 1.0, 100.0, 0);
        let runs = [
            run(0, "torc", 99.0, 0.1, 100.0, 0),
            redis(0),
            run(1, "torc", 100.0, 0.1, 111.0, 0),
            redis(1),
            run(2, "torc", 100.0, 0.1, 100.0, 1),
            redis(2),
            run(3, "torc", 100.0, 0.4, 110.0, 0),
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
            run(0, "torc", 100.0, 1.0, 100.0, 0),
            run(0, "echo-uring", 500.0, 0.5, 50.0, 0),
            run(0, "echo-epoll", 500.0, 0.8, 50.0, 0),
        ];
        let [ratio] = &ratios(&runs)[..] else {
            panic!("one ratio expected");
        };
        assert_eq!(ratio.against, "floor");
        assert_eq!(ratio.ratio, Some(2.0));
    }

    #[test]
    fn without_a_round_that_counts_there_is_no_ratio() {
        let runs = [run(0, "torc", 50.0, 0.1, 100.0, 0), run(0, "redis", 100.0, 1.0, 100.0, 0)];
        let ratio = &ratios(&runs)[0];
        assert_eq!(ratio.ratio, None);
    }
}
