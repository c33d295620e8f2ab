//! RDMA as the I/O thread has it: the device of this machine, and what callers are told.

use crate::config::RdmaConfig;
use std::sync::{Mutex, PoisonError};
use torc_rdma::client::{Sizes, Unjoined};
use torc_rdma::connect::first;
use torc_rdma::verbs::completion::Event;
use torc_rdma::verbs::device::Device;
use torc_rdma::verbs::seam::Verbs;
use torc_rdma::verbs::survey::choice::Wish;
use torc_rdma::{Cause, Local};

/// What came of going on over RDMA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdmaUse {
    /// Connections that are over RDMA now.
    pub connections: usize,
    /// Times that one has begun to be.
    pub moves: u64,
    /// Times that one could not be, or was given up, by cause; those that did not happen are left out.
    pub fallbacks: Vec<(&'static str, u64)>,
    /// The last of them, in words.
    pub last: Option<String>,
}

/// [`RdmaUse`] between the I/O thread and callers.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<RdmaUse>);

impl Told {
    pub(crate) fn tell(&self, told: RdmaUse) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    pub(crate) fn read(&self) -> RdmaUse {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why there is no device: for counters, in words, and whether there will be none.
#[derive(Debug)]
pub(crate) struct NoDevice {
    pub(crate) cause: Cause,
    pub(crate) why: String,
    pub(crate) is_final: bool,
}

/// The device of this machine. It is opened when it is needed, and closed when it, or its port, is gone: what the kernel removes
/// must be held by nobody.
pub(crate) struct Rdma {
    wish: Wish,
    traffic_class: u8,
    sizes: Sizes,
    local: Option<Local>,
}

impl Rdma {
    pub(crate) fn new(config: &RdmaConfig) -> Rdma {
        let (wish, sizes) = (config.wish(), config.sizes());
        Rdma { wish, traffic_class: config.traffic_class, sizes, local: None }
    }

    /// The opened device; looks for it if there is none.
    pub(crate) fn open(&mut self) -> Result<&Local, NoDevice> {
        let local = match self.local.take() {
            Some(local) => local,
            None => Local::open(&self.wish, self.traffic_class).map_err(|why| NoDevice {
                cause: Cause::from(&why),
                why: why.to_string(),
                is_final: why.is_final(),
            })?,
        };
        Ok(self.local.insert(local))
    }

    /// An end for a new connection.
    pub(crate) fn end(&mut self) -> Result<Unjoined<Device>, NoDevice> {
        let sizes = self.sizes;
        let local = self.open()?;
        Unjoined::new(&local.device, &local.domain, &local.place, sizes, first()).map_err(|why| NoDevice {
            cause: Cause::from(&why),
            why: why.to_string(),
            is_final: false,
        })
    }

    /// The opened device, if there is one.
    pub(crate) fn local(&self) -> Option<&Local> {
        self.local.as_ref()
    }

    pub(crate) fn close(&mut self) {
        self.local = None;
    }

    /// Hears what the device tells on its own. Some: its connections cannot go on.
    pub(crate) fn hear_events(&self) -> Option<(Cause, &'static str)> {
        let local = self.local.as_ref()?;
        loop {
            match local.device.next_event() {
                Ok(Some(Event::PortDown { port })) if port == local.place.port => {
                    return Some((Cause::Link, "the link of the device went down"));
                }
                Ok(Some(Event::PortChanged { .. })) if !local.has_its_gid() => {
                    return Some((Cause::Gid, "the device has lost its address"));
                }
                Ok(Some(Event::DeviceFailed | Event::QueueFailed)) | Err(_) => {
                    return Some((Cause::Verbs, "the device has failed"));
                }
                // A queue pair that fails tells by its completions.
                Ok(Some(_)) => {}
                Ok(None) => return None,
            }
        }
    }
}
