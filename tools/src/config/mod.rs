//! From flags, environment and file to one checked, ready object.
//!
//! ```text
//!   flags ─┐
//!   env   ─┼─ sources::merge ─> texts by setting ─ Config::from_texts ─> Config ─ serve
//!   file  ─┘   (who wins)                           (what it means, what it needs)
//! ```
//!
//! The program below sees only [`Config`]: every value parsed, every `auto` replaced by what was found on the
//! machine, every combination checked. Nothing here opens a socket or starts a thread.

mod error;
mod file;
mod rdma;
pub(crate) mod settings;
mod shared_memory;
pub(crate) mod sources;
mod tier;
mod users;
pub(crate) mod value;

pub(crate) use error::ConfigError;
pub(crate) use sources::{Flags, Origin};
pub(crate) use value::Size;

use crate::machine::Machine;
use sources::Texts;
use std::net::SocketAddr;
use std::time::Duration;
use torc_engine::eviction::Algorithm;
use torc_engine::item::KEY_BYTES_MAX;
use torc_engine::spaces::DATABASES_MAX;
use torc_net::event_classes::EventClasses;
use torc_net::server::{Endpoint, Listen, ServerConfig, overlap, value_bytes_possible};
use value::{show_cpus, show_duration, show_listen, show_short_time};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    /// Clients may end the server.
    pub(crate) shutdown_command: bool,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) log: LogFormat,
    pub(crate) log_level: tracing::Level,
    /// What `--check` prints: every setting as it is used, and why.
    pub(crate) entries: Vec<Entry>,
    /// What is no error and should be known: said on stderr, or in the log.
    pub(crate) warnings: Vec<String>,
}

/// A setting as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) origin: String,
}

/// Reads everything that is set and checks it against the machine.
pub(crate) fn load(flags: &Flags, machine: &Machine) -> Result<Config, ConfigError> {
    // Bytes that are no text are shown as such by the error that they lead to.
    let environment = |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
    let texts = sources::merge(flags, &environment, &|path| std::fs::read_to_string(path))?;
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let warnings = sources::misspelt(names.iter().map(String::as_str));
    Ok(Config { warnings, ..Config::from_texts(&texts, machine)? })
}

