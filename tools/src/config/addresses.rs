//! Where clients are served: `--listen`, `--announce-host`, `--shard-port-base`, and `--admin` beside them.

use super::value::{self, show_listen};
use super::{ConfigError, Parse, Reader, count};
use std::net::SocketAddr;
use torc_net::server::{Endpoint, Listen, overlap};

/// How far the shards' ports lie above the first listener's.
const SHARD_PORT_DISTANCE: u16 = 100;

impl Reader<'_> {
    pub(super) fn listen(&mut self, allow_remote: bool) -> Result<Vec<Listen>, ConfigError> {
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
    pub(super) fn announce_host(&mut self, listen: &[Listen]) -> Result<Option<String>, ConfigError> {
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
    pub(super) fn shard_ports(&mut self, listen: &[Listen], shards: u16) -> Result<Option<u16>, ConfigError> {
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

    /// `taken`: what clients are served at.
    pub(super) fn admin(
        &mut self,
        allow_remote: bool,
        taken: &[SocketAddr],
    ) -> Result<Option<SocketAddr>, ConfigError> {
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

/// Addresses of the common listeners and of the shards.
pub(super) fn taken(listen: &[Listen], shard_port_base: Option<u16>, shards: u16) -> Vec<SocketAddr> {
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

fn host(text: &str) -> Parse<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    if text.is_empty() || text.len() > 253 || !text.chars().all(good) {
        return Err("is not a host name or an IP address without port".into());
    }
    Ok(text.into())
}
