//! The result as a page. Writing to a string cannot fail, so its results are dropped.

use std::fmt::Write;

use super::{
    args::{Kind, Recovered, VALUE_BYTES},
    hits::Hits,
    kept::Tier,
    ratio::Ratio,
    recovery::Recovery,
    restart::Restart,
    rounds::Run,
};
use crate::results::{groups, median_of};

pub(super) fn page(tier: &Tier) -> String {
    let mut page = tier.setting.page("A second tier");
    let _ = writeln!(
        page,
        "\nFiles: {}. All threads of a server are on its one core, if nothing else is said. RESP; keys of 16 B, values of random bytes, which do not \
         compress. Medians of {} rounds, latencies in us; `x`: the median of the rounds' ratios; `kept`: \
         what a change takes of the tier. Every round is in `raw.jsonl`.\n",
        tier.disk, tier.rounds,
    );
    tier.tiers.iter().for_each(|words| _ = writeln!(page, "- {words}"));
    if !tier.runs.is_empty() {
        let (keys, seconds, warmup) = (tier.keys, tier.seconds, tier.warmup_seconds);
        let _ = writeln!(
            page,
            "\n{keys} keys, each tier written around once before; closed loop where nothing else is said, {seconds} s each (warm-up {warmup} s)."
        );
    }
    for ((kind, value_bytes), runs) in groups(&tier.runs, |run| (run.kind, run.value_bytes)) {
        let title = match kind {
            Kind::Cost => "What a tier costs, all values in memory",
            Kind::Tails => {
                "Tails at a quarter of the peak, all values in memory; the tier's threads on the generator's core"
            }
            _ => "Changes that are safe on the disk",
        };
        let _ = writeln!(page, "\n## {title}: values of {value_bytes} B");
        for (load, runs) in groups(&runs, |run| (run.shape, run.gets)) {
            let runs: Vec<&Run> = runs.into_iter().copied().collect();
            let offered = runs[0]
                .offered
                .map_or(String::new(), |rate| format!(", {rate:.0} operations a second offered"));
            let _ = writeln!(page, "\n{}, {:.0} % reads{offered}:\n", load.0, 100.0 * load.1);
            table(&mut page, tier, &runs);
        }
    }
    restarts(&mut page, tier);
    recoveries(&mut page, tier);
    hits(&mut page, &tier.hits);
    page
}