impl Config {
    pub(crate) fn from_texts(texts: &Texts, machine: &Machine) -> Result<Config, ConfigError> {
        let mut reader = Reader { texts, entries: Vec::new() };
        let r = &mut reader;

        let allow_remote = r.one("allow-remote", switch, bool::to_string)?;
        let users = r.users_let_in()?;
        let show = |time: &Option<Duration>| show_duration(*time);
        let auth_timeout = r.one("auth-timeout", value::duration, show)?;
        let debug_commands = r.one("enable-debug-command", switch, bool::to_string)?;
        let shutdown_command = r.one("enable-shutdown-command", switch, bool::to_string)?;
        let listen = r.listen(allow_remote || !users.is_empty())?;
        let announce_host = r.announce_host(&listen)?;
        let transport = r.one("transport", |text| text.parse(), ToString::to_string)?;
        let shared_memory = r.shared_memory(&listen)?;
        let rdma = r.rdma()?;
        let cpus = r.cpus(machine)?;
        let (shards, cpus) = r.shards(cpus, machine)?;
        let shard_port_base = r.shard_ports(&listen, shards)?;
        let show = |time: &Duration| show_short_time(*time);
        let spin = r.one("spin", value::short_time, show)?;
        let min_wait = r.one("min-wait", value::short_time, show)?;

        let memory_bytes = r.memory(machine, shards)?;
        let eviction = r.one("eviction", eviction, |algorithm| algorithm.name().into())?;
        let segment_bytes = r.one("segment-size", auto(segment_size), |size| match size {
            Some(size) => size.to_string(),
            None => "auto".into(),
        })?;
        let receive_buffers = r.one("receive-buffers", auto(count::<16, 32768>), |count| match count {
            Some(count) => count.to_string(),
            None => "auto".into(),
        })?;

        let client_memory = r.one("client-memory", auto(value::size), |size| match size {
            Some(size) => size.to_string(),
            None => "auto".into(),
        })?;
        let tier = r.tier(memory_bytes, machine)?;

        let key_bytes_max = r.size("max-key", 1, KEY_BYTES_MAX as u64)? as usize;
        let connections_max = r.one("max-connections", count::<1, CONNECTIONS_MAX>, u64::to_string)? as usize;
        let output_bytes_max = r.size("output-limit", 64 << 10, 1 << 40)? as usize;
        let subscriber_bytes_max = r.size("subscriber-limit", 64 << 10, 1 << 40)? as usize;
        let subscriptions_max = r.one("max-subscriptions", count::<1, 100_000_000>, u64::to_string)? as usize;
        let tracking_keys_max =
            r.one("tracking-table-max", count::<1, 1_000_000_000>, u64::to_string)? as usize;
        let event_classes =
            r.one("notify-keyspace-events", event_classes, |classes| match classes.to_string() {
                none if none.is_empty() => "off".into(),
                letters => letters,
            })?;
        let frame_bytes_max = r.size("max-frame", 4 << 10, 64 << 20)? as usize;
        let databases = r.one("databases", count::<1, { DATABASES_MAX as u64 }>, u64::to_string)? as u16;
        let arguments_max = r.one("max-arguments", count::<16, 1_048_576>, u64::to_string)? as usize;
        let script_time_max = r.script_time()?;
        let script_memory = r.one("script-memory-max", auto(script_memory), |size| match size {
            Some(size) => size.to_string(),
            None => "auto".into(),
        })?;
        let script_cache_bytes_max = r.size("script-cache-max", 64 << 10, 1 << 30)? as usize;
        let queue_parts_max = r.one("max-waiting", count::<1, 65536>, u64::to_string)? as usize;
        let value_bytes_inline = r.size("stream-above", 1 << 10, 1 << 20)? as usize;
        let show = |time: &Option<Duration>| show_duration(*time);
        let slow_client_timeout = r.one("slow-client-timeout", value::duration, show)?;
        let request_timeout = r.one("request-timeout", value::duration, show)?;
        let idle_timeout = r.one("idle-timeout", value::duration, show)?;
        let tcp_keepalive = r.one("tcp-keepalive", value::duration, show)?;
        let tcp_user_timeout = r.one("tcp-user-timeout", value::duration, show)?;
        let drain_timeout = r.one("drain-timeout", value::duration, show)?.unwrap_or_default();

        let admin = r.admin(allow_remote, &taken(&listen, shard_port_base, shards))?;
        let log = r.one("log", log_format, |_| String::new())?;
        r.show_as_written("log");
        let log_level = r.one("log-level", level, |level| level.to_string().to_ascii_lowercase())?;

        let mut server = ServerConfig {
            listen,
            shard_port_base,
            announce_host,
            users,
            auth_timeout,
            debug_commands,
            on_shutdown: None,
            shards,
            cpus,
            memory_bytes,
            client_memory_bytes: client_memory.map(|Size(bytes)| bytes),
            segment_bytes: segment_bytes.map(|Size(bytes)| bytes as usize),
            eviction,
            value_bytes_max: 0,
            key_bytes_max,
            value_bytes_inline,
            frame_bytes_max,
            arguments_max,
            databases,
            connections_max,
            tier,
            transport,
            spin,
            min_wait,
            shared_memory,
            rdma,
            output_bytes_max,
            subscriber_bytes_max,
            subscriptions_max,
            tracking_keys_max,
            event_classes,
            queue_parts_max,
            receive_buffers: receive_buffers.map(|count| count as u16),
            idle_timeout,
            slow_client_timeout,
            request_timeout,
            tcp_keepalive,
            tcp_user_timeout,
            script_time_max,
            script_memory_bytes_max: script_memory.map(|Size(bytes)| bytes),
            script_cache_bytes_max,
            drain_timeout,
        };
        server.value_bytes_max = r.value_max(&server)?;
        Ok(Config {
            server,
            shutdown_command,
            admin,
            log,
            log_level,
            entries: reader.entries,
            warnings: Vec::new(),
        })
    }
}

