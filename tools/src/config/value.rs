//! The value grammars of the settings: text in, a checked value or one sentence out.
//!
//! | grammar | examples |
//! |---|---|
//! | size | `64m`, `2g`, `512k`, `1048576`: bytes, with binary units (1k = 1024) |
//! | duration | `500ms`, `10s`, `2m`, `1h`; `0` or `off` where a limit can be switched off |
//! | short time | `20us`, `1ms`; `0` or `off` for none |
//! | durability | `none`, `interval:1s`, `always` |
//! | CPU list | `0`, `0,2-3`, as the kernel and `taskset -c` write it |
//! | listen address | `127.0.0.1:7171`, `[::1]:7171`, `unix:/run/torc.sock`, `resp+tcp://127.0.0.1:6379` |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use torc_net::server::{Endpoint, Listen};
use torc_net::session::Protocol;
use torc_net::tier::{Durability, TierPath};

/// Bytes, shown with the largest binary unit that divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "g"), (20, "m"), (10, "k")] {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

pub(crate) fn size(text: &str) -> Result<Size, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("is not a size; write bytes or a unit, as in 512m or 2g".into()),
    };
    let number: u64 = number.parse().map_err(|_| "is not a size; write bytes or a unit, as in 512m or 2g")?;
    number.checked_mul(1 << shift).map(Size).ok_or_else(|| "is more than 64 bits can count".into())
}

/// A duration, or `off`.
pub(crate) fn duration(text: &str) -> Result<Option<Duration>, String> {
    const HELP: &str = "is not a duration; write 500ms, 10s, 2m or off";
    let lower = text.trim().to_ascii_lowercase();
    if lower == "off" {
        return Ok(None);
    }
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" if number == "0" => 1,
        "" if !number.is_empty() => return Err(format!("has no unit; write {number}s or {number}ms")),
        _ => return Err(HELP.into()),
    };
    let number: u64 = number.parse().map_err(|_| HELP)?;
    let ms = number.checked_mul(unit_ms).ok_or("is longer than 64 bits of milliseconds")?;
    Ok((ms > 0).then(|| Duration::from_millis(ms)))
}

/// Shows a duration as [`duration`] reads it.
pub(crate) fn show_duration(duration: Option<Duration>) -> String {
    match duration.map(|d| d.as_millis()) {
        None => "off".into(),
        Some(ms) if ms % 1000 == 0 => format!("{}s", ms / 1000),
        Some(ms) => format!("{ms}ms"),
    }
}

/// `none`, `always`, or `interval:TIME`.
pub(crate) fn durability(text: &str) -> Result<Durability, String> {
    const HELP: &str =
        "is none of none, always and interval:TIME with a time from 10ms to 1h; write interval:1s";
    match text.trim() {
        "none" => return Ok(Durability::None),
        "always" => return Ok(Durability::Always),
        _ => {}
    }
    let time = text.trim().strip_prefix("interval:").ok_or(HELP)?;
    let range = Duration::from_millis(10)..=Duration::from_secs(3600);
    let time = duration(time).ok().flatten().filter(|time| range.contains(time));
    time.map(Durability::Interval).ok_or_else(|| HELP.into())
}

/// Shows it as [`durability`] reads it.
pub(crate) fn show_durability(durability: Durability) -> String {
    match durability {
        Durability::None => "none".into(),
        Durability::Always => "always".into(),
        Durability::Interval(interval) => format!("interval:{}", show_duration(Some(interval))),
    }
}

/// Where a tier lies; `None`: `off`.
pub(crate) fn tier_path(text: &str) -> Result<Option<TierPath>, String> {
    match text.trim() {
        "off" => Ok(None),
        "memory" => Ok(Some(TierPath::Memory)),
        "" => Err("is empty; give a path, memory or off".into()),
        path => Ok(Some(TierPath::File(PathBuf::from(path)))),
    }
}

/// The longest [`short_time`].
const SHORT_TIME_MAX: Duration = Duration::from_millis(1);

