//! The server, as `torc serve` sees it: addresses in words, figures by their metric names.

use super::tier;
use crate::admin::{Family, MetricKind, Rearm, Sample, Trouble, Value};
use crate::config::Config;
use crate::config::value::show_endpoint;
use crate::exit::Failure;
use crate::machine::Resident;
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use torc_engine::stats;
use torc_net::metrics::{BUCKETS, Histogram};
use torc_net::rdma::RdmaStatus;
use torc_net::server::{RearmError, RunningTier, Server, ServerConfig, StartError, Stats, client_memory};
use torc_net::transport::choice::Chosen;

/// A server that was killed keeps its sockets for a moment, until the kernel has taken its rings down; whoever
/// starts the next one at once shall not have to try twice.
const TAKEN_PATIENCE: Duration = Duration::from_secs(1);
const TAKEN_RETRY: Duration = Duration::from_millis(50);

fn explain(error: &StartError) -> Failure {
    match error {
        StartError::Transport(_) => {
            Failure::Failed(format!("{error}; or say --transport auto, which serves over epoll then"))
        }
        _ => Failure::failed(error),
    }
}

/// A server that has bound everything.
pub(super) struct Running {
    server: Server,
    memory_bytes: u64,
    /// Of the process, not of a shard; they do not change.
    limits: Family,
}

impl Running {
    pub(super) fn start(config: &Config) -> Result<Running, Failure> {
        let end = Instant::now() + TAKEN_PATIENCE;
        loop {
            match Server::start(config.server.clone()) {
                Ok(server) => {
                    let memory_bytes = config.server.memory_bytes;
                    return Ok(Running { server, memory_bytes, limits: limits(&config.server) });
                }
                Err(StartError::Listen { cause, .. })
                    if cause.kind() == ErrorKind::AddrInUse && Instant::now() < end =>
                {
                    std::thread::sleep(TAKEN_RETRY);
                }
                Err(error) => return Err(explain(&error)),
            }
        }
    }

    pub(super) fn listen(&self) -> Vec<String> {
        self.server.addresses().iter().map(show_endpoint).collect()
    }

    pub(super) fn shard_listen(&self) -> Vec<String> {
        self.server.shard_addresses().iter().map(|address| format!("tcp://{address}")).collect()
    }

    /// What is wrong though it serves, or not yet as it will be. `is_always`: changes are answered when they are saved.
    pub(super) fn trouble(&self, is_always: bool) -> Option<Trouble> {
        let figures = &self.server.tier()?.figures;
        if !figures.is_latched() {
            let percent = (100.0 * figures.recovery_progress()) as u8;
            let recovering = figures.is_recovering().then_some(Trouble::Recovering(percent));
            return recovering.or(figures.is_refilling().then_some(Trouble::Refilling));
        }
        let refuses = is_always || !figures.is_void();
        Some(if refuses { Trouble::ChangesRefused } else { Trouble::TierLatched })
    }

    pub(super) fn tier(&self) -> Option<&RunningTier> {
        self.server.tier()
    }

    /// Takes a tier that has failed into use again.
    pub(super) fn rearm(&self) -> Rearm {
        match self.server.rearm_tier() {
            Ok(medium) => Rearm::Done(format!(
                "the tier is in use again, on {medium}: what changes from here on is saved as ever; \
                 what memory held before follows, see /readyz"
            )),
            Err(error @ (RearmError::NoTier | RearmError::InUse | RearmError::UnderWay)) => {
                Rearm::Refused(error.to_string())
            }
            Err(error) => Rearm::Failed(error.to_string()),
        }
    }

    pub(super) fn transport(&self) -> &'static str {
        self.server.transport().name()
    }

    pub(super) fn transport_and_why(&self) -> String {
        let transport = match self.server.transport() {
            Chosen::Uring => "uring: the kernel grants io_uring and all that is used of it".into(),
            Chosen::Epoll(reason) => format!("epoll: {reason}; see `torc doctor`"),
        };
        let transport = match self.server.min_wait_refusal() {
            Some(reason) => format!("{transport}; --min-wait is off: {reason}"),
            None => transport,
        };
        match self.server.rdma() {
            RdmaStatus::Off => transport,
            RdmaStatus::On(device) => format!("{transport}; RDMA: {device}"),
            RdmaStatus::Unavailable { why, cure, .. } => {
                let cure = cure.map_or(String::new(), |cure| format!(" ({cure})"));
                format!("{transport}; no RDMA: {why}{cure}")
            }
        }
    }

    /// Tells the shards what the process has resident. Returns the part of it that no account knows of, bytes.
    pub(super) fn balance_memory(&self, resident_bytes: u64) -> i64 {
        self.server.balance_memory(resident_bytes);
        self.server.unaccounted_bytes()
    }

    /// `--memory`, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Turns of all shards since the start.
    pub(super) fn turns(&self) -> u64 {
        self.server.turns()
    }

    /// Returns when the shards have ended.
    pub(super) fn drain_and_join(&self) -> Result<(), String> {
        self.server.drain();
        self.server.join()
    }

    /// Every figure of every shard.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families = vec![info(self.transport()), self.limits.clone()];
        families.extend(memory(self.server.unaccounted_bytes()));
        families.push(device_events(self.server.rdma_device_events()));
        families.extend(self.server.tier().map(tier::families).into_iter().flatten());
        for (shard, stats) in self.server.stats().iter().enumerate() {
            let shard = shard.to_string();
            add_figures(&shard, stats, &mut families);
            add_durations(&shard, stats, &mut families);
        }
        families
    }
}