/// How long a script may be let run.
const SCRIPT_TIME_MIN: Duration = Duration::from_millis(1);
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(60);

/// What a script may take.
fn script_memory(text: &str) -> Result<Size, String> {
    let Size(bytes) = value::size(text)?;
    if (256 << 10..=1 << 30).contains(&bytes) {
        Ok(Size(bytes))
    } else {
        Err("is not from 256k to 1g".into())
    }
}

const CONNECTIONS_MAX: u64 = 10_000_000;
/// A shard's number has 16 bits on the wire; 1,024 shards are more than any machine has cores.
const SHARDS_MAX: u64 = 1024;
/// A shard with less cannot hold its index, its buffers and enough segments to evict well.
const SHARD_BYTES_MIN: u64 = 8 << 20;
/// `auto` gives no shard less: with it, crowds of clients do not make it exceed its memory.
const SHARD_BYTES_AUTO: u64 = 16 << 20;
/// The process itself takes some, however few shards there are.
const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// What `auto` memory is at most.
const MEMORY_AUTO_MAX: u64 = 1 << 30;
/// How far the shards' ports lie above the first listener's.
const SHARD_PORT_DISTANCE: u16 = 100;

/// Parses settings and remembers what came out.
struct Reader<'t> {
    texts: &'t Texts,
    entries: Vec<Entry>,
}

type Parse<T> = Result<T, String>;

