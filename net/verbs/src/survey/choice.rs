//! Which device, port and GID are used.

use super::{KernelPort, NotOpened, Survey, SurveyedDevice, sysfs::GidEntry};
use crate::error::VerbsError;
use crate::gid::GidKind;
use crate::library::LibraryError;
use crate::path::Mtu;
use crate::seam::Port;

/// What is wished for; what is `None` is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub device: Option<String>,
    pub port: Option<u8>,
    /// An index in the port's table of GIDs.
    pub gid: Option<u8>,
    /// A device of this NUMA node goes before others.
    pub numa_node: Option<u32>,
    /// Bytes that are to be registered.
    pub memory_bytes: u64,
}

/// What is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub device: String,
    pub port: u8,
    pub gid: GidEntry,
    pub mtu: Mtu,
    pub numa_node: Option<u32>,
}

/// Why a port cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("{0}")]
    NotOpened(NotOpened),
    #[error("the port cannot be asked: {0}")]
    NotAsked(VerbsError),
    #[error("the link is not up: {0}")]
    LinkDown(String),
    #[error("packets go over {0}, not over Ethernet")]
    NotEthernet(String),
    #[error("its MTU is none that RDMA knows")]
    Mtu,
    #[error("it has no GID of RoCEv2")]
    NoGid,
    #[error("its GID {index} is {kind}, not RoCE v2")]
    GidKind { index: u8, kind: GidKind },
    #[error("it has no GID {0}")]
    NoSuchGid(u8),
    #[error("{limit} bytes of memory may be locked, {wanted} are to be registered")]
    Memlock { limit: u64, wanted: u64 },
}

impl Unusable {
    /// What may help.
    pub fn cure(&self) -> Option<&'static str> {
        match self {
            Unusable::NotOpened(error) => error.cure(),
            Unusable::LinkDown(_) => {
                Some("ip link set dev INTERFACE up, and look at the cable and the switch")
            }
            Unusable::NoGid => Some("give the port's interface an IP address"),
            Unusable::Memlock { .. } => Some("ulimit -l unlimited, LimitMEMLOCK=infinity in the unit"),
            Unusable::NotAsked(_)
            | Unusable::NotEthernet(_)
            | Unusable::Mtu
            | Unusable::GidKind { .. }
            | Unusable::NoSuchGid(_) => None,
        }
    }
}

/// Why no port is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    #[error("{0}")]
    NoLibrary(LibraryError),
    #[error("this machine has no RDMA device")]
    NoDevice,
    #[error("there is no such device or port as was asked for")]
    NoSuchDevice,
    /// The first of the ports that came into question; the doctor has them all.
    #[error("{device} port {port}: {why}")]
    Unusable { device: String, port: u8, why: Unusable },
}

/// The best GID first: RoCEv2 alone, IPv4 before IPv6, and last what reaches no further than its own network.
fn rank(entry: &GidEntry) -> (bool, bool, u8) {
    (entry.gid.is_link_local(), entry.gid.ipv4().is_none(), entry.index)
}

fn gid(port: &KernelPort, wish: &Wish) -> Result<GidEntry, Unusable> {
    let v2 = |entry: &&GidEntry| entry.kind == GidKind::V2;
    let Some(index) = wish.gid else {
        return port.gids.iter().filter(v2).min_by_key(|entry| rank(entry)).cloned().ok_or(Unusable::NoGid);
    };
    match port.gids.iter().find(|entry| entry.index == index) {
        None => Err(Unusable::NoSuchGid(index)),
        Some(entry) if !v2(&entry) => Err(Unusable::GidKind { index, kind: entry.kind }),
        Some(entry) => Ok(entry.clone()),
    }
}

/// Whether a port can be used, and with which GID.
///
/// # Errors
/// Why not.
pub fn usable(
    survey: &Survey,
    device: &SurveyedDevice,
    at: usize,
    wish: &Wish,
) -> Result<(GidEntry, Mtu), Unusable> {
    let kernel = &device.kernel.ports[at];
    let opened = device.opened.as_ref().map_err(|error| Unusable::NotOpened(error.clone()))?;
    let Port { is_up, is_ethernet, mtu, .. } = opened.ports[at].map_err(Unusable::NotAsked)?;
    if !is_ethernet {
        return Err(Unusable::NotEthernet(kernel.link_layer.clone()));
    }
    if !is_up {
        return Err(Unusable::LinkDown(kernel.state.clone()));
    }
    let mtu = mtu.ok_or(Unusable::Mtu)?;
    let gid = gid(kernel, wish)?;
    match survey.memlock {
        Some(limit) if limit < wish.memory_bytes => {
            Err(Unusable::Memlock { limit, wanted: wish.memory_bytes })
        }
        _ => Ok((gid, mtu)),
    }
}

/// Chooses the port that is used: one of the wished NUMA node first, then by name.
///
/// # Errors
/// Why none is.
pub fn choose(survey: &Survey, wish: &Wish) -> Result<Choice, NoChoice> {
    if survey.devices.is_empty() {
        return Err(match &survey.library {
            Err(error) => NoChoice::NoLibrary(error.clone()),
            Ok(()) => NoChoice::NoDevice,
        });
    }
    let wished =
        |device: &&SurveyedDevice| wish.device.as_ref().is_none_or(|name| *name == device.kernel.name);
    let mut devices: Vec<&SurveyedDevice> = survey.devices.iter().filter(wished).collect();
    devices.sort_by_key(|device| wish.numa_node.is_some() && device.kernel.numa_node != wish.numa_node);
    let mut first = NoChoice::NoSuchDevice;
    for device in devices {
        for (at, port) in device.kernel.ports.iter().enumerate() {
            if wish.port.is_some_and(|number| number != port.number) {
                continue;
            }
            let (name, port) = (device.kernel.name.clone(), port.number);
            match usable(survey, device, at, wish) {
                Ok((gid, mtu)) => {
                    let numa_node = device.kernel.numa_node;
                    return Ok(Choice { device: name, port, gid, mtu, numa_node });
                }
                Err(why) if first == NoChoice::NoSuchDevice => {
                    first = NoChoice::Unusable { device: name, port, why };
                }
                Err(_) => {}
            }
        }
    }
    Err(first)
}

#[cfg(test)]
mod tests;
