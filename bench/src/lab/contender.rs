//! A server under measurement.

use std::{
    ops::Range,
    process::Command,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    codec::{
        Codec,
        raw::{Raw, RawSource},
    },
    echo::Engine,
    error::BenchError,
    generator::{Plan, address::Address, drive, measure::Figures},
    load::{Protocol, sweep, with_codec},
    process::{
        child::{ServerProcess, this_program},
        probe::Probe,
    },
    workload::{Mixed, Source, args::Workload, mix::Operation, objects::Objects},
};

/// How long a server may work on after its clients have left.
const REST_MAX: Duration = Duration::from_secs(10);
/// A server that uses less than [`REST_SHARE`] of this time has come to rest.
const REST_PROBE: Duration = Duration::from_millis(50);
const REST_SHARE: f64 = 0.1;

/// A running server, what it is, and where its costs can be read. Dropping it ends the server.
#[derive(Debug)]
pub(crate) struct Contender {
    pub name: String,
    pub version: String,
    pub command: String,
    pub protocols: Vec<Protocol>,
    pub address: Address,
    /// Its Unix socket, if it listens on one.
    pub unix: Option<Address>,
    /// One address a shard, where there are several.
    pub shard_addresses: Vec<Address>,
    /// Where `/metrics` is, if served.
    pub admin: Option<String>,
    pub probe: Probe,
    /// When its process was started, and how long it took until it served.
    pub started: Instant,
    pub ready_after: Duration,
    process: ServerProcess,
}

/// The line with which Torc and the echo servers say that they serve.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadyLine {
    ready: bool,
    listen: Vec<String>,
    shard_listen: Vec<String>,
    admin: Option<String>,
}

impl ReadyLine {
    fn unix(&self) -> Option<Address> {
        let mut addresses = self.listen.iter().filter_map(|text| text.parse().ok());
        addresses.find(|address| matches!(address, Address::Unix(_)))
    }

    /// The line, and the first address that the server listens on.
    fn parse(line: &str) -> Result<(Self, Address), BenchError> {
        let ready = serde_json::from_str::<Self>(line).ok().filter(|ready| ready.ready);
        let parsed = ready.and_then(|ready| {
            let address = ready.listen.iter().find_map(|text| text.parse().ok())?;
            Some((ready, address))
        });
        parsed.ok_or_else(|| BenchError::Invalid(format!("not a server's ready line: {}", line.trim_end())))
    }
}

impl Contender {
    /// A server that prints a ready line.
    pub(crate) fn by_ready_line(
        name: &str,
        version: String,
        command: Command,
        cpus: &[usize],
        protocols: Vec<Protocol>,
    ) -> Result<Self, BenchError> {
        let (process, line) = ServerProcess::with_line(command, cpus)?;
        let (ready, address) = ReadyLine::parse(&line)?;
        Ok(Self {
            name: name.into(),
            version,
            command: process.command().into(),
            protocols,
            address,
            unix: ready.unix(),
            shard_addresses: ready.shard_listen.iter().filter_map(|text| text.parse().ok()).collect(),
            admin: ready.admin,
            probe: Probe::new(process.pid())?,
            started: process.started(),
            ready_after: process.started().elapsed(),
            process,
        })
    }

    /// A server that was told where to listen.
    pub(crate) fn by_address(
        name: &str,
        version: String,
        command: Command,
        cpu: usize,
        address: Address,
        protocol: Protocol,
    ) -> Result<Self, BenchError> {
        let process = ServerProcess::listening(command, &[cpu], || address.connect().is_ok())?;
        Ok(Self {
            name: name.into(),
            version,
            command: process.command().into(),
            protocols: vec![protocol],
            unix: matches!(address, Address::Unix(_)).then(|| address.clone()),
            address,
            shard_addresses: Vec::new(),
            admin: None,
            probe: Probe::new(process.pid())?,
            started: process.started(),
            ready_after: process.started().elapsed(),
            process,
        })
    }

