//! How Torc and its peers are started: each on one core, in memory only, on a port of 127.0.0.1.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;

use super::contender::Contender;
use crate::{
    error::BenchError,
    generator::address::Address,
    load::Protocol,
    process::child::{first_line, free_port, installed, this_program},
};

/// Starts Torc, redis-server and memcached, those of the two that are installed.
pub(crate) fn start_all(torc: &TorcArgs, cpu: usize, memory_mib: u64) -> Result<Vec<Contender>, BenchError> {
    start(torc, cpu, memory_mib, &[])
}

/// As [`start_all`], with values of up to 16 MiB everywhere.
pub(crate) fn start_for_long_values(
    torc: &TorcArgs,
    cpu: usize,
    memory_mib: u64,
) -> Result<Vec<Contender>, BenchError> {
    start(torc, cpu, memory_mib, &["-I", "16m"])
}

fn start(
    torc: &TorcArgs,
    cpu: usize,
    memory_mib: u64,
    memcached_args: &[&str],
) -> Result<Vec<Contender>, BenchError> {
    let mut servers = vec![torc.start(&[cpu], memory_mib << 20)?];
    servers.extend(redis(cpu, memory_mib)?);
    servers.extend(memcached(cpu, memory_mib, memcached_args)?);
    Ok(servers)
}

fn redis(cpu: usize, memory_mib: u64) -> Result<Option<Contender>, BenchError> {
    redis_with(cpu, memory_mib, &["--appendonly".into(), "no".into()])
}

/// redis-server with further arguments, if installed.
pub(crate) fn redis_with(
    cpu: usize,
    memory_mib: u64,
    args: &[String],
) -> Result<Option<Contender>, BenchError> {
    let Some(program) = installed("redis-server") else {
        return Ok(None);
    };
    let (port, address) = free_address()?;
    let version = first_line(&program, &["--version"]).unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--io-threads", "1"])
        .args(["--maxmemory", &format!("{memory_mib}mb")])
        .args(["--maxmemory-policy", "allkeys-lru", "--loglevel", "warning"])
        .args(args);
    Contender::by_address("redis", version, command, cpu, address, Protocol::Resp).map(Some)
}

/// memcached with further arguments, if installed.
pub(crate) fn memcached(cpu: usize, memory_mib: u64, args: &[&str]) -> Result<Option<Contender>, BenchError> {
    let Some(program) = installed("memcached") else {
        return Ok(None);
    };
    let (port, address) = free_address()?;
    let port = port.to_string();
    memcached_at(program, &["-l", "127.0.0.1", "-p", &port, "-U", "0"], address, cpu, memory_mib, args)
        .map(Some)
}

fn memcached_at(
    program: PathBuf,
    listen: &[&str],
    address: Address,
    cpu: usize,
    memory_mib: u64,
    args: &[&str],
) -> Result<Contender, BenchError> {
    let version = first_line(&program, &["--version"]).unwrap_or_default();
    let mut command = Command::new(program);
    command.args(listen).args(["-t", "1", "-m", &memory_mib.to_string(), "-c", "2048"]).args(args);
    // memcached refuses to run as root unless told to; to stay root keeps /proc/PID readable.
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    Contender::by_address("memcached", version, command, cpu, address, Protocol::Memcache)
}

/// A free port of this machine.
fn free_address() -> Result<(u16, Address), BenchError> {
    let port = free_port()?;
    Ok((port, Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))))
}

/// redis-server and memcached on Unix sockets of this folder, those that are installed.
pub(crate) fn on_unix_sockets(
    folder: &Path,
    cpu: usize,
    memory_mib: u64,
) -> Result<Vec<Contender>, BenchError> {
    let mut peers = Vec::new();
    let path = folder.join("redis.sock");
    let more = ["--appendonly", "no", "--unixsocket", &path.to_string_lossy()].map(String::from);
    if let Some(mut redis) = redis_with(cpu, memory_mib, &more)? {
        redis.unix = Some(Address::Unix(path));
        peers.push(redis);
    }
    if let Some(program) = installed("memcached") {
        let path = folder.join("memcached.sock");
        let listen = ["-s", &path.to_string_lossy()];
        peers.push(memcached_at(program, &listen, Address::Unix(path.clone()), cpu, memory_mib, &[])?);
    }
    Ok(peers)
}

/// Flags that say which Torc is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct TorcArgs {
    /// The torc program; this program by default
    #[arg(long, value_name = "FILE")]
    torc: Option<PathBuf>,
    /// A further argument of `torc serve`; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    torc_arg: Vec<String>,
}

impl TorcArgs {
    /// Starts Torc with a shard on each of `cpus`.
    pub(crate) fn start(&self, cpus: &[usize], memory_bytes: u64) -> Result<Contender, BenchError> {
        self.start_with(&[], cpus, memory_bytes)
    }

    /// As [`TorcArgs::start`], with further arguments of `torc serve`.
    pub(crate) fn start_with(
        &self,
        arguments: &[String],
        cpus: &[usize],
        memory_bytes: u64,
    ) -> Result<Contender, BenchError> {
        let cpu_list = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        self.start_shards(arguments, (cpus.len(), &cpu_list), cpus, memory_bytes)
    }

    /// As [`TorcArgs::start_with`], with several shards that share one core.
    pub(crate) fn start_on_one(
        &self,
        arguments: &[String],
        shards: usize,
        cpu: usize,
        memory_bytes: u64,
    ) -> Result<Contender, BenchError> {
        self.start_shards(arguments, (shards, "auto"), &[cpu], memory_bytes)
    }

    fn start_shards(
        &self,
        arguments: &[String],
        (shards, pinned): (usize, &str),
        cpus: &[usize],
        memory_bytes: u64,
    ) -> Result<Contender, BenchError> {
        let program = self.torc.clone().map_or_else(this_program, Ok)?;
        let version = first_line(&program, &["--version"]).unwrap_or_default();
        // Several shards get ports of their own, for clients that know the slots.
        let shard_ports = if shards > 1 { "0" } else { "off" };
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--shards", &shards.to_string()])
            .args(["--shard-port-base", shard_ports, "--cpus", pinned])
            .args(["--memory", &format!("{}k", memory_bytes.div_ceil(1 << 10)), "--admin", "127.0.0.1:0"])
            .args(arguments)
            .args(&self.torc_arg);
        Contender::by_ready_line("torc", version, command, cpus, Protocol::ALL.to_vec())
    }
}
