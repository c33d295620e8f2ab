//! A client's end: queue pair, memory and completions of one connection.

mod inbox;
mod memory;

use crate::Broken;
use crate::link::{INLINE_BYTES_MAX, Link, SPARE_RECEIVES, Slots, told};
use crate::note::{Kind, UNIT};
use crate::setup::{self, Place, Refused};
use crate::window::{Window, units};
use inbox::{Inbox, Part};
use memory::Memory;
use std::os::fd::BorrowedFd;
use torc_proto::native::pair::PairEnd;
use torc_verbs::completion::{Completion, Done};
use torc_verbs::seam::{Access, CompletionQueue, PairOptions, QueuePair, Verbs};

/// Requests shorter than this go by messages as a whole; of a longer one the server reads what is behind its first message.
const LENT_BYTES_MIN: usize = 16 << 10;
/// Bytes that are lent at a time: while the server reads one part the next is filled.
const LENT_BYTES_MAX: usize = 256 << 10;
/// Completions that are taken at a time.
const BATCH: usize = 16;
/// Of a work request's number: it is a receive's.
const RECEIVE: u64 = 1 << 63;

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

/// A client's end of a connection; one thread uses it.
#[derive(Debug)]
pub struct ClientEnd<V: Verbs> {
    // The queue pair goes before what it names.
    link: Link<V>,
    queue: V::Queue,
    memory: Memory<V>,
    landing: Window,
    lending: Window,
    inbox: Inbox,
    /// Of the bytes that were to be written the next are to be lent, too.
    is_lending: bool,
    armed: bool,
    broken: Option<Broken>,
    shard: u16,
}