/// A time that a shard may wait or spin; zero: `off`.
pub(crate) fn short_time(text: &str) -> Result<Duration, String> {
    const HELP: &str = "is not a time from 1us to 1ms; write 20us, or off";
    let lower = text.trim().to_ascii_lowercase();
    let time = match (lower.as_str(), lower.strip_suffix("us"), lower.strip_suffix("ms")) {
        ("off" | "0", ..) => return Ok(Duration::ZERO),
        (_, Some(number), _) => number.parse().map(Duration::from_micros),
        (_, _, Some(number)) => number.parse().map(Duration::from_millis),
        (number, ..) if number.parse::<u64>().is_ok() => {
            return Err(format!("has no unit; write {number}us"));
        }
        _ => return Err(HELP.into()),
    };
    time.ok().filter(|time| *time <= SHORT_TIME_MAX).ok_or_else(|| HELP.into())
}

/// Shows a time as [`short_time`] reads it.
pub(crate) fn show_short_time(time: Duration) -> String {
    if time.is_zero() { "off".into() } else { format!("{}us", time.as_micros()) }
}

/// CPU numbers above this are a slip of the pen (the kernel's own limit is 8192).
const CPU_MAX: usize = 8191;

/// CPU numbers in the order given, each once.
pub(crate) fn cpu_list(text: &str) -> Result<Vec<usize>, String> {
    const HELP: &str = "is not a list of CPUs; write 0 or 0,2-3";
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| HELP)?;
        let last: usize = last.trim().parse().map_err(|_| HELP)?;
        if first > last {
            return Err(format!("has the range {part} the wrong way round"));
        }
        if last > CPU_MAX {
            return Err(format!("names CPU {last}; the highest there can be is {CPU_MAX}"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!("names CPU {cpu} twice"));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

/// Shows CPUs as [`cpu_list`] reads them, runs as ranges.
pub(crate) fn show_cpus(cpus: &[usize]) -> String {
    let mut out = String::new();
    let mut rest = cpus;
    while let Some(&first) = rest.first() {
        let run = rest.iter().zip(first..).take_while(|(cpu, expected)| *cpu == expected).count();
        let (these, others) = rest.split_at(run);
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&first.to_string());
        if let (true, Some(last)) = (run > 1, these.last()) {
            out.push_str(&format!("-{last}"));
        }
        rest = others;
    }
    out
}

/// The names that pin a listener to a protocol.
const PINS: [(&str, Protocol); 3] =
    [("resp", Protocol::Resp), ("memcache", Protocol::Memcache), ("native", Protocol::Native)];

/// Shows a listener as [`listen`] reads it, in full.
pub(crate) fn show_listen(listen: &Listen) -> String {
    let pin = PINS.iter().find(|(_, protocol)| Some(*protocol) == listen.protocol);
    let pin = pin.map_or(String::new(), |(name, _)| format!("{name}+"));
    format!("{pin}{}", show_endpoint(&listen.endpoint))
}

/// An address with its scheme.
pub(crate) fn show_endpoint(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(address) => format!("tcp://{address}"),
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
    }
}

pub(crate) fn listen(text: &str) -> Result<Listen, String> {
    let mut rest = text.trim();
    let mut protocol = None;
    for (name, pinned) in PINS {
        if let Some(tail) = rest.strip_prefix(name).and_then(|tail| tail.strip_prefix('+')) {
            (rest, protocol) = (tail, Some(pinned));
        }
    }
    if let Some(path) = rest.strip_prefix("unix:") {
        return Ok(Listen { endpoint: Endpoint::Unix(unix_path(path)?), protocol });
    }
    if let Some((scheme, _)) = rest.split_once("://").filter(|(scheme, _)| *scheme != "tcp") {
        return Err(format!(
            "has the unknown scheme {scheme}://; known are tcp:// and unix:, with resp+, memcache+ or native+ before it"
        ));
    }
    let address = socket_address(rest.strip_prefix("tcp://").unwrap_or(rest))?;
    Ok(Listen { endpoint: Endpoint::Tcp(address), protocol })
}

/// The longest path that a Unix socket address holds, bytes.
const UNIX_PATH_BYTES_MAX: usize = 107;