impl Reader<'_> {
    fn error(&self, name: &'static str, reason: impl Into<String>) -> ConfigError {
        let raw = &self.texts[name];
        ConfigError::Value {
            setting: name,
            origin: raw.origin.clone(),
            text: raw.texts.join(","),
            reason: reason.into(),
        }
    }

    fn note(&mut self, name: &'static str, value: String, why: &str) {
        let origin = self.texts[name].origin.to_string();
        let origin = if why.is_empty() { origin } else { format!("{origin}: {why}") };
        self.entries.push(Entry { name, value, origin });
    }

    /// The last text of a setting.
    fn text(&self, name: &'static str) -> &str {
        self.texts[name].texts.last().map_or("", String::as_str)
    }

    fn is_auto(&self, name: &'static str) -> bool {
        self.text(name) == "auto"
    }

    fn parse<T>(&self, name: &'static str, parse: impl Fn(&str) -> Parse<T>) -> Result<T, ConfigError> {
        parse(self.text(name)).map_err(|reason| ConfigError::Value {
            setting: name,
            origin: self.texts[name].origin.clone(),
            text: self.text(name).to_owned(),
            reason,
        })
    }

    fn one<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Parse<T>,
        show: impl Fn(&T) -> String,
    ) -> Result<T, ConfigError> {
        let value = self.parse(name, parse)?;
        self.note(name, show(&value), "");
        Ok(value)
    }

    /// For settings whose own words are the best way to show them.
    fn show_as_written(&mut self, name: &'static str) {
        let text = self.text(name).to_owned();
        if let Some(entry) = self.entries.last_mut() {
            entry.value = text;
        }
    }

    fn size(&mut self, name: &'static str, least: u64, most: u64) -> Result<u64, ConfigError> {
        let Size(bytes) = self.one(name, value::size, Size::to_string)?;
        if bytes < least {
            return Err(self.error(name, format!("is too small; the least is {}", Size(least))));
        }
        if bytes > most {
            return Err(self.error(name, format!("is too large; the most is {}", Size(most))));
        }
        Ok(bytes)
    }

    fn script_time(&mut self) -> Result<Duration, ConfigError> {
        const NAME: &str = "script-time-max";
        let time = self.one(NAME, value::duration, |time| show_duration(*time))?;
        match time.filter(|time| (SCRIPT_TIME_MIN..=SCRIPT_TIME_MAX).contains(time)) {
            Some(time) => Ok(time),
            None => {
                Err(self
                    .error(NAME, "is not from 1ms to 60s: a shard does nothing else meanwhile".to_owned()))
            }
        }
    }

    /// A default that no shard can keep is lowered; what somebody has asked for is not.
    fn value_max(&mut self, server: &ServerConfig) -> Result<u64, ConfigError> {
        const NAME: &str = "max-value";
        let most = round(value_bytes_possible(server));
        let Size(bytes) = self.parse(NAME, value::size)?;
        let is_default = self.texts[NAME].origin == Origin::Default;
        if bytes == 0 || (bytes > most && !is_default) {
            return Err(self.error(
                NAME,
                format!(
                    "is not from 1 to {}, a quarter of what each of {} shards has for items; give more --memory or fewer --shards",
                    Size(most),
                    server.shards
                ),
            ));
        }
        let why = if bytes > most { "a quarter of what a shard has for items" } else { "" };
        self.note(NAME, Size(bytes.min(most)).to_string(), why);
        Ok(bytes.min(most))
    }

    fn listen(&mut self, allow_remote: bool) -> Result<Vec<Listen>, ConfigError> {
        let raw = &self.texts["listen"];
        let mut listen: Vec<Listen> = Vec::new();
        for text in &raw.texts {
            let fail = |reason| ConfigError::Value {
                setting: "listen",
                origin: raw.origin.clone(),
                text: text.clone(),
                reason,
            };
            let entry = value::listen(text).map_err(fail)?;
            if let Endpoint::Tcp(address) = &entry.endpoint {
                local_or_allowed(*address, allow_remote).map_err(fail)?;
            }
            let free_port = matches!(&entry.endpoint, Endpoint::Tcp(address) if address.port() == 0);
            if !free_port && listen.iter().any(|other| other.endpoint == entry.endpoint) {
                return Err(fail("is given twice".into()));
            }
            listen.push(entry);
        }
        if listen.is_empty() {
            return Err(self.error("listen", "is empty; give at least one address"));
        }
        let shown: Vec<String> = listen.iter().map(show_listen).collect();
        self.note("listen", shown.join(","), "");
        Ok(listen)
    }

    /// An empty host is the protocols' way to say: the one that you are connected to.
    fn announce_host(&mut self, listen: &[Listen]) -> Result<Option<String>, ConfigError> {
        const NAME: &str = "announce-host";
        let everywhere = listen.iter().find_map(|entry| match &entry.endpoint {
            Endpoint::Tcp(address) => Some(address.ip().is_unspecified()),
            Endpoint::Unix(_) => None,
        });
        let (host, shown, why) = match self.text(NAME) {
            "same" => (Some(String::new()), "same".into(), ""),
            "auto" if everywhere == Some(true) => {
                (Some(String::new()), "same".into(), "the listen address is every address")
            }
            "auto" => (None, "the listen address".into(), ""),
            _ => {
                let host = self.parse(NAME, host)?;
                (Some(host.clone()), host, "")
            }
        };
        self.note(NAME, shown, why);
        Ok(host)
    }

    /// The port of shard 0; 0: any.
    fn shard_ports(&mut self, listen: &[Listen], shards: u16) -> Result<Option<u16>, ConfigError> {
        const NAME: &str = "shard-port-base";
        let first = listen.iter().find_map(|entry| match &entry.endpoint {
            Endpoint::Tcp(address) => Some(address.port()),
            Endpoint::Unix(_) => None,
        });
        let fits = |base: &u16| base.checked_add(shards - 1).is_some();
        let (base, why) = match self.text(NAME) {
            "off" => (None, ""),
            "auto" if shards == 1 => (None, "the common port is the only shard's own"),
            "auto" => match first {
                None => (None, "no TCP listener"),
                Some(0) => (Some(0), "the listener's port is any, too"),
                Some(port) => match port.checked_add(SHARD_PORT_DISTANCE).filter(fits) {
                    Some(base) => (Some(base), "the first TCP listener's port plus 100"),
                    None => (Some(0), "no room above the listener's port"),
                },
            },
            _ => (Some(self.parse(NAME, count::<0, 65535>)? as u16), ""),
        };
        if base.is_some_and(|base| !fits(&base)) {
            return Err(self
                .error(NAME, format!("leaves no port for the last of {shards} shards; choose a lower one")));
        }
        self.note(NAME, base.map_or("off".into(), |base| base.to_string()), why);
        Ok(base)
    }

    /// The CPUs that may be used, and whether the user chose them.
    fn cpus(&mut self, machine: &Machine) -> Result<Vec<usize>, ConfigError> {
        if self.is_auto("cpus") {
            return Ok(machine.cpus_allowed.clone());
        }
        self.allowed_cpus("cpus", machine)
    }

    fn allowed_cpus(&self, name: &'static str, machine: &Machine) -> Result<Vec<usize>, ConfigError> {
        let cpus = self.parse(name, value::cpu_list)?;
        match cpus.iter().find(|cpu| !machine.cpus_allowed.contains(cpu)) {
            None => Ok(cpus),
            Some(cpu) => Err(self.error(
                name,
                format!("names CPU {cpu}; this process may use {}", show_cpus(&machine.cpus_allowed)),
            )),
        }
    }

    fn shards(&mut self, cpus: Vec<usize>, machine: &Machine) -> Result<(u16, Vec<usize>), ConfigError> {
        let chosen = !self.is_auto("cpus");
        let quota = machine.cpu_quota.map(|quota| (quota.floor() as usize).max(1));
        let (shards, why) = if !self.is_auto("shards") {
            (self.parse("shards", count::<1, SHARDS_MAX>)? as usize, "")
        } else if chosen {
            (cpus.len(), "one for each CPU of --cpus")
        } else if let Some(quota) = quota.filter(|quota| *quota < cpus.len()) {
            (quota, "as many as the cgroup's CPU quota allows")
        } else {
            (cpus.len(), "one for each CPU this process may use")
        };
        let (shards, why) = match self.shards_max_auto()? {
            Some(most) if most < shards => (most, "one for every 16m of --memory"),
            _ => (shards, why),
        };
        let shards = shards.clamp(1, SHARDS_MAX as usize);
        self.note("shards", shards.to_string(), why);
        let cpus = if chosen { cpus } else { cpus.into_iter().take(shards).collect() };
        let why = match (chosen, cpus.len() < shards) {
            (_, true) => "fewer than shards, so shards share CPUs",
            (false, false) => "the first this process may use",
            (true, false) => "",
        };
        self.note("cpus", show_cpus(&cpus), why);
        Ok((shards as u16, cpus))
    }

    /// How many shards `auto` makes at most, if `--memory` is given.
    fn shards_max_auto(&mut self) -> Result<Option<usize>, ConfigError> {
        if !self.is_auto("shards") || self.is_auto("memory") {
            return Ok(None);
        }
        let bytes = self.parse("memory", value::size)?.0;
        Ok(Some((bytes / SHARD_BYTES_AUTO).max(1) as usize))
    }

    fn memory(&mut self, machine: &Machine, shards: u16) -> Result<u64, ConfigError> {
        let least = (SHARD_BYTES_MIN * u64::from(shards)).max(MEMORY_BYTES_MIN);
        let (bytes, why) = if self.is_auto("memory") {
            let quarter = machine.memory_bytes / 4;
            let why = if quarter < MEMORY_AUTO_MAX {
                format!("a quarter of the {}'s", machine.memory_source)
            } else {
                "the smaller of 1g and a quarter of what there is".into()
            };
            // Whole mebibytes: they are shown, divided over shards and cut in segments.
            (quarter.min(MEMORY_AUTO_MAX) >> 20 << 20, why)
        } else {
            (self.parse("memory", value::size)?.0, String::new())
        };
        if bytes < least {
            return Err(self.error(
                "memory",
                format!(
                    "comes to {}, and --shards {shards} needs at least {}; give more memory or fewer --shards",
                    Size(bytes),
                    Size(least)
                ),
            ));
        }
        if bytes > machine.memory_bytes {
            return Err(self.error(
                "memory",
                format!("is more than the {}'s {}", machine.memory_source, Size(machine.memory_bytes)),
            ));
        }
        self.note("memory", Size(bytes).to_string(), &why);
        Ok(bytes)
    }

    /// `taken`: what clients are served at.
    fn admin(&mut self, allow_remote: bool, taken: &[SocketAddr]) -> Result<Option<SocketAddr>, ConfigError> {
        let parse = |text: &str| match text {
            "off" => Ok(None),
            _ => {
                let address = value::socket_address(text.strip_prefix("http://").unwrap_or(text))?;
                local_or_allowed(address, allow_remote)?;
                if taken.iter().any(|taken| overlap(*taken, address)) {
                    return Err(
                        "is where clients are served (--listen, --shard-port-base); choose another, or off"
                            .into(),
                    );
                }
                Ok(Some(address))
            }
        };
        self.one("admin", parse, |admin| admin.map_or("off".into(), |address| format!("http://{address}")))
    }
}

