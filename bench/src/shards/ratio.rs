//! Two shards behind the common port over one, and over the same two asked on their own ports.

use serde::Serialize;

use super::{FillRun, Load, Run, Served, Way};
use crate::{
    lab::shape::Shape,
    results::{groups, median},
};

/// Medians of a cell's rounds: two shards behind the common port over one, if nothing else is said.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) load: Load,
    pub(super) shape: Shape,
    pub(super) cpu: f64,
    pub(super) throughput: f64,
    pub(super) bystander_p99: f64,
    /// CPU and throughput over the same two shards, asked by a client that knows the slots.
    pub(super) over_own_ports: Option<[f64; 2]>,
    /// The first shard's share of the requests, and how many of them, of a million, one shard sent to the other.
    pub(super) first_share: Option<f64>,
    pub(super) forwarded_ppm: Option<f64>,
    /// Two shards' throughput over theirs at the next shallower depth.
    pub(super) to_shallower: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FillRatio {
    pub(super) value_bytes: u32,
    pub(super) throughput: f64,
}

/// One ratio for each load and shape, in the order of the runs.
pub(super) fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let cells = groups(runs, |run| (run.load, run.shape));
    let two_per_second = |cell: (Load, Shape)| {
        let (_, runs) = cells.iter().find(|(known, _)| *known == cell)?;
        median(of(runs, Way::TwoShardsCommonPort).map(|run| run.figures.operations_per_second).collect())
    };
    let ratio = |((load, shape), runs): &((Load, Shape), Vec<&Run>)| {
        let over_way = |way, figure: fn(&Run) -> f64| {
            let ratios = of(runs, Way::TwoShardsCommonPort).filter_map(|two| {
                let other = of(runs, way).find(|other| other.round == two.round)?;
                Some(figure(two) / figure(other))
            });
            median(ratios.collect())
        };
        let over = |figure| over_way(Way::OneShard, figure);
        let over_own = |figure| over_way(Way::TwoShardsAware, figure);
        let served = |figure: fn(&Served) -> f64| {
            let figures =
                of(runs, Way::TwoShardsCommonPort).filter_map(|run| Some(figure(run.served.as_ref()?)));
            median(figures.collect())
        };
        let shallower = cells
            .iter()
            .map(|(cell, _)| *cell)
            .filter(|cell| (cell.0, cell.1.connections) == (*load, shape.connections))
            .filter(|cell| cell.1.depth < shape.depth)
            .max_by_key(|cell| cell.1.depth);
        Some(Ratio {
            load: *load,
            shape: *shape,
            cpu: over(cpu)?,
            throughput: over(throughput)?,
            bystander_p99: over(|run| run.bystander.latency_us.p99)?,
            over_own_ports: over_own(cpu).zip(over_own(throughput)).map(<[f64; 2]>::from),
            first_share: served(Served::share),
            forwarded_ppm: served(Served::forwarded_ppm),
            to_shallower: shallower
                .and_then(|cell| Some(two_per_second((*load, *shape))? / two_per_second(cell)?)),
        })
    };
    cells.iter().filter_map(ratio).collect()
}

/// One ratio for each size of the values.
pub(super) fn fill_ratios(runs: &[FillRun]) -> Vec<FillRatio> {
    let ratio = |(value_bytes, runs): (u32, Vec<&FillRun>)| {
        let of = |way| runs.iter().filter(move |run| run.way == way);
        let ratios = of(Way::TwoShardsCommonPort).filter_map(|two| {
            let one = of(Way::OneShard).find(|one| one.round == two.round)?;
            Some(two.figures.operations_per_second / one.figures.operations_per_second)
        });
        Some(FillRatio { value_bytes, throughput: median(ratios.collect())? })
    };
    groups(runs, |run| run.value_bytes).into_iter().filter_map(ratio).collect()
}

fn cpu(run: &Run) -> f64 {
    run.figures.cpu_us()
}

fn throughput(run: &Run) -> f64 {
    run.figures.operations_per_second
}

fn of<'a>(runs: &[&'a Run], way: Way) -> impl Iterator<Item = &'a Run> {
    runs.iter().copied().filter(move |run| run.way == way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::measure::Figures;

    fn run(way: Way, depth: u32, per_second: u64, bystander_us: u64) -> Run {
        // The same time for fewer operations is more for each.
        let figures = Figures::of_a_second(per_second, 1_000.0 / per_second as f64);
        let mut bystander = Figures::default();
        bystander.latency_us.p99 = bystander_us as f64;
        let shape = Shape { depth, connections: 50 };
        Run { round: 0, way, load: Load::Get, shape, figures, bystander, served: None }
    }

    #[test]
    fn two_shards_stand_over_one_and_over_themselves_at_the_shallower_depth() {
        let (one, two) = (Way::OneShard, Way::TwoShardsCommonPort);
        let runs = [
            run(one, 1, 1_000, 100),
            run(two, 1, 800, 150),
            run(Way::TwoShardsAware, 1, 1_600, 150),
            run(one, 16, 900, 100),
            run(two, 16, 600, 100),
        ];
        let ratios = ratios(&runs);
        assert_eq!(ratios.len(), 2);
        assert!((0.79..0.81).contains(&ratios[0].throughput));
        assert!((1.24..1.26).contains(&ratios[0].cpu), "the same time for fewer operations");
        let [cpu, throughput] = ratios[0].over_own_ports.unwrap();
        assert!((1.99..2.01).contains(&cpu) && (0.49..0.51).contains(&throughput));
        assert!(ratios[1].over_own_ports.is_none());
        assert!((0.74..0.76).contains(&ratios[1].to_shallower.unwrap()));
    }
}