    /// The bare echo servers of the floor, which this program starts as processes of its own.
    pub(crate) fn echoes(cpu: usize) -> Result<Vec<Self>, BenchError> {
        let program = this_program()?;
        let start = |engine: Engine| {
            let kind = engine.name().trim_start_matches("echo-");
            let mut command = Command::new(&program);
            command.args(["bench", "echo", "--engine", kind]);
            Self::by_ready_line(engine.name(), env!("CARGO_PKG_VERSION").into(), command, &[cpu], Vec::new())
        };
        Engine::ALL.into_iter().map(start).collect()
    }

    /// Waits until the server has nothing to do any more: work that its clients have left behind would slow down the next
    /// server, which shares its core.
    pub(crate) fn rest(&self) -> Result<(), BenchError> {
        let began = Instant::now();
        while began.elapsed() < REST_MAX {
            let before = self.probe.sample()?;
            std::thread::sleep(REST_PROBE);
            let used = self.probe.sample()?.since(&before);
            if (used.on_cpu_ns as f64) < REST_SHARE * REST_PROBE.as_nanos() as f64 {
                return Ok(());
            }
        }
        eprintln!("{} is still busy {} s after its clients have left", self.name, REST_MAX.as_secs());
        Ok(())
    }

    /// What the banner of a Torc that was started says about this topic.
    pub(crate) fn banner(&self, topic: &str) -> Option<String> {
        let text = self.process.last_words();
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(topic)?.strip_prefix(' '))?;
        Some(line.trim().to_owned())
    }

    /// Ends the server with SIGKILL, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Ends the server with SIGUSR1, and waits until it is gone.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) fn end_by_usr1(self) -> Result<(), BenchError> {
        self.process.end_by(rustix::process::Signal::USR1)
    }

    /// Writes the objects with these numbers, once each.
    pub(crate) fn fill(&self, objects: &Objects, numbers: Range<u64>) -> Result<(), BenchError> {
        let protocol = self.protocols.first().copied().unwrap_or(Protocol::Resp);
        let servers = std::slice::from_ref(&self.address);
        sweep(protocol, servers, objects, Operation::Set, numbers)?.tally.without_refusals()
    }

    /// Loads an echo server with requests of these sizes.
    pub(crate) fn measure_raw(&self, plan: &Plan, raw: Raw) -> Result<Figures, BenchError> {
        self.drive(plan, &raw, &mut RawSource(raw))
    }

    /// Loads a server of keys and values; another `run` draws other keys.
    pub(crate) fn measure(
        &self,
        protocol: Protocol,
        plan: &Plan,
        workload: &Workload,
        run: u64,
    ) -> Result<Figures, BenchError> {
        with_codec!(protocol, |codec| {
            let picker = workload.picker.for_run(run);
            self.drive(plan, codec, &mut Mixed::new(codec, &workload.objects, picker, workload.mix, u64::MAX))
        })
    }

    /// Loads a server from a source; refusals are an error.
    pub(crate) fn drive<C: Codec>(
        &self,
        plan: &Plan,
        codec: &C,
        source: &mut impl Source,
    ) -> Result<Figures, BenchError> {
        let figures = drive(plan, std::slice::from_ref(&self.address), codec, source, Some(&self.probe))?;
        figures.tally.without_refusals()?;
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_lines_give_the_first_address() {
        let line = r#"{"ready":true,"pid":7,"listen":["tcp://127.0.0.1:7171","unix:///x"],"more":[]}"#;
        let (_, address) = ReadyLine::parse(line).unwrap();
        assert_eq!(address.to_string(), "127.0.0.1:7171");
        let nowhere = r#"{"ready":true,"listen":[]}"#;
        for wrong in ["", "{}", r#"{"ready":false,"listen":[]}"#, "listening on 7171", nowhere] {
            assert!(ReadyLine::parse(wrong).is_err(), "{wrong}");
        }
    }
}
