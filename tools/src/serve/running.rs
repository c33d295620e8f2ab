//! The server, as `torc serve` sees it: addresses in words, figures by their metric names.

use crate::admin::{Family, Kind, Sample, Value};
use crate::config::Config;
use crate::config::value::show_endpoint;
use crate::exit::Failure;
use torc_engine::stats;
use torc_net::metrics::BUCKETS;
use torc_net::server::{Server, Stats};
use torc_net::transport::choice::Chosen;

/// A server that has bound everything.
pub(super) struct Running {
    server: Server,
}

impl Running {
    pub(super) fn start(config: &Config) -> Result<Running, Failure> {
        Server::start(config.server.clone()).map(|server| Running { server }).map_err(Failure::failed)
    }

    pub(super) fn listen(&self) -> Vec<String> {
        self.server.addresses().iter().map(show_endpoint).collect()
    }

    pub(super) fn shard_listen(&self) -> Vec<String> {
        self.server.shard_addresses().iter().map(|address| format!("tcp://{address}")).collect()
    }

    pub(super) fn transport(&self) -> &'static str {
        self.server.transport().name()
    }

    pub(super) fn transport_and_why(&self) -> String {
        match self.server.transport() {
            Chosen::Uring => "uring".into(),
            Chosen::Epoll(reason) => format!("epoll: {reason}; see `torc doctor`"),
        }
    }

    /// Returns when the shards have ended.
    pub(super) fn drain_and_join(&self) -> Result<(), String> {
        self.server.drain();
        self.server.join()
    }

    /// Every figure of every shard.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families = vec![info(self.transport())];
        for (shard, stats) in self.server.stats().iter().enumerate() {
            let shard = shard.to_string();
            add_figures(&shard, stats, &mut families);
            add_turn_time(&shard, stats, &mut families);
        }
        families
    }
}

fn info(transport: &str) -> Family {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("transport", transport)];
    Family {
        name: "info".into(),
        help: "What runs; always 1.".into(),
        kind: Kind::Gauge,
        samples: vec![Sample {
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            value: Value::Number(1.0),
        }],
    }
}

fn add_figures(shard: &str, stats: &Stats, families: &mut Vec<Family>) {
    let shard = || vec![("shard".to_owned(), shard.to_owned())];
    for figure in stats.shard.figures() {
        let number = Value::Number(figure.value as f64);
        add(families, figure.name, figure.kind, figure.help, Sample { labels: shard(), value: number });
    }
    for sample in stats.worker.samples() {
        let mut labels = shard();
        labels.extend(sample.labels.iter().flatten().map(|(name, value)| ((*name).into(), (*value).into())));
        let number = Value::Number(sample.value as f64);
        add(families, sample.name, sample.kind, sample.help, Sample { labels, value: number });
    }
}

/// Adds a sample to its family, by the rules for names: the unit last, counters end in `_total`.
fn add(families: &mut Vec<Family>, name: &str, kind: stats::Kind, help: &str, sample: Sample) {
    let name = match name.strip_prefix("bytes_") {
        Some(purpose) => format!("{purpose}_bytes"),
        None => name.to_owned(),
    };
    let (name, kind) = match kind {
        stats::Kind::Counter => (format!("{name}_total"), Kind::Counter),
        stats::Kind::Gauge => (name, Kind::Gauge),
    };
    match families.iter_mut().find(|family| family.name == name) {
        Some(family) => family.samples.push(sample),
        None => families.push(Family { name, help: help.trim().into(), kind, samples: vec![sample] }),
    }
}

/// Sub-buckets of a doubling that become one bucket here: scrapers keep every bucket of every shard.
const MERGED: usize = 4;

fn add_turn_time(shard: &str, stats: &Stats, families: &mut Vec<Family>) {
    let histogram = &stats.worker.turn_time;
    let mut count = 0;
    let mut buckets = Vec::with_capacity(BUCKETS / MERGED);
    for (index, (bound_ns, observed)) in histogram.buckets().enumerate() {
        count += observed;
        // The last bucket is open; the format adds it by itself.
        if index % MERGED == MERGED - 1 && bound_ns != u64::MAX {
            buckets.push((bound_ns as f64 / 1e9, count));
        }
    }
    let sample = Sample {
        labels: vec![("shard".to_owned(), shard.to_owned())],
        value: Value::Histogram { buckets, sum: histogram.sum_ns() as f64 / 1e9, count },
    };
    const NAME: &str = "turn_seconds";
    match families.iter_mut().find(|family| family.name == NAME) {
        Some(family) => family.samples.push(sample),
        None => families.push(Family {
            name: NAME.into(),
            help: "Time of a turn of the loop, from the end of its wait: what a request that has arrived waits at most."
                .into(),
            kind: Kind::Histogram,
            samples: vec![sample],
        }),
    }
}