/// Bytes as somebody would choose them: a whole number of mebibytes, or of kibibytes if it is less than one.
fn round(bytes: u64) -> u64 {
    let shift = if bytes >= 1 << 20 { 20 } else { 10 };
    bytes >> shift << shift
}

/// Addresses of the common listeners and of the shards.
fn taken(listen: &[Listen], shard_port_base: Option<u16>, shards: u16) -> Vec<SocketAddr> {
    let mut taken: Vec<SocketAddr> = listen
        .iter()
        .filter_map(|entry| match &entry.endpoint {
            Endpoint::Tcp(address) => Some(*address),
            Endpoint::Unix(_) => None,
        })
        .collect();
    if let (Some(first), Some(base @ 1..)) = (taken.first().copied(), shard_port_base) {
        let ports = (0..shards).filter_map(|shard| base.checked_add(shard));
        taken.extend(ports.map(|port| SocketAddr::new(first.ip(), port)));
    }
    taken
}

/// Where nobody is asked for a password, reach is the only protection.
fn local_or_allowed(address: SocketAddr, allow_remote: bool) -> Parse<()> {
    if allow_remote || address.ip().is_loopback() {
        return Ok(());
    }
    Err("can be reached from other machines, and without authentication whoever reaches it may read and \
         delete everything; listen on 127.0.0.1, give clients a password (--requirepass-file), or say --allow-remote if the \
         network is closed"
        .into())
}

