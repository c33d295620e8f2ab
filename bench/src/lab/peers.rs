//! How Torc and its peers are started: each on one core, in memory only, on a port of 127.0.0.1.

use std::{fs, path::Path};

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
        .cpu(settings.cpu);
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
        .cpu(settings.cpu);
    // memcached refuses to run as root unless told to; to stay root keeps /proc/PID readable.
    if is_root() {
        launch = launch.args(["-u", "root"]);
    }
    let protocols = vec![Protocol::Memcache];
    Contender::by_port("memcached", version, &launch, port, protocols).map(Some)
}

/// Torc from the program file `program`; `extra` are further flags of `torc serve`.
pub fn torc(program: &Path, settings: ServerSettings, extra: &[String]) -> Result<Contender, BenchError> {
    let version = first_line(program, &["--version"]).unwrap_or_default();
    let launch = Launch::new(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--shards", "1"])
        .args(["--cpus", &settings.cpu.to_string()])
        .args(["--memory", &format!("{}m", settings.memory_mib)])
        .args(["--admin", "127.0.0.1:0"])
        .args(extra)
        .cpu(settings.cpu);
    let protocols = Protocol::ALL.to_vec();
    Contender::by_ready_line("torc", version, &launch, protocols)
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.is_some_and(|ids| ids.split_ascii_whitespace().nth(1) == Some("0"))
}
