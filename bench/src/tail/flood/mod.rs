//! The tail of ten clients at depth 1 while eight others pipeline without end, on Torc and on the peers.

mod figures;
mod flooder;
mod page;

use std::time::Instant;

use super::Stage;
use crate::{
    codec::Codec,
    error::BenchError,
    generator::{Driver, measure::Figures},
    lab::{contender::Contender, peers},
    load::{Protocol, with_codec},
    results::{groups, median},
    workload::{Mixed, keys::KeyPicker, mix::Mix, objects::Objects},
};
use figures::{CLIENTS, FLOODERS};
pub(super) use figures::{Flood, FloodRatio, FloodRun};
use flooder::{BLOCK_KEYS, Block, Flooder};
pub(super) use page::page;

const KEY_BYTES: u32 = 16;
const MEMORY_MIB: u64 = 1024;

/// Measures every flood on every server that speaks it; each round begins with another server.
pub(super) fn run(
    stage: &Stage,
    floods: &[Flood],
    runs: &mut Vec<FloodRun>,
) -> Result<Vec<Contender>, BenchError> {
    let servers = peers::start_all(&stage.args.lab.torc, stage.cores.server, MEMORY_MIB)?;
    let objects = Objects::new(stage.args.keys.max(BLOCK_KEYS), KEY_BYTES, stage.args.value_size)?;
    for server in &servers {
        server.fill(&objects, 0..objects.count())?;
    }
    for round in 0..stage.args.pairs {
        for &flood in floods {
            let speaks = |server: &&Contender, protocol| server.protocols.contains(protocol);
            let mut jobs: Vec<(&Contender, Protocol)> = Vec::new();
            for protocol in flood.protocols() {
                jobs.extend(servers.iter().filter(|s| speaks(s, protocol)).map(|s| (s, *protocol)));
            }
            let turn = round as usize % jobs.len();
            jobs.rotate_left(turn);
            for (server, protocol) in jobs {
                let seed = u64::from(round) + 1;
                let (figures, flood_per_second) = with_codec!(protocol, |codec| {
                    let block = Block::new(flood, protocol, &objects);
                    measure(stage, codec, server, &objects, &block, seed)
                })?;
                figures.tally.without_refusals()?;
                let run = FloodRun {
                    flood,
                    round,
                    server: server.name.clone(),
                    protocol,
                    flood_per_second,
                    figures,
                };
                eprintln!("{}", page::line(&run));
                runs.push(run);
                server.rest()?;
            }
        }
    }
    Ok(servers)
}

/// Measures small reads beside the flood; returns also how much of the flood was answered a second. The flooders live
/// in the generator's thread and take turns, one between two looks at the measured clients.
fn measure<C: Codec>(
    stage: &Stage,
    codec: &C,
    server: &Contender,
    objects: &Objects,
    block: &Block,
    seed: u64,
) -> Result<(Figures, f64), BenchError> {
    let plan = CLIENTS.plan(stage.timing, None, seed);
    let picker = KeyPicker::uniform(objects.count(), seed);
    let mut source = Mixed::new(codec, objects, picker, Mix::READS, u64::MAX);
    let mut flooders = (0..FLOODERS)
        .map(|_| Flooder::open(&server.address, block))
        .collect::<Result<Vec<Flooder>, BenchError>>()?;
    let servers = std::slice::from_ref(&server.address);
    let mut measured = Driver::start(&plan, servers, codec, &mut source)?;
    let began = Instant::now();
    for at in (0..FLOODERS).cycle() {
        flooders[at].step()?;
        if let Some(figures) = measured.step(Some(&server.probe))? {
            let answered: u64 = flooders.iter().map(Flooder::answered).sum();
            return Ok((figures, answered as f64 / began.elapsed().as_secs_f64()));
        }
    }
    unreachable!("the cycle has no end")
}

/// Torc's ratios, one for each flood and protocol; none where no peer was measured.
pub(super) fn ratios(runs: &[FloodRun]) -> Vec<FloodRatio> {
    let cells = groups(runs, |run| (run.server == "torc", run.flood, run.protocol)).into_iter();
    let ratio = |((_, flood, protocol), torc): ((bool, Flood, Protocol), Vec<&FloodRun>)| {
        let over = |figure: fn(&FloodRun) -> f64| {
            let ratios = torc.iter().filter_map(|run| Some(figure(run) / figure(better_peer(runs, run)?)));
            median(ratios.collect())
        };
        Some(FloodRatio {
            flood,
            protocol,
            rounds: torc.len(),
            p99_9: over(|run| run.figures.latency_us.p99_9)?,
            p99: over(|run| run.figures.latency_us.p99)?,
        })
    };
    cells.filter(|((is_torc, ..), _)| *is_torc).filter_map(ratio).collect()
}

fn better_peer<'a>(runs: &'a [FloodRun], torc: &FloodRun) -> Option<&'a FloodRun> {
    let peers =
        runs.iter().filter(|run| run.server != "torc" && (run.flood, run.round) == (torc.flood, torc.round));
    peers.min_by(|a, b| a.figures.latency_us.p99_9.total_cmp(&b.figures.latency_us.p99_9))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(server: &str, protocol: Protocol, round: u32, p99_9_us: u64) -> FloodRun {
        let mut figures = Figures::default();
        figures.latency_us.p99_9 = p99_9_us as f64;
        FloodRun { flood: Flood::Get, round, server: server.into(), protocol, flood_per_second: 1.0, figures }
    }

    #[test]
    fn torc_is_held_against_the_better_peer_of_the_round() {
        let (resp, memcache) = (Protocol::Resp, Protocol::Memcache);
        let runs = [
            run("torc", resp, 0, 300),
            run("torc", memcache, 0, 600),
            run("redis", resp, 0, 100),
            run("memcached", memcache, 0, 200),
            run("redis", resp, 1, 400),
            run("memcached", memcache, 1, 300),
            run("torc", resp, 1, 300),
            run("torc", memcache, 1, 600),
        ];
        let ratios = ratios(&runs);
        let found: Vec<_> = ratios.iter().map(|r| (r.protocol, (r.p99_9 * 10.0).round())).collect();
        assert_eq!(found, [(resp, 20.0), (memcache, 40.0)]);
        assert!(super::ratios(&runs[..2]).is_empty(), "no peer, no ratio");
    }
}