fn auto<T>(parse: impl Fn(&str) -> Parse<T>) -> impl Fn(&str) -> Parse<Option<T>> {
    move |text| if text == "auto" { Ok(None) } else { parse(text).map(Some) }
}

fn count<const LEAST: u64, const MOST: u64>(text: &str) -> Parse<u64> {
    text.trim()
        .parse()
        .ok()
        .filter(|number| (LEAST..=MOST).contains(number))
        .ok_or_else(|| format!("is not a number from {LEAST} to {MOST}"))
}

fn switch(text: &str) -> Parse<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Ok(true),
        "false" | "no" | "0" | "off" => Ok(false),
        _ => Err("is neither true nor false".into()),
    }
}

fn host(text: &str) -> Parse<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    if text.is_empty() || text.len() > 253 || !text.chars().all(good) {
        return Err("is not a host name or an IP address without port".into());
    }
    Ok(text.into())
}

fn one_of<T: Clone>(text: &str, choices: &[(&str, T)]) -> Parse<T> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| format!("is none of {}", names.join(", ")))
}

fn eviction(text: &str) -> Parse<Algorithm> {
    Algorithm::by_name(text).ok_or_else(|| format!("is none of {}", settings::EVICTIONS.join(", ")))
}

fn event_classes(text: &str) -> Parse<EventClasses> {
    if text == "off" {
        return Ok(EventClasses::default());
    }
    EventClasses::parse(text).ok_or_else(|| "has letters beside Ag$lshzxeKEtmdn".into())
}

fn segment_size(text: &str) -> Parse<Size> {
    let size = value::size(text)?;
    let good = size.0.is_power_of_two() && (64 << 10..=16 << 20).contains(&size.0);
    if good { Ok(size) } else { Err("is not a power of two from 64k to 16m".into()) }
}

fn log_format(text: &str) -> Parse<LogFormat> {
    one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

fn level(text: &str) -> Parse<tracing::Level> {
    use tracing::Level;
    one_of(
        text,
        &[
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ],
    )
}

#[cfg(test)]
mod tests;
