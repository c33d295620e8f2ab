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

mod addresses;
mod error;
mod file;
mod rdma;
pub(crate) mod settings;
mod share;
mod shared_memory;
pub(crate) mod sources;
mod tier;
mod users;
pub(crate) mod value;

pub(crate) use error::ConfigError;
pub(crate) use sources::{Flags, Origin};
pub(crate) use value::Size;

use crate::machine::Machine;
use addresses::taken;
use sources::Texts;
use std::net::SocketAddr;
use std::time::Duration;
use torc_engine::eviction::Algorithm;
use torc_engine::item::KEY_BYTES_MAX;
use torc_engine::spaces::DATABASES_MAX;
use torc_net::event_classes::EventClasses;
use torc_net::server::{ServerConfig, value_bytes_possible};
use value::{show_duration, show_short_time};

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
        let is_cluster = r.one("cluster-enabled", switch, bool::to_string)?;
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
            is_cluster,
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
}

/// Bytes as somebody would choose them: a whole number of mebibytes, or of kibibytes if it is less than one.
fn round(bytes: u64) -> u64 {
    let shift = if bytes >= 1 << 20 { 20 } else { 10 };
    bytes >> shift << shift
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
