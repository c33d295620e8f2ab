//! The interface of a provider, by the files beside this one.

use super::context::Device;
use super::domain::{Domain, Registered};
use super::pair::Pair;
use super::queue::Queue;
use super::receives::Receives;
use super::{domain, events, pair, queue, receives};
use crate::completion::Event;
use crate::error::VerbsError;
use crate::gid::Gid;
use crate::memory::Memory;
use crate::seam::{Access, Limits, PairOptions, Port, Verbs};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

impl Verbs for Device {
    type Domain = Domain;
    type Region = Registered;
    type Queue = Queue;
    type Receives = Receives;
    type Pair = Pair;

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn port(&self, port: u8) -> Result<Port, VerbsError> {
        self.0.ask_port(port)
    }

    fn gid(&self, port: u8, index: u8) -> Result<Gid, VerbsError> {
        self.0.ask_gid(port, index)
    }

    fn domain(&self) -> Result<Domain, VerbsError> {
        domain::allocate(self)
    }

    fn register(
        &self,
        domain: &Domain,
        memory: Arc<dyn Memory>,
        access: Access,
    ) -> Result<Registered, VerbsError> {
        domain::register(domain, memory, access)
    }

    fn completion_queue(&self, completions: u32) -> Result<Queue, VerbsError> {
        queue::create(self, completions)
    }

    fn shared_receives(&self, domain: &Domain, receives: u32) -> Result<Receives, VerbsError> {
        receives::create(domain, receives)
    }

    fn queue_pair(&self, domain: &Domain, options: &PairOptions<'_, Device>) -> Result<Pair, VerbsError> {
        pair::create(domain, options)
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.event_descriptor())
    }

    fn next_event(&self) -> Result<Option<Event>, VerbsError> {
        events::next(&self.0)
    }
}
