//! A server under measurement.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    codec::raw::{Raw, RawSource},
    echo::Engine,
    error::BenchError,
    generator::{Plan, address::Address, drive, measure::Outcome},
    load::{Protocol, measure},
    process::{
        child::{Launch, ServerProcess},
        probe::Probe,
    },
    workload::args::Workload,
};

/// How long a server may work on after its clients have left.
const REST_MAX: Duration = Duration::from_secs(10);
/// A server that uses less than [`REST_SHARE`] of this time has come to rest.
const REST_PROBE: Duration = Duration::from_millis(50);
const REST_SHARE: f64 = 0.1;

/// A running server, what it is, and where its costs can be read. Dropping it ends the server.
#[derive(Debug)]
pub struct Contender {
    pub name: String,
    pub version: String,
    pub command: String,
    pub protocols: Vec<Protocol>,
    pub address: Address,
    /// One address a shard, where there are several.
    pub shard_addresses: Vec<Address>,
    /// Where `/metrics` is, if served.
    pub admin: Option<String>,
    pub probe: Probe,
    _process: ServerProcess,
}

/// The line with which Torc and the echo servers say that they serve.
#[derive(Debug, Deserialize)]
pub struct ReadyLine {
    ready: bool,
    listen: Vec<String>,
    #[serde(default)]
    shard_listen: Vec<String>,
    #[serde(default)]
    admin: Option<String>,
}

impl ReadyLine {
    pub fn parse(line: &str) -> Result<Self, BenchError> {
        let parsed = serde_json::from_str::<Self>(line).ok();
        parsed
            .filter(|ready| ready.ready)
            .ok_or_else(|| BenchError::Invalid(format!("not a server's ready line: {}", line.trim_end())))
    }

    /// The first address that the server listens on.
    pub fn address(&self) -> Result<Address, BenchError> {
        let address = self.listen.iter().find_map(|text| text.parse().ok());
        address.ok_or_else(|| BenchError::Invalid("the ready line has no address".into()))
    }
}

impl Contender {
    /// A server that prints a ready line.
    pub fn by_ready_line(
        name: &str,
        version: String,
        launch: &Launch,
        protocols: Vec<Protocol>,
    ) -> Result<Self, BenchError> {
        let (process, line) = launch.until_line()?;
        let ready = ReadyLine::parse(&line)?;
        Ok(Self {
            name: name.into(),
            version,
            command: launch.text(),
            protocols,
            address: ready.address()?,
            shard_addresses: ready.shard_listen.iter().filter_map(|text| text.parse().ok()).collect(),
            admin: ready.admin,
            probe: Probe::new(process.pid())?,
            _process: process,
        })
    }

    /// A server that was told its port.
    pub fn by_port(
        name: &str,
        version: String,
        launch: &Launch,
        port: u16,
        protocols: Vec<Protocol>,
    ) -> Result<Self, BenchError> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let process = launch.until_listening(address)?;
        Ok(Self {
            name: name.into(),
            version,
            command: launch.text(),
            protocols,
            address: Address::Tcp(address),
            shard_addresses: Vec::new(),
            admin: None,
            probe: Probe::new(process.pid())?,
            _process: process,
        })
    }

    /// This program again, as an echo server on core `cpu`.
    pub fn echo(engine: Engine, own_subcommand: &[&str], cpu: usize) -> Result<Self, BenchError> {
        let program = std::env::current_exe();
        let program = program.map_err(BenchError::io("looking for this program's own file"))?;
        let kind = engine.name().trim_start_matches("echo-");
        let launch = Launch::new(program).args(own_subcommand).args(["echo", "--engine", kind]).cpus(&[cpu]);
        let version = env!("CARGO_PKG_VERSION").into();
        Self::by_ready_line(engine.name(), version, &launch, Vec::new())
    }

    /// Waits until the server has nothing to do any more: what it still works on when its clients have left would
    /// slow the next one down, which shares its core.
    pub fn rest(&self) -> Result<(), BenchError> {
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

    /// Loads an echo server with requests of these sizes.
    pub fn measure_raw(&self, plan: &Plan, raw: Raw) -> Result<Outcome, BenchError> {
        let servers = std::slice::from_ref(&self.address);
        let probe = Some(&self.probe);
        drive(plan, servers, &raw, &mut RawSource(raw), probe, &mut |_| ())
    }

    /// Loads a server of keys and values; another `run` draws other keys.
    pub fn measure(
        &self,
        protocol: Protocol,
        plan: &Plan,
        workload: &Workload,
        run: u64,
    ) -> Result<Outcome, BenchError> {
        let servers = std::slice::from_ref(&self.address);
        let probe = Some(&self.probe);
        let outcome = measure(protocol, plan, servers, workload, u64::MAX, run, probe, &mut |_| ())?;
        outcome.tally.without_refusals()?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_lines_give_the_first_address() {
        let line = r#"{"ready":true,"pid":7,"listen":["tcp://127.0.0.1:7171","unix:///x"],"more":[]}"#;
        let ready = ReadyLine::parse(line).unwrap();
        assert_eq!(ready.address().unwrap().to_string(), "127.0.0.1:7171");
        for wrong in ["", "{}", r#"{"ready":false,"listen":[]}"#, "listening on 7171"] {
            assert!(ReadyLine::parse(wrong).is_err(), "{wrong}");
        }
        let nowhere = ReadyLine::parse(r#"{"ready":true,"listen":[]}"#).unwrap();
        assert!(nowhere.address().is_err());
    }
}