fn info(transport: &str) -> Family {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("transport", transport)];
    Family {
        name: "info".into(),
        help: "What runs; always 1.".into(),
        kind: MetricKind::Gauge,
        samples: vec![Sample {
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            value: Value::Number(1.0),
        }],
    }
}

/// Without samples where there is no device.
fn device_events(events: impl Iterator<Item = (&'static str, u64)>) -> Family {
    let sample = |(name, count): (&str, u64)| Sample {
        labels: vec![("event".to_owned(), name.to_owned())],
        value: Value::Number(count as f64),
    };
    Family {
        name: "rdma_device_events_total".into(),
        help: "Trouble on the wire as the RDMA device counts it itself, by the driver's names.".into(),
        kind: MetricKind::Counter,
        samples: events.map(sample).collect(),
    }
}

/// The numeric settings as they are used.
fn limits(config: &ServerConfig) -> Family {
    let limits = [
        ("shards", u64::from(config.shards)),
        ("memory", config.memory_bytes),
        ("client-memory", client_memory(config)),
        ("max-value", config.value_bytes_max),
        ("max-key", config.key_bytes_max as u64),
        ("max-connections", config.connections_max as u64),
        ("max-frame", config.frame_bytes_max as u64),
        ("databases", config.databases.into()),
        ("max-arguments", config.arguments_max as u64),
        ("max-waiting", config.queue_parts_max as u64),
        ("output-limit", config.output_bytes_max as u64),
        ("subscriber-limit", config.subscriber_bytes_max as u64),
        ("max-subscriptions", config.subscriptions_max as u64),
        ("stream-above", config.value_bytes_inline as u64),
        ("script-time-max-ms", config.script_time_max.as_millis() as u64),
        ("script-cache-max", config.script_cache_bytes_max as u64),
    ];
    let sample = |(name, value): (&str, u64)| Sample {
        labels: vec![("setting".to_owned(), name.to_owned())],
        value: Value::Number(value as f64),
    };
    Family {
        name: "limit".into(),
        help: "The numeric settings as they are used, by setting; bytes, or a count.".into(),
        kind: MetricKind::Gauge,
        samples: limits.into_iter().map(sample).collect(),
    }
}

fn memory(unaccounted_bytes: i64) -> [Family; 2] {
    let gauge = |name: &str, help: &str, bytes: f64| Family {
        name: name.into(),
        help: help.into(),
        kind: MetricKind::Gauge,
        samples: vec![Sample { labels: Vec::new(), value: Value::Number(bytes) }],
    };
    [
        gauge(
            "resident_bytes",
            "Resident memory of the process.",
            Resident::of_this_process().bytes() as f64,
        ),
        gauge(
            "unaccounted_bytes",
            "Resident memory that no other gauge knows of: code, stacks, the allocator. Below 0: memory that was never touched.",
            unaccounted_bytes as f64,
        ),
    ]
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
fn add(families: &mut Vec<Family>, name: &str, kind: stats::FigureKind, help: &str, sample: Sample) {
    let name = match name.strip_prefix("bytes_") {
        Some(purpose) => format!("{purpose}_bytes"),
        None => name.to_owned(),
    };
    let (name, kind) = match kind {
        stats::FigureKind::Counter => (format!("{name}_total"), MetricKind::Counter),
        stats::FigureKind::Gauge => (name, MetricKind::Gauge),
    };
    add_sample(families, &name, kind, help.trim(), sample);
}

fn add_sample(families: &mut Vec<Family>, name: &str, kind: MetricKind, help: &str, sample: Sample) {
    match families.iter_mut().find(|family| family.name == name) {
        Some(family) => family.samples.push(sample),
        None => {
            families.push(Family { name: name.into(), help: help.into(), kind, samples: vec![sample] });
        }
    }
}

/// Sub-buckets of a doubling that become one bucket here: scrapers keep every bucket of every shard.
const MERGED: usize = 4;

fn add_durations(shard: &str, stats: &Stats, families: &mut Vec<Family>) {
    for (name, help, histogram) in stats.worker.histograms() {
        let labels = vec![("shard".to_owned(), shard.to_owned())];
        let sample = Sample { labels, value: durations(histogram) };
        add_sample(families, name, MetricKind::Histogram, help, sample);
    }
}

fn durations(histogram: &Histogram) -> Value {
    let mut count = 0;
    let mut buckets = Vec::with_capacity(BUCKETS / MERGED);
    for (index, (bound_ns, observed)) in histogram.buckets().enumerate() {
        count += observed;
        // The last bucket is open; the format adds it by itself.
        if index % MERGED == MERGED - 1 && bound_ns != u64::MAX {
            buckets.push((bound_ns as f64 / 1e9, count));
        }
    }
    Value::Histogram { buckets, sum: histogram.sum_ns() as f64 / 1e9, count }
}
