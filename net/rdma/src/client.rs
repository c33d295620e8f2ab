//! A client's end: queue pair, memory and completions of one connection.

mod inbox;
mod join;
mod memory;
mod write;

pub use join::{Sizes, Unjoined};

use crate::Broken;
use crate::link::Link;
use crate::note::Kind;
use crate::window::{Window, units};
use inbox::{Inbox, Part};
use memory::Memory;
use std::os::fd::BorrowedFd;
use torc_verbs::completion::{Completion, Done};
use torc_verbs::seam::{CompletionQueue, Verbs};

/// Completions that are taken at a time.
const BATCH: usize = 16;
/// Of a work request's number: it is a receive's.
const RECEIVE: u64 = 1 << 63;

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

#[cfg(test)]
impl<V: Verbs> ClientEnd<V> {
    pub(crate) fn link(&mut self) -> &mut Link<V> {
        &mut self.link
    }

    /// Units of the landing that are in use, and of the lending.
    pub(crate) fn used_units(&self) -> [usize; 2] {
        [self.landing.used_units(), self.lending.used_units()]
    }

    /// Whether it has heard no notice since it slept.
    pub(crate) fn is_asleep(&self) -> bool {
        self.armed
    }

    /// Parts that were not read.
    pub(crate) fn parts(&self) -> usize {
        self.inbox.len()
    }
}
