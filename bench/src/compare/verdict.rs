//! Ratios of CPU per operation, and which rounds count. A server that is slower, that lets its tail
//! grow or that misses can be cheap without being good, so a round counts only if Torc's
//! throughput is no lower than the peer's, its p99 at most 1.1 times the peer's, and every read of
//! both hit.

use serde::Serialize;

use super::{Load, Run, bars};
use crate::{lab::shape::Shape, load::Protocol, results::median};

/// Torc in one protocol against the measure at one shape and load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub protocol: Protocol,
    pub shape: Shape,
    pub load: Load,
    /// Against which server: a peer, or `ceiling`.
    pub against: String,
    /// Median of the counting rounds' ratios.
    pub ratio: Option<f64>,
    pub ratio_min: Option<f64>,
    pub ratio_max: Option<f64>,
    pub rounds_counted: usize,
    pub rounds: usize,
    /// Why rounds do not count, each reason once.
    pub reasons: Vec<String>,
    /// The bar; `None`: recorded only.
    pub bar: Option<f64>,
}

impl Verdict {
    /// Whether the bar is reached, if there is one.
    pub fn passes(&self) -> Option<bool> {
        self.bar.map(|bar| self.ratio.is_some_and(|ratio| ratio <= bar))
    }
}

/// All verdicts that these runs allow.
pub fn verdicts(runs: &[Run]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
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
        verdicts.extend(against_peers(&cell_runs, runs));
        verdicts.extend(against_ceiling(&cell_runs, runs));
    }
    verdicts
}

/// What one round says.
type Round = Result<(f64, String), String>;

fn against_peers(torc: &[&Run], runs: &[Run]) -> Option<Verdict> {
    let depth = torc.first()?.shape.depth;
    let rounds = torc.iter().filter_map(|run| {
        let peer = cheapest(run, runs, |other| bars::peers(depth).contains(&&*other.server))?;
        Some(judge(run, peer))
    });
    let bar = bars::at(depth).map(|bar| bar.peer_ratio_max);
    verdict(torc, rounds.collect(), bars::peers(depth).join("/"), bar)
}

fn against_ceiling(torc: &[&Run], runs: &[Run]) -> Option<Verdict> {
    let rounds = torc.iter().filter_map(|run| {
        let same = |other: &Run| other.server.starts_with("echo") && other.protocol == run.protocol;
        let echo = cheapest(run, runs, same)?;
        Some(Ok((cpu(run)? / cpu(echo)?, echo.server.clone())))
    });
    let bar = bars::at(torc.first()?.shape.depth).and_then(|bar| bar.ceiling_ratio_max);
    verdict(torc, rounds.collect(), "ceiling".into(), bar)
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
        Load::Fixed => bars::FIXED_THROUGHPUT_SLACK,
    };
    if ours.operations_per_second < theirs.operations_per_second * (1.0 - slack) {
        return Err("throughput below the peer's".into());
    }
    if ours.latency_us.p99 > theirs.latency_us.p99 * bars::P99_RATIO_MAX {
        return Err("p99 above 1.1 x the peer's".into());
    }
    match (cpu(torc), cpu(peer)) {
        (Some(ours), Some(theirs)) => Ok((ours / theirs, peer.server.clone())),
        _ => Err("no CPU figure".into()),
    }
}

fn verdict(torc: &[&Run], rounds: Vec<Round>, against: String, bar: Option<f64>) -> Option<Verdict> {
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
    Some(Verdict {
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
        bar,
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
    fn the_median_of_counting_rounds_is_held_against_the_bar() {
        let mut runs = Vec::new();
        for (round, cpu) in [(0, 0.4), (1, 0.6), (2, 0.5)] {
            runs.push(run(round, "torc", 200.0, cpu, 100.0, 0));
            runs.push(run(round, "redis", 100.0, 1.0, 100.0, 0));
        }
        let [verdict] = &verdicts(&runs)[..] else {
            panic!("one verdict expected");
        };
        assert_eq!(verdict.ratio, Some(0.5));
        assert_eq!((verdict.rounds_counted, verdict.rounds), (3, 3));
        assert_eq!((verdict.ratio_min, verdict.ratio_max), (Some(0.4), Some(0.6)));
        assert_eq!(verdict.against, "redis");
        assert_eq!(verdict.passes(), Some(false));
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
        let verdict = &verdicts(&runs)[0];
        assert_eq!((verdict.rounds_counted, verdict.rounds), (1, 4));
        assert_eq!(verdict.ratio, Some(0.4));
        assert_eq!(verdict.reasons.len(), 3);
        assert_eq!(verdict.passes(), Some(true));
    }

    #[test]
    fn the_ceiling_is_the_cheaper_echo() {
        let runs = [
            run(0, "torc", 100.0, 1.0, 100.0, 0),
            run(0, "echo-uring", 500.0, 0.5, 50.0, 0),
            run(0, "echo-epoll", 500.0, 0.8, 50.0, 0),
        ];
        let [verdict] = &verdicts(&runs)[..] else {
            panic!("one verdict expected");
        };
        assert_eq!(verdict.against, "echo-uring");
        assert_eq!(verdict.ratio, Some(2.0));
        assert_eq!(verdict.passes(), Some(true));
    }

    #[test]
    fn without_a_round_that_counts_a_bar_is_missed() {
        let runs = [run(0, "torc", 50.0, 0.1, 100.0, 0), run(0, "redis", 100.0, 1.0, 100.0, 0)];
        let verdict = &verdicts(&runs)[0];
        assert_eq!(verdict.ratio, None);
        assert_eq!(verdict.passes(), Some(false));
    }
}