fn unix_path(path: &str) -> Result<PathBuf, String> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err("has no path; write unix:/run/torc.sock".into());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!("has a path of {} bytes; the kernel takes {UNIX_PATH_BYTES_MAX}", path.len()));
    }
    Ok(PathBuf::from(path))
}

/// An IP address (or `localhost`) and a port. Other names are not looked up: what is served where must not
/// depend on a name server.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("has no port; write address:port, as in 127.0.0.1:7171".into());
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!("has the port '{port}'; a port is a number from 0 to 65535"));
    };
    match host {
        "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        "" | "*" => Err(format!("names no address; write 127.0.0.1:{port}, or 0.0.0.0:{port} for all")),
        _ if host.contains(':') && !host.starts_with('[') => {
            Err(format!("is not an address; an IPv6 address is written in brackets, as in [::1]:{port}"))
        }
        _ => Err("is not an IP address and port; names are not looked up here".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_overflow_is_refused() {
        for (text, bytes) in
            [("0", 0), ("1024", 1024), ("1k", 1024), ("64m", 64 << 20), ("2G", 2 << 30), ("1MiB", 1 << 20)]
        {
            assert_eq!(size(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "m", "-1", "1.5g", "2x", "99999999999999999999", "18446744073709551615k"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for text in ["1000", "1k", "64m", "2g", "1536m"] {
            assert_eq!(size(text).map(|s| s.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(duration("2m"), Ok(Some(Duration::from_secs(120))));
        assert_eq!(duration("0"), Ok(None));
        assert_eq!(duration("off"), Ok(None));
        for text in ["10", "", "s", "1y", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn short_times_are_bounded_and_shown_as_they_are_read() {
        for (text, us) in [("off", 0), ("0", 0), ("0us", 0), ("1us", 1), ("20us", 20), ("1ms", 1000)] {
            let time = short_time(text).expect(text);
            assert_eq!(time, Duration::from_micros(us), "{text}");
            assert_eq!(short_time(&show_short_time(time)), Ok(time), "{text}");
        }
        for text in ["", "us", "20", "1s", "1001us", "2ms", "-1us", "1.5us", "99999999999999999999us"] {
            assert!(short_time(text).is_err(), "{text}");
        }
        assert!(short_time("20").is_err_and(|reason| reason.contains("20us")));
    }

    #[test]
    fn cpu_lists_keep_their_order_and_show_as_ranges() {
        assert_eq!(cpu_list("0,2-3"), Ok(vec![0, 2, 3]));
        assert_eq!(show_cpus(&[0, 2, 3]), "0,2-3");
        assert_eq!(show_cpus(&[3, 1]), "3,1");
        for text in ["", "a", "3-1", "0,0", "0-99999999", "1-"] {
            assert!(cpu_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn listen_addresses_show_in_full() {
        for (text, shown) in [
            ("127.0.0.1:7171", "tcp://127.0.0.1:7171"),
            ("localhost:0", "tcp://127.0.0.1:0"),
            ("[::1]:7171", "tcp://[::1]:7171"),
            ("unix:/run/t.sock", "unix:/run/t.sock"),
            ("unix:///run/t.sock", "unix:/run/t.sock"),
            ("resp+tcp://127.0.0.1:6379", "resp+tcp://127.0.0.1:6379"),
            ("memcache+127.0.0.1:11211", "memcache+tcp://127.0.0.1:11211"),
            ("native+unix:/n", "native+unix:/n"),
        ] {
            assert_eq!(listen(text).map(|l| show_listen(&l)), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn wrong_listen_addresses_say_what_to_write() {
        for (text, part) in [
            ("127.0.0.1", "has no port"),
            ("127.0.0.1:99999", "from 0 to 65535"),
            (":7171", "127.0.0.1:7171"),
            ("::1:7171", "[::1]:7171"),
            ("example.org:7171", "names are not looked up"),
            ("http://127.0.0.1:1", "unknown scheme http://"),
            ("unix:", "has no path"),
        ] {
            let error = listen(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(listen(&format!("unix:/{}", "x".repeat(107))).is_err());
    }
}