impl<V: Verbs> ClientEnd<V> {
    /// The shard that has the other end.
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Readable when there is a notice, after [`ClientEnd::may_sleep`].
    pub fn notices(&self) -> Option<BorrowedFd<'_>> {
        self.queue.notices()
    }

    /// Bytes that have come and were not read, or more than 0 if the connection is broken. Looks for new ones.
    pub fn has_news(&mut self, blocked: bool) -> bool {
        self.poll();
        self.broken.is_some() || !self.inbox.is_empty() || (blocked && self.can_write())
    }

    fn can_write(&self) -> bool {
        self.link.has_room() && (!self.is_lending || self.lending.room() > 0)
    }

    /// Asks for a notice; false: something has come meanwhile, or can be written if that is waited for (`blocked`).
    pub fn may_sleep(&mut self, blocked: bool) -> bool {
        if !self.armed {
            match self.queue.arm(false) {
                Ok(()) => self.armed = true,
                Err(error) => self.fail(error.into()),
            }
        }
        !self.has_news(blocked)
    }

    /// Takes the notices that made the descriptor readable.
    pub fn hear_notices(&mut self) {
        match self.queue.take_notices() {
            Ok(true) => self.armed = false,
            Ok(false) => {}
            Err(error) => self.fail(error.into()),
        }
    }

    /// Reads bytes of the stream; how many, 0 if there are none.
    ///
    /// # Errors
    /// The connection is broken, and all that had come was read.
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Broken> {
        if self.inbox.is_empty() {
            self.poll();
        }
        let mut done = 0;
        while done < to.len()
            && let Some(part) = self.inbox.front()
        {
            let count = part.left.min(to.len() - done);
            self.memory.read(part, &mut to[done..][..count]);
            done += count;
            if let Some(part) = self.inbox.take(count)
                && let Err(broken) = self.give_back(part)
            {
                self.fail(broken);
                break;
            }
        }
        if done > 0 {
            self.settle();
        }
        match self.broken {
            Some(broken) if done == 0 => Err(broken),
            _ => Ok(done),
        }
    }

    /// A part was read to its end.
    fn give_back(&mut self, part: Part) -> Result<(), Broken> {
        if self.broken.is_some() {
            return Ok(());
        }
        if part.landed {
            if !self.landing.give_back(units(part.len)) {
                return Err(Broken::Room);
            }
            self.link.owe_units(units(part.len));
        } else {
            self.post_receive(part.place as u16)?;
            self.link.owe();
        }
        Ok(())
    }

    fn post_receive(&mut self, number: u16) -> Result<(), Broken> {
        Ok(self.memory.post_receive(self.link.pair(), number)?)
    }

    /// Writes as many of the bytes as go now; says how many.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        if !self.can_write() {
            self.poll();
        }
        let written = self.write_some(bytes);
        written.inspect_err(|broken| self.fail(*broken))
    }

    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let is_long = self.lending.room_ever() && bytes.len() >= LENT_BYTES_MIN;
        let mut done = 0;
        while done < bytes.len() && self.link.has_room() {
            let rest = &bytes[done..];
            // The last bytes come sooner by a message.
            self.is_lending &= rest.len() > self.link.message_bytes();
            let count = if self.is_lending { self.lend(rest)? } else { self.say(Kind::Bytes, rest)? };
            if count == 0 {
                break;
            }
            done += count;
            self.is_lending |= is_long;
        }
        self.is_lending &= done < bytes.len();
        self.link.flush(&self.memory.slots.1)?;
        Ok(done)
    }

    /// Plans a message of the first of these bytes; how many.
    fn say(&mut self, kind: Kind, bytes: &[u8]) -> Result<usize, Broken> {
        let count = bytes.len().min(self.link.message_bytes());
        let slots = (&*self.memory.slots.0, &self.memory.slots.1);
        // SAFETY: what a reference promises.
        unsafe { self.link.plan(slots, kind, count, std::iter::once((bytes.as_ptr(), count)))? };
        Ok(count)
    }

    /// Puts the first of these bytes where the server reads them, and says so; how many.
    fn lend(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let most = self.lending.room().min(LENT_BYTES_MAX);
        let count = if bytes.len() <= most { bytes.len() } else { most / UNIT * UNIT };
        let Some((memory, _)) = &self.memory.lending else { return Ok(0) };
        let Some(at) = (if count > 0 { self.lending.claim(count) } else { None }) else { return Ok(0) };
        memory.write(at, &bytes[..count]);
        self.say(Kind::Lent, &(count as u32).to_le_bytes())?;
        Ok(count)
    }

    /// Takes what the device has completed.
    fn poll(&mut self) {
        if self.broken.is_some() {
            return;
        }
        let mut completions = [Completion::NONE; BATCH];
        loop {
            let count = match self.queue.poll(&mut completions) {
                Ok(count) => count,
                Err(error) => return self.fail(error.into()),
            };
            for completion in &completions[..count] {
                if let Err(broken) = self.completed(completion) {
                    return self.fail(broken);
                }
            }
            if count < BATCH {
                break;
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.broken.is_none()
            && let Err(broken) = self.link.settle(&self.memory.slots.1)
        {
            self.fail(broken);
        }
    }

    /// Asks whether the server is there: if it is not, the connection breaks soon.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn ping(&mut self) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let asked = self.link.ping(&self.memory.slots.1);
        asked.inspect_err(|broken| self.fail(*broken))
    }

    fn completed(&mut self, completion: &Completion) -> Result<(), Broken> {
        let done = completion.result?;
        match done {
            Done::Received { len, immediate } => {
                self.received((completion.id & !RECEIVE) as u16, len as usize, immediate)
            }
            Done::WrittenByPeer { len, immediate } => {
                let heard = self.link.noted(Some(immediate), len as usize)?;
                self.take_units(heard.units)?;
                if heard.kind != Kind::Landed {
                    return Err(Broken::Message);
                }
                let at = self.landing.claim(len as usize).ok_or(Broken::Room)?;
                self.inbox.push(Part::landed(at, len as usize));
                self.post_receive((completion.id & !RECEIVE) as u16)?;
                self.link.owe();
                Ok(())
            }
            Done::Sent | Done::Written | Done::Read => self.link.complete(completion.id),
        }
    }

    fn received(&mut self, number: u16, len: usize, immediate: Option<u32>) -> Result<(), Broken> {
        let heard = self.link.noted(immediate, len)?;
        self.take_units(heard.units)?;
        match heard.kind {
            Kind::Bytes => {
                self.inbox.push(Part::received(number, len));
                Ok(())
            }
            Kind::Return | Kind::Ping | Kind::Pong => self.post_receive(number),
            Kind::Landed | Kind::Lent => Err(Broken::Message),
        }
    }

    fn take_units(&mut self, units: usize) -> Result<(), Broken> {
        if self.lending.give_back(units) { Ok(()) } else { Err(Broken::Room) }
    }

    fn fail(&mut self, broken: Broken) {
        if self.broken.is_none() {
            self.broken = Some(broken);
            self.link.fail();
        }
    }

    /// Why the connection is broken, if it is.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }
}
