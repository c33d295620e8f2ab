//! The registered memory of a client's end.

use super::inbox::Part;
use super::{RECEIVE, Sizes};
use crate::link::SPARE_RECEIVES;
use std::sync::Arc;
use torc_verbs::error::VerbsError;
use torc_verbs::memory::Buffer;
use torc_verbs::seam::{Access, QueuePair, Verbs};
use torc_verbs::work::Piece;

/// Memory, and its registration.
type Registered<V> = (Arc<Buffer>, <V as Verbs>::Region);

#[derive(Debug)]
pub(super) struct Memory<V: Verbs> {
    /// Messages to send, then receives.
    pub(super) slots: Registered<V>,
    receives_at: usize,
    pub(super) receive_bytes: usize,
    /// Written by the server.
    pub(super) landing: Option<Registered<V>>,
    /// Read by the server.
    pub(super) lending: Option<Registered<V>>,
}

impl<V: Verbs> Memory<V> {
    pub(super) fn new(
        device: &V,
        domain: &V::Domain,
        slots_bytes: usize,
        sizes: &Sizes,
    ) -> Result<Memory<V>, VerbsError> {
        let register = |bytes: usize, access: Access| {
            let memory = Buffer::new(bytes).map_err(|error| VerbsError::memory(&error))?;
            let region = device.register(domain, memory.clone(), access)?;
            Ok::<Registered<V>, VerbsError>((memory, region))
        };
        let receive_bytes = sizes.receive_bytes as usize;
        let window = |bytes: usize, access: Access| match bytes {
            0 => Ok(None),
            bytes => register(bytes, access).map(Some),
        };
        let receives = usize::from(sizes.receives) + usize::from(SPARE_RECEIVES);
        Ok(Memory {
            slots: register(slots_bytes + receives * receive_bytes, Access::Local)?,
            receives_at: slots_bytes,
            receive_bytes,
            landing: window(sizes.landing_bytes, Access::RemoteWrite)?,
            lending: window(sizes.lending_bytes, Access::RemoteRead)?,
        })
    }

    pub(super) fn post_receive(&self, pair: &V::Pair, number: u16) -> Result<(), VerbsError> {
        let at = self.receives_at + usize::from(number) * self.receive_bytes;
        let piece = Piece { region: &self.slots.1, at, len: self.receive_bytes };
        pair.post_receive(RECEIVE | u64::from(number), &[piece])
    }

    /// Copies the next bytes of a part.
    pub(super) fn read(&self, part: &Part, to: &mut [u8]) {
        match &self.landing {
            Some((landing, _)) if part.landed => landing.read(part.place + part.read(), to),
            _ => self.slots.0.read(self.receives_at + part.place * self.receive_bytes + part.read(), to),
        }
    }
}
