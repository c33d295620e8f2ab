//! A client's end before it knows its peer.

use super::ClientEnd;
use super::inbox::Inbox;
use super::memory::Memory;
use crate::link::{INLINE_BYTES_MAX, Link, SPARE_RECEIVES, Slots, told};
use crate::note::UNIT;
use crate::setup::{self, Place, Refused};
use crate::window::Window;
use torc_proto::native::pair::PairEnd;
use torc_verbs::seam::{Access, PairOptions, QueuePair, Verbs};

/// Sizes of a client's end. All of it is locked memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Messages that are taken before credits are given back, and their bytes.
    pub receives: u16,
    pub receive_bytes: u32,
    /// Room for long parts of answers, and of requests; bytes.
    pub landing_bytes: usize,
    pub lending_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { receives: 32, receive_bytes: 8 << 10, landing_bytes: 2 << 20, lending_bytes: 1 << 20 }
    }
}

/// Messages of ours that are under way.
const SLOTS: usize = 16;
const SLOT_BYTES: usize = 8 << 10;

/// An end that knows no peer yet.
#[derive(Debug)]
pub struct Unjoined<V: Verbs> {
    pair: V::Pair,
    queue: V::Queue,
    memory: Memory<V>,
    place: Place,
    sizes: Sizes,
    /// What the server is told.
    pub offer: PairEnd,
}

impl<V: Verbs> Unjoined<V> {
    /// `first`: 24 bits that are hard to guess.
    ///
    /// # Errors
    /// [`Refused::Verbs`]: what the device, or the limit of locked memory, does not give.
    pub fn new(
        device: &V,
        domain: &V::Domain,
        place: &Place,
        sizes: Sizes,
        first: u32,
    ) -> Result<Unjoined<V>, Refused> {
        let receives = sizes.receives.saturating_add(SPARE_RECEIVES);
        let slots = Slots { at: 0, count: SLOTS, bytes: SLOT_BYTES };
        let queue = device.completion_queue(u32::from(receives) + slots.requests() + 1)?;
        let memory = Memory::new(device, domain, SLOTS * SLOT_BYTES, &sizes)?;
        let options = PairOptions {
            send_queue: &queue,
            receive_queue: &queue,
            shared: None,
            sends: slots.requests(),
            receives: receives.into(),
            inline_bytes: INLINE_BYTES_MAX as u32,
        };
        let pair = device.queue_pair(domain, &options)?;
        pair.initialize(place.port, Access::RemoteReadWrite)?;
        for number in 0..receives {
            memory.post_receive(&pair, number)?;
        }
        let offer = PairEnd {
            receives: sizes.receives,
            receive_bytes: sizes.receive_bytes,
            landing: told(memory.landing.as_ref()),
            lending: told(memory.lending.as_ref()),
            ..place.end(pair.number(), first)
        };
        Ok(Unjoined { pair, queue, memory, place: *place, sizes, offer })
    }

    /// Connects with what the server has answered.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn join(self, answer: &PairEnd) -> Result<ClientEnd<V>, Refused> {
        setup::check(answer)?;
        self.place.join(&self.pair, &self.offer, answer)?;
        let slots = Slots { at: 0, count: SLOTS, bytes: SLOT_BYTES };
        let theirs = (answer.receives, answer.receive_bytes);
        let link = Link::new(self.pair, &slots, theirs, self.sizes.receives)
            .with_units_due(self.offer.landing.bytes as usize / UNIT / 4);
        Ok(ClientEnd {
            link,
            queue: self.queue,
            memory: self.memory,
            landing: Window::new(self.offer.landing.bytes as usize),
            lending: Window::new(self.offer.lending.bytes as usize),
            inbox: Inbox::new(2 * usize::from(self.sizes.receives)),
            is_lending: false,
            armed: false,
            broken: None,
            shard: answer.shard,
        })
    }
}
