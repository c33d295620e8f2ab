//! The result as a page. Writing to a string cannot fail, so its results are dropped.

use std::fmt::Write;

use super::{Features, Kind, Run};
use crate::results::{groups, median_of};

pub(super) fn page(features: &Features) -> String {
    let mut page = features.setting.page("Features");
    let _ = writeln!(
        page,
        "\n{} rounds of {} s; medians of the rounds. Every round is in `raw.jsonl`.",
        features.rounds, features.seconds
    );
    for (kind, runs) in groups(&features.runs, |run| run.kind) {
        match kind {
            Kind::Messages => asked(
                &mut page,
                features,
                &format!("PUBLISH of 64 B to {} subscribers", features.subscribers),
                &runs,
            ),
            Kind::Scripts => asked(&mut page, features, "EVAL: a limiter of requests, 10,000 keys", &runs),
            Kind::Transactions => asked(
                &mut page,
                features,
                "MULTI, five SETs and five GETs of 10,000 keys, EXEC: figures for all of it",
                &runs,
            ),
            Kind::IdleClients => idle(&mut page, features, &runs),
        }
    }
    page
}

/// CPU beside the peer's.
fn asked(page: &mut String, features: &Features, title: &str, runs: &[&Run]) {
    let _ = writeln!(
        page,
        "\n## {title}\n\n| | server | CPU us | x of redis | a second | p99, us |\n|---|---|---|---|---|---|"
    );
    let runs: Vec<Run> = runs.iter().copied().cloned().collect();
    for ((shape, server), runs) in groups(&runs, |run| (run.shape, &*run.server)) {
        let kind = runs[0].kind;
        let same = |ratio: &&super::Ratio| (ratio.kind, ratio.shape, &*ratio.server) == (kind, shape, server);
        let ratio = features.ratios.iter().find(same).map_or(String::new(), |it| format!("{:.2}", it.ratio));
        let _ = writeln!(
            page,
            "| {shape} | {server} | {:.2} | {ratio} | {:.0} | {:.0} |",
            median_of(&runs, |run| run.figures.cpu_us()),
            median_of(&runs, |run| run.figures.operations_per_second),
            median_of(&runs, |run| run.figures.latency_us.p99),
        );
    }
}

fn idle(page: &mut String, features: &Features, runs: &[&Run]) {
    let _ = writeln!(
        page,
        "\n## GETs, {} a second on 50 connections, beside {} that ask for nothing\n\n\
         | server | idle clients | bytes each | CPU without requests, % of a core | CPU us | p99, us | x of p99 |\n\
         |---|---|---|---|---|---|---|",
        features.rate, features.idle_clients
    );
    let runs: Vec<Run> = runs.iter().copied().cloned().collect();
    let rss = |run: &Run| run.figures.of_server(|server| server.rss_bytes as f64);
    for (server, runs) in groups(&runs, |run| &*run.server) {
        // Memory that was taken for connections is used again: the first time tells.
        let first = |beside: bool| {
            runs.iter().find(|run| (run.beside > 0) == beside).map_or(f64::NAN, |run| rss(run))
        };
        let each = (first(true) - first(false)) / features.idle_clients.max(1) as f64;
        for (beside, runs) in groups(&runs.iter().copied().cloned().collect::<Vec<Run>>(), |run| run.beside) {
            let ratio = features.ratios.iter().find(|it| it.kind == Kind::IdleClients && it.server == server);
            let (each, ratio) = match beside {
                0 => (String::new(), String::new()),
                _ => (format!("{each:.0}"), ratio.map_or(String::new(), |it| format!("{:.2}", it.ratio))),
            };
            let _ = writeln!(
                page,
                "| {server} | {beside} | {each} | {:.2} | {:.2} | {:.0} | {ratio} |",
                median_of(&runs, |run| run.idle_cpu_percent.unwrap_or(f64::NAN)),
                median_of(&runs, |run| run.figures.cpu_us()),
                median_of(&runs, |run| run.figures.latency_us.p99),
            );
        }
    }
}