fn table(page: &mut String, tier: &Tier, runs: &[&Run]) {
    let _ = writeln!(
        page,
        "| | operations/s | x | CPU us/op | x | p50 | p99 | x | p99.9 | x | written B/op | kept B/change | server busy | run delay | misses |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut servers = groups(runs, |run| &*run.server);
    servers.sort_by_key(|(server, _)| tier.setting.place(server));
    for (server, runs) in servers {
        let runs: Vec<&Run> = runs.into_iter().copied().collect();
        let load = |run: &Run| (run.kind, run.value_bytes, run.shape);
        let ratio = tier.ratios.iter().find(|ratio| {
            let same = (ratio.kind, ratio.value_bytes, ratio.shape) == load(runs[0]);
            same && ratio.gets == runs[0].gets && ratio.server == server
        });
        let x = |of: fn(&Ratio) -> f64| ratio.map_or(String::new(), |ratio| format!("{:.2}", of(ratio)));
        let _ = writeln!(
            page,
            "| {server} | {:.0} | {} | {:.3} | {} | {:.0} | {:.0} | {} | {:.0} | {} | {:.0} | {:.0} | {:.0} % | {:.0} | {} |",
            median_of(&runs, |run| run.figures.operations_per_second),
            x(|ratio| ratio.operations_per_second),
            median_of(&runs, |run| run.figures.cpu_us()),
            x(|ratio| ratio.cpu),
            median_of(&runs, |run| run.figures.latency_us.p50),
            median_of(&runs, |run| run.figures.latency_us.p99),
            x(|ratio| ratio.p99),
            median_of(&runs, |run| run.figures.latency_us.p99_9),
            x(|ratio| ratio.p99_9),
            median_of(&runs, |run| run.figures.of_server(|server| server.written_bytes_per_operation)),
            median_of(&runs, |run| run.kept_bytes),
            100.0 * median_of(&runs, |run| run.figures.of_server(|server| server.cores_busy)),
            median_of(&runs, |run| run.figures.of_server(|server| server.run_delay_us)),
            runs.iter().map(|run| run.figures.tally.misses).sum::<u64>(),
        );
    }
}

fn hits(page: &mut String, hits: &[Hits]) {
    let Some(first) = hits.first() else { return };
    let _ = writeln!(
        page,
        "\n## Hits: {} keys with values of 1 KiB, zipf:0.99, {} reads after four times as many\n\n\
         A read that misses is followed by a write of its key; nothing else is written. Sixteen connections, each with one request at a time. `MiB`: \
         memory and tier. `from the tier`: share of the hits. `missed`: items that eviction dropped before the tier had them, of all that \
         it dropped. `written`: bytes to the medium over bytes of keys and values that were new. Index and header: bytes of an index slot \
         in use (an item takes one in memory and two on the tier), and of an item in memory beside key and value.\n\n\
         | | MiB | hit ratio | from the tier | missed | written | index slot | header |\n|---|---|---|---|---|---|---|---|",
        first.keys, first.reads,
    );
    for of in hits {
        let _ = writeln!(
            page,
            "| {} | {} | {:.4} | {:.3} | {:.4} | {:.2} | {:.1} | {:.1} |",
            of.server,
            of.mib,
            of.hit_ratio,
            of.from_tier,
            of.missed_demotions,
            of.written,
            of.slot_bytes,
            of.header_bytes,
        );
    }
}

fn restarts(page: &mut String, tier: &Tier) {
    if tier.restarts.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n## Ended under load and started again: {} items of {VALUE_BYTES} B\n\n\
         All were killed but memcached, whose memory file survives an orderly end only. Seconds from the start of the process. `ready`: \
         Torc's ready line; the others accept connections, and Redis refuses reads until it has loaded. `warm`: the end of 10,000 random reads of which 90 % as many hit as before. `all`: the end of one \
         read of every item after that. The files of the others were in the kernel's page cache, as after any crash of the process alone; \
         a tier that is read past that cache comes from the disk.\n\n\
         | | hits before | ready | first hit | warm | all | found | MB on the disk |\n|---|---|---|---|---|---|---|---|",
        tier.items,
    );
    for (server, runs) in groups(&tier.restarts, |restart| &*restart.server) {
        let median = |of: fn(&Restart) -> f64| median_of(&runs, of);
        let _ = writeln!(
            page,
            "| {server} | {:.4} | {:.3} | {:.3} | {:.3} | {:.2} | {:.5} | {:.0} |",
            median(|restart| restart.hits_before),
            median(|restart| restart.ready_s),
            median(|restart| restart.first_hit_s),
            median(|restart| restart.warm_s),
            median(|restart| restart.all_s),
            median(|restart| restart.found),
            median(|restart| restart.disk_bytes as f64 / 1e6),
        );
    }
}

fn recoveries(page: &mut String, tier: &Tier) {
    if tier.recoveries.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n## Knowing what a tier holds after a start: items of {VALUE_BYTES} B\n\n\
         Seconds. `tables`, `index`: reading the tables alone, then filling an index of the right size alone, on one core. `ready`, \
         `first hit`: from the start of the process to its ready line, and to the answer to a read of the newest item. `all known`: \
         what the server says that it took, on one core with all of its threads. `x`: the speed of that over the sum of tables and \
         index. `records`: with those that were superseded, each item having been written so often on average, at random; of those that \
         a start is told. `snapshot`: when so much was written a snapshot of the index was.\n\n\
         | items | snapshot | records | MB of the tier | tables | index | ready | first hit | all known | x | found |\n|---|---|---|---|---|---|---|---|---|---|---|",
    );
    for (Recovered { items, writes, snapshot_at }, runs) in
        groups(&tier.recoveries, |recovery| recovery.recovered)
    {
        let median = |of: fn(&Recovery) -> f64| median_of(&runs, of);
        let snapshot = snapshot_at.map_or("none".to_owned(), |percent| format!("{percent} %"));
        let _ = writeln!(
            page,
            "| {items} x {writes} | {snapshot} | {:.0} | {:.0} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.5} |",
            median(|recovery| recovery.records as f64),
            median(|recovery| recovery.used_bytes as f64 / 1e6),
            median(|recovery| recovery.read_s),
            median(|recovery| recovery.index_s),
            median(|recovery| recovery.ready_s),
            median(|recovery| recovery.first_hit_s),
            median(|recovery| recovery.known_s),
            median(|recovery| (recovery.read_s + recovery.index_s) / recovery.known_s),
            median(|recovery| recovery.known as f64 / recovery.recovered.items as f64),
        );
    }
}
