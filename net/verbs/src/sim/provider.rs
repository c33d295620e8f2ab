//! The interface of a provider, by the files beside this one.

use super::device::{Device, Domain, Registered};
use super::pair::Pair;
use super::queue::{Queue, Receives};
use super::state::DeviceState;
use super::{device, pair, queue};
use crate::completion::Event;
use crate::error::VerbsError;
use crate::gid::Gid;
use crate::memory::Memory;
use crate::path::Mtu;
use crate::seam::{Access, Limits, PairOptions, Port, Verbs};
use std::os::fd::BorrowedFd;
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
                let is_up = state.devices[self.number()].is_up;
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
            (DeviceState::PORT, 1) => Ok(DeviceState::gid(self.number())),
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
        device::register(self, domain, memory, access)
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
        let number = self.number();
        Ok(self.state().devices[number].events.pop_front())
    }
}
