//! How Torc and its peers are started: each on one core, in memory only, on a port of 127.0.0.1.

use std::{fs, path::PathBuf};

use clap::Args;

use super::contender::Contender;
use crate::{
    error::BenchError,
    load::Protocol,
    process::child::{Launch, first_line, free_port, installed},
};

/// Settings that every server gets.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    pub cpu: usize,
    pub memory_mib: u64,
}

/// redis-server, if installed.
pub fn redis(settings: ServerSettings) -> Result<Option<Contender>, BenchError> {
    let Some(program) = installed("redis-server") else {
        return Ok(None);
    };
    let port = free_port()?;
    let version = first_line(&program, &["--version"]).unwrap_or_default();
    let launch = Launch::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--io-threads", "1"])
        .args(["--maxmemory", &format!("{}mb", settings.memory_mib)])
        .args(["--maxmemory-policy", "allkeys-lru", "--loglevel", "warning"])
        .cpus(&[settings.cpu]);
    let protocols = vec![Protocol::Resp];
    Contender::by_port("redis", version, &launch, port, protocols).map(Some)
}

/// memcached, if installed.
pub fn memcached(settings: ServerSettings) -> Result<Option<Contender>, BenchError> {
    let Some(program) = installed("memcached") else {
        return Ok(None);
    };
    let port = free_port()?;
    let version = first_line(&program, &["--version"]).unwrap_or_default();
    let mut launch = Launch::new(program)
        .args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0"])
        .args(["-t", "1", "-m", &settings.memory_mib.to_string(), "-c", "2048"])
        .cpus(&[settings.cpu]);
    // memcached refuses to run as root unless told to; to stay root keeps /proc/PID readable.
    if is_root() {
        launch = launch.args(["-u", "root"]);
    }
    let protocols = vec![Protocol::Memcache];
    Contender::by_port("memcached", version, &launch, port, protocols).map(Some)
}

/// Flags that say which Torc is measured.
#[derive(Args, Clone, Debug)]
pub struct TorcArgs {
    /// The torc program; this program by default
    #[arg(long, value_name = "FILE")]
    torc: Option<PathBuf>,
    /// A further argument of `torc serve`; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    torc_arg: Vec<String>,
}

impl TorcArgs {
    /// Starts Torc with one shard.
    pub fn start(&self, settings: ServerSettings) -> Result<Contender, BenchError> {
        self.start_on(&[settings.cpu], settings.memory_mib << 20)
    }

    /// Starts Torc with a shard on each of `cpus`.
    pub fn start_on(&self, cpus: &[usize], memory_bytes: u64) -> Result<Contender, BenchError> {
        let own = std::env::current_exe();
        let own = own.map_err(BenchError::io("looking for this program's own file"))?;
        let program = self.torc.clone().unwrap_or(own);
        let version = first_line(&program, &["--version"]).unwrap_or_default();
        let cpu_list = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // Several shards get ports of their own, for clients that know the slots.
        let shard_ports = if cpus.len() > 1 { "0" } else { "off" };
        let launch = Launch::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--shards", &cpus.len().to_string()])
            .args(["--shard-port-base", shard_ports, "--cpus", &cpu_list])
            .args(["--memory", &format!("{}k", memory_bytes.div_ceil(1 << 10)), "--admin", "127.0.0.1:0"])
            .args(&self.torc_arg)
            .cpus(cpus);
        let protocols = Protocol::ALL.to_vec();
        Contender::by_ready_line("torc", version, &launch, protocols)
    }
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.is_some_and(|ids| ids.split_ascii_whitespace().nth(1) == Some("0"))
}
