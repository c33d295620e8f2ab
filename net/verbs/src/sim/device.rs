//! A simulated device, domains and registered memory.

use super::Network;
use super::state::{RegionState, State};
use crate::error::VerbsError;
use crate::memory::Memory;
use crate::region::Region;
use crate::seam::Access;
use std::cell::RefMut;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

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

pub(super) fn register(
    device: &Device,
    domain: &Domain,
    memory: Arc<dyn Memory>,
    access: Access,
) -> Result<Registered, VerbsError> {
    let mut state = device.there("ibv_reg_mr")?;
    let (address, len, key) = (memory.start().expose_provenance() as u64, memory.len(), state.key());
    state.regions.insert(key, RegionState { domain: domain.number, memory, access });
    drop(state);
    Ok(Registered { device: device.clone(), address, len, key })
}
