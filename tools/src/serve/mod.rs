//! `torc serve`: settings, control plane, shards, and an orderly end.
//!
//! ```text
//!   main thread (control plane, tokio)      shard threads (torc-net)
//!   ──────────────────────────────────      ────────────────────────
//!   signals, admin HTTP              
//!   Server::start ─────────────────────────> bind, pin, loop
//!   ready line                       
//!   ... a signal ...                 
//!   drain ─────────────────────────────────> accept no more, answer what is under way
//!   join  <───────────────────────────────── end
//! ```
//!
//! Stdout carries one line, when everything is bound; stderr carries banner and log.

mod balance;
mod banner;
mod running;
mod tier;
mod trimmer;

use crate::admin::{self, Admin, Phase, Rearm};
use crate::args::ServeArgs;
use crate::config::{self, Config, Origin};
use crate::exit::{self, Failure};
use crate::logging;
use crate::machine::{self, FILES_RESERVED, Machine, connections_for};
use running::Running;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use torc_net::server::OnShutdown;
use torc_net::tier::Durability;

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let machine = Machine::here();
    let mut config = config::load(&args.flags, &machine)?;
    fit_files(&mut config, machine::raise_file_limit())?;
    if args.check {
        config.warnings.iter().for_each(|warning| exit::warn(warning));
        return exit::print(&table(&config.entries));
    }
    logging::init(&config);
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if config.server.memory_bytes < balance::SMALL_MEMORY_BYTES {
        machine::keep_little_in_allocator();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the control plane cannot start: {error}")))?;
    let result = runtime.block_on(serve(config, &machine));
    // A start or a drain that hangs in a blocking call must not hold the process.
    runtime.shutdown_background();
    result
}

/// Keeps the connections below the descriptors that there are. Otherwise the server would run out of descriptors late, with
/// errors that do not name the cause.
fn fit_files(config: &mut Config, files: u64) -> Result<(), Failure> {
    const NAME: &str = "max-connections";
    let most = connections_for(files) as usize;
    if config.server.connections_max <= most {
        return Ok(());
    }
    let Some(entry) = config.entries.iter_mut().find(|entry| entry.name == NAME) else { return Ok(()) };
    if entry.origin != Origin::Default.to_string() {
        return Err(Failure::Usage(format!(
            "--{NAME}: {} needs {} open files and the limit is {files}; raise it (ulimit -n, LimitNOFILE=) or \
             allow at most {most} connections (from {})",
            config.server.connections_max,
            config.server.connections_max as u64 + FILES_RESERVED,
            entry.origin
        )));
    }
    entry.value = most.to_string();
    entry.origin = format!("{}: the limit of open files is {files}", entry.origin);
    config.server.connections_max = most;
    config.warnings.push(format!(
        "--{NAME} is {most}, as no more than {files} files may be open; raise that limit (ulimit -n, LimitNOFILE=)"
    ));
    Ok(())
}

async fn serve(mut config: Config, machine: &Machine) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    if config.shutdown_command {
        let asked = stop.asked.clone();
        config.server.on_shutdown = Some(OnShutdown::new(move || asked.notify_one()));
    }
    let running: Arc<OnceLock<Running>> = Arc::default();
    let (figures, tier, rearmed) = (running.clone(), running.clone(), running.clone());
    let is_always = config.server.tier.as_ref().is_some_and(|tier| tier.durability == Durability::Always);
    let admin = Admin::new(
        move || figures.get().map(Running::families).unwrap_or_default(),
        move || tier.get().and_then(|running| running.trouble(is_always)),
        move || rearmed.get().map_or_else(|| Rearm::Refused("the server starts".into()), Running::rearm),
    );
    let admin_address = start_admin(&config, &admin).await?;

    let drain_timeout = config.server.drain_timeout;
    let started = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || Running::start(&config))
    };
    let server = tokio::select! {
        started = started => started.map_err(Failure::failed)??,
        () = stop.wait() => return Ok(()),
    };
    let server = running.get_or_init(|| server);
    banner::show(&config, machine, server, admin_address);
    announce(&banner::ready_line(&config, server, admin_address))?;
    admin.enter(Phase::Ready);

    balance::until(server, stop.wait()).await;
    admin.enter(Phase::Draining);
    tracing::info!(timeout = ?drain_timeout, "draining: no new connections, answering what is under way");
    drain(running, drain_timeout, &mut stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// Beyond the drain's own time-out: what a shard may need to notice it.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

async fn drain(running: Arc<OnceLock<Running>>, timeout: Duration, stop: &mut Stop) {
    let done = tokio::task::spawn_blocking(move || running.get().map_or(Ok(()), Running::drain_and_join));
    tokio::select! {
        done = done => if let Ok(Err(error)) = done {
            tracing::error!(error, "a shard did not end well");
        },
        () = stop.wait() => tracing::warn!("second signal: ending at once"),
        () = tokio::time::sleep(timeout + DRAIN_GRACE) => tracing::warn!("--drain-timeout is over: ending"),
    }
}

async fn start_admin(config: &Config, admin: &Arc<Admin>) -> Result<Option<SocketAddr>, Failure> {
    let Some(address) = config.admin else { return Ok(None) };
    let fail = |error: std::io::Error| {
        let cure = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; another server has it: give another --admin, or --admin off",
            _ => "",
        };
        Failure::Failed(format!("--admin: {address} cannot be listened on: {error}{cure}"))
    };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    tokio::spawn(admin::serve(listener, admin.clone()));
    Ok(Some(bound))
}

/// Whoever started us may not care for the ready line; the server runs on without its reader.
fn announce(line: &str) -> Result<(), Failure> {
    match exit::print(line) {
        Err(Failure::OutputClosed) => Ok(()),
        other => other,
    }
}

/// SIGTERM and SIGINT, which mean the same, as does `shutdown` of a client; and SIGXFSZ, which is caught so that a tier beyond the limit of file sizes (ulimit
/// -f) is refused with words.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    asked: Arc<Notify>,
    _file_size: Signal,
}

impl Stop {
    fn new() -> Result<Stop, Failure> {
        let fail = |error| Failure::Failed(format!("signals cannot be caught: {error}"));
        Ok(Stop {
            terminate: signal(SignalKind::terminate()).map_err(fail)?,
            interrupt: signal(SignalKind::interrupt()).map_err(fail)?,
            asked: Arc::default(),
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ)).map_err(fail)?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = self.asked.notified() => {}
        }
    }
}

/// Settings in columns: name, value, origin.
fn table(entries: &[config::Entry]) -> String {
    let width = |text: fn(&config::Entry) -> usize| entries.iter().map(text).max().unwrap_or(0);
    let (names, values) = (width(|entry| entry.name.len()), width(|entry| entry.value.len()));
    let line =
        |entry: &config::Entry| format!("{:names$}  {:values$}  {}\n", entry.name, entry.value, entry.origin);
    entries.iter().map(line).collect()
}
