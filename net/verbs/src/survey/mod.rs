//! What there is of RDMA on this machine: what is usable, and why the rest is not.
//!
//! The kernel tells of devices, ports and GIDs without any library; the library says which of them it has a driver for, and opens
//! them. So each thing that may be missing has an answer of its own.

pub mod choice;
pub mod memlock;
pub mod sysfs;

use crate::device::{self, Device};
use crate::error::VerbsError;
use crate::library::{self, LibraryError};
use crate::seam::{Limits, Port, Verbs};
use std::path::Path;
pub use sysfs::{GidEntry, KernelDevice, KernelPort};

/// All that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Whether there is a library, and if not, why not.
    pub library: Result<(), LibraryError>,
    /// Bytes that may be registered; `None`: any number.
    pub memlock: Option<u64>,
    /// Those that the kernel has, sorted by name.
    pub devices: Vec<SurveyedDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedDevice {
    pub kernel: KernelDevice,
    pub opened: Result<Opened, NotOpened>,
}

/// What an opened device tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub limits: Limits,
    /// In the order of [`KernelDevice::ports`].
    pub ports: Vec<Result<Port, VerbsError>>,
}

/// Why a device that the kernel has could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    #[error("{0}")]
    NoLibrary(LibraryError),
    #[error("the library has no driver for it")]
    NoDriver,
    #[error("{0}")]
    Refused(VerbsError),
}

impl NotOpened {
    /// What may help.
    pub fn cure(&self) -> Option<&'static str> {
        match self {
            NotOpened::NoLibrary(error) => Some(error.cure()),
            NotOpened::NoDriver => Some("install the drivers of libibverbs (Debian: ibverbs-providers)"),
            NotOpened::Refused(error) => error.cure(),
        }
    }
}

/// Looks at this machine. Devices are opened for a moment.
pub fn here() -> Survey {
    let kernel = sysfs::devices(Path::new("/"));
    if kernel.is_empty() {
        return Survey { library: library::look(), memlock: memlock::limit(), devices: Vec::new() };
    }
    let library = library::load().map(drop);
    let names = device::names().unwrap_or_default();
    let devices = kernel
        .into_iter()
        .map(|kernel| {
            let opened = match &library {
                Err(error) => Err(NotOpened::NoLibrary(error.clone())),
                Ok(()) if !names.contains(&kernel.name) => Err(NotOpened::NoDriver),
                Ok(()) => open(&kernel).map_err(NotOpened::Refused),
            };
            SurveyedDevice { kernel, opened }
        })
        .collect();
    Survey { library, memlock: memlock::limit(), devices }
}

fn open(kernel: &KernelDevice) -> Result<Opened, VerbsError> {
    let device = Device::open(&kernel.name)?;
    let ports = kernel.ports.iter().map(|port| device.port(port.number)).collect();
    Ok(Opened { limits: device.limits(), ports })
}
