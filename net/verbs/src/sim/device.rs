//! A simulated device, domains and registered memory.

use super::pair::Pair;
use super::queue::{Queue, Receives};
use super::state::{DeviceState, RegionState, State};
use super::{Network, pair, queue};
use crate::completion::Event;
use crate::error::VerbsError;
use crate::gid::Gid;
use crate::memory::Memory;
use crate::path::Mtu;
use crate::region::Region;
use crate::seam::{Access, Limits, PairOptions, Port, Verbs};
use std::cell::RefMut;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

/// Of queue pairs, queues and so on there may be any number, but these are what it says.
const LIMITS: Limits = Limits {
    ports: DeviceState::PORT,
    pairs: 1 << 16,
    requests: 1 << 14,
    completions: 1 << 15,
    regions: 1 << 16,
    region_bytes: u64::MAX,
    shared_receives: 1 << 14,
    reads_out: 16,
    reads_in: 16,
};
const MESSAGE_BYTES: u32 = 1 << 30;

/// A device. Clones are the same one.
#[derive(Clone)]
pub struct Device {
    network: Network,
    number: usize,
    /// One for each value that was made of the device, and for each of its clones.
    values: Rc<()>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("number", &self.number).finish()
    }
}

impl Device {
    pub(super) fn new(network: Network, number: usize) -> Device {
        Device { network, number, values: Rc::new(()) }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Clones of the device, and what was made of it and is not dropped: at least 1, which is this one.
    pub fn values(&self) -> usize {
        Rc::strong_count(&self.values)
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.network.state()
    }

    /// # Errors
    /// EIO: it was removed.
    pub(super) fn there(&self, call: &'static str) -> Result<RefMut<'_, State>, VerbsError> {
        let state = self.state();
        match state.devices[self.number].is_removed {
            true => Err(VerbsError::new(call, libc::EIO)),
            false => Ok(state),
        }
    }
}

/// Whose memory and queue pairs may be used together.
#[derive(Debug, Clone)]
pub struct Domain {
    pub(super) device: Device,
    pub(super) number: u32,
}

/// Registered memory.
pub struct Registered {
    device: Device,
    address: u64,
    len: usize,
    key: u32,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("address", &self.address).field("len", &self.len).finish()
    }
}

impl Registered {
    pub(super) fn local_key(&self) -> u32 {
        self.key
    }
}

impl Region for Registered {
    fn address(&self) -> u64 {
        self.address
    }

    fn len(&self) -> usize {
        self.len
    }

    fn remote_key(&self) -> u32 {
        self.key
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.device.state().regions.remove(&self.key);
    }
}

impl Verbs for Device {
    type Domain = Domain;
    type Region = Registered;
    type Queue = Queue;
    type Receives = Receives;
    type Pair = Pair;

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn port(&self, port: u8) -> Result<Port, VerbsError> {
        const CALL: &str = "ibv_query_port";
        let state = self.there(CALL)?;
        match port {
            DeviceState::PORT => {
                let is_up = state.devices[self.number].is_up;
                Ok(Port { is_up, is_ethernet: true, mtu: Some(Mtu::Bytes4096), message_bytes: MESSAGE_BYTES })
            }
            _ => Err(VerbsError::new(CALL, libc::EINVAL)),
        }
    }

    fn gid(&self, port: u8, index: u8) -> Result<Gid, VerbsError> {
        const CALL: &str = "ibv_query_gid";
        self.there(CALL)?;
        // As a card has it: at 0 what reaches nowhere, then the address.
        match (port, index) {
            (DeviceState::PORT, 1) => Ok(DeviceState::gid(self.number)),
            _ => Err(VerbsError::new(CALL, libc::EINVAL)),
        }
    }

    fn domain(&self) -> Result<Domain, VerbsError> {
        let number = self.there("ibv_alloc_pd")?.number();
        Ok(Domain { device: self.clone(), number })
    }

    fn register(
        &self,
        domain: &Domain,
        memory: Arc<dyn Memory>,
        access: Access,
    ) -> Result<Registered, VerbsError> {
        let mut state = self.there("ibv_reg_mr")?;
        let (address, len, key) = (memory.start().expose_provenance() as u64, memory.len(), state.key());
        state.regions.insert(key, RegionState { domain: domain.number, memory, access });
        drop(state);
        Ok(Registered { device: self.clone(), address, len, key })
    }

    fn completion_queue(&self, completions: u32) -> Result<Queue, VerbsError> {
        queue::create(self, completions)
    }

    fn shared_receives(&self, domain: &Domain, receives: u32) -> Result<Receives, VerbsError> {
        queue::create_receives(domain, receives)
    }

    fn queue_pair(&self, domain: &Domain, options: &PairOptions<'_, Device>) -> Result<Pair, VerbsError> {
        pair::create(domain, options)
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn next_event(&self) -> Result<Option<Event>, VerbsError> {
        Ok(self.state().devices[self.number].events.pop_front())
    }
}
