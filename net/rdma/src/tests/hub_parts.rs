//! What a connection of the test server has taken and not looked at, and what it is to send.

use super::hub::Registration;
use super::world::{Random, bytes, check};
use crate::Broken;
use crate::server::ServerEnd;
use crate::window::{Window, units};
use std::collections::VecDeque;
use std::sync::Arc;
use torc_verbs::memory::{Buffer, Memory};
use torc_verbs::seam::Access;
use torc_verbs::sim::{Device, Domain, Registered};

/// READs at a time, and bytes of each at most.
const READS: usize = 4;
const READ_BYTES: usize = 300 << 10;
/// Memory for long parts of answers.
const ARENA_BYTES: usize = 2 << 20;
/// A stream that is not looked at.
const IGNORED: u64 = u64::MAX;
/// What memory is full of that was given back: nobody may see it.
const SCRIBBLE: u8 = 0xee;

enum Part {
    /// In a receive, so many bytes, of which some were looked at.
    Bytes {
        number: usize,
        len: usize,
        taken: usize,
    },
    Lent(usize),
}

struct Read {
    slot: usize,
    len: usize,
    is_last: bool,
}

/// A client's stream, as far as it has come.
pub(super) struct Incoming {
    stream: u64,
    /// Bytes that were looked at.
    pub(super) at: u64,
    /// Of them so many came by messages.
    pub(super) copied: u64,
    parts: VecDeque<Part>,
    rooms: Registration,
    reads: VecDeque<Read>,
    /// READs that were begun, ever; and of the lent part what is left, if it is begun.
    begun: usize,
    left: Option<usize>,
}

impl Incoming {
    pub(super) fn new(device: &Device, domain: &Domain, stream: u64) -> Incoming {
        let rooms = Registration::new(device, domain, READS * READ_BYTES, Access::Local);
        let (parts, reads) = (VecDeque::new(), VecDeque::new());
        Incoming { stream, at: 0, copied: 0, parts, rooms, reads, begun: 0, left: None }
    }

    pub(super) fn bytes(&mut self, number: usize, len: usize) {
        self.parts.push_back(Part::Bytes { number, len, taken: 0 });
    }

    pub(super) fn lent(&mut self, len: usize) {
        self.parts.push_back(Part::Lent(len));
    }

    /// Parts that were not looked at to their end.
    pub(super) fn count(&self) -> usize {
        self.parts.len()
    }

    /// Takes whatever comes.
    pub(super) fn ignore(&mut self) {
        self.stream = IGNORED;
    }

    /// Receives that hold bytes, which nobody will look at.
    pub(super) fn held(&mut self) -> Vec<usize> {
        let held = |part| match part {
            Part::Bytes { number, .. } => Some(number),
            Part::Lent(_) => None,
        };
        self.parts.drain(..).filter_map(held).collect()
    }

    /// Does something with the first part; the receive that it lay in, when all of it was looked at.
    pub(super) fn work(
        &mut self,
        end: &mut ServerEnd<Device>,
        region: &Registered,
        random: &mut Random,
        copy: impl Fn(usize, usize, &mut [u8]),
    ) -> Result<Option<usize>, Broken> {
        match self.parts.front_mut() {
            Some(Part::Bytes { number, len, taken }) if self.reads.is_empty() => {
                let count = if random.percent(80) { *len - *taken } else { random.between(0, *len - *taken) };
                let mut found = vec![0; count];
                copy(*number, *taken, &mut found);
                if self.stream != IGNORED {
                    check(self.stream, self.at, &found);
                }
                (*taken, self.at) = (*taken + count, self.at + count as u64);
                self.copied += count as u64;
                let worked_off = (taken == len).then_some(*number);
                if worked_off.is_some() {
                    self.parts.pop_front();
                }
                Ok(worked_off)
            }
            Some(&mut Part::Lent(len)) => self.read(end, region, random, len).map(|()| None),
            _ => Ok(None),
        }
    }

    fn read(
        &mut self,
        end: &mut ServerEnd<Device>,
        region: &Registered,
        random: &mut Random,
        len: usize,
    ) -> Result<(), Broken> {
        if self.left.is_none() {
            end.begin_lent(len)?;
        }
        let left = self.left.get_or_insert(len);
        while *left > 0 && self.reads.len() < READS {
            let slot = self.begun % READS;
            let wanted = if random.percent(50) { READ_BYTES } else { random.size(READ_BYTES) }.min(*left);
            let count = end.read(region, (&self.rooms.region, slot * READ_BYTES), wanted)?;
            if count == 0 {
                return Ok(());
            }
            *left -= count;
            self.begun += 1;
            self.reads.push_back(Read { slot, len: count, is_last: *left == 0 });
        }
        if *left == 0 {
            self.left = None;
            self.parts.pop_front();
        }
        Ok(())
    }

    /// So many READs are over; how many parts that ends.
    pub(super) fn over(&mut self, reads: usize) -> usize {
        let mut ended = 0;
        for Read { slot, len, is_last } in self.reads.drain(..reads) {
            let at = slot * READ_BYTES;
            if self.stream != IGNORED {
                check(self.stream, self.at, &self.rooms.memory.bytes(at, len));
            }
            self.at += len as u64;
            ended += usize::from(is_last);
        }
        ended
    }

    /// Where READs go to.
    pub(super) fn rooms(&self) -> &Arc<Buffer> {
        &self.rooms.memory
    }
}

enum Held {
    Own(Box<[u8]>),
    Arena(usize),
}

struct OutPart {
    held: Held,
    len: usize,
    sent: usize,
}

/// A server's stream, as far as it is made up.
pub(super) struct Outgoing {
    stream: u64,
    /// Bytes that were made up, and that there will be.
    at: u64,
    total: u64,
    arena: Registration,
    /// What of the arena is in use.
    window: Window,
    parts: VecDeque<OutPart>,
    /// Lengths of parts in the arena that were sent, and WRITEs that have to be over before they are free.
    lent: VecDeque<(usize, usize, usize)>,
    /// WRITEs ever.
    posted: usize,
    over: usize,
    /// All of it is long parts in the arena.
    is_long: bool,
}

impl Outgoing {
    pub(super) fn new(device: &Device, domain: &Domain, stream: u64, total: u64) -> Outgoing {
        let arena = Registration::new(device, domain, ARENA_BYTES, Access::Local);
        let (parts, lent, window) = (VecDeque::new(), VecDeque::new(), Window::new(ARENA_BYTES));
        Outgoing { stream, at: 0, total, arena, window, parts, lent, posted: 0, over: 0, is_long: false }
    }

    pub(super) fn only_long(&mut self) {
        self.is_long = true;
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.total && self.parts.is_empty() && self.lent.is_empty()
    }

    fn make_up(&mut self, random: &mut Random) {
        while self.at < self.total && self.parts.len() < 30 && !random.percent(20) {
            let most = (self.total - self.at).min(700 << 10) as usize;
            let len = if self.is_long { 10_000.min(most) } else { random.size(most).min(most) };
            let made = bytes(self.stream, self.at, len);
            let place = if self.is_long || random.percent(60) { self.window.claim(len) } else { None };
            let held = match place {
                Some(at) => {
                    self.arena.memory.write(at, &made);
                    Held::Arena(at)
                }
                None => Held::Own(made.into()),
            };
            self.parts.push_back(OutPart { held, len, sent: 0 });
            self.at += len as u64;
        }
    }

    pub(super) fn write(
        &mut self,
        end: &mut ServerEnd<Device>,
        memory: (&Buffer, &Registered),
        random: &mut Random,
    ) -> Result<(), Broken> {
        self.make_up(random);
        let start = self.arena.memory.start();
        let parts = self.parts.iter().map(|part| {
            let from = match &part.held {
                Held::Own(bytes) => bytes.as_ptr(),
                Held::Arena(at) => start.wrapping_add(*at).cast_const(),
            };
            (from.wrapping_add(part.sent), part.len - part.sent)
        });
        let region = &self.arena.region;
        let find = |from: *const u8, len: usize| {
            let at = from.addr().checked_sub(start.addr())?;
            (at + len <= ARENA_BYTES).then_some((region, at))
        };
        let before = end.writes_out();
        // SAFETY: parts of their own are not changed while they are here, those in the arena until their WRITEs are over.
        let sent = unsafe { end.write(memory, parts, find) }?;
        self.posted += end.writes_out() - before;
        self.sent(sent);
        Ok(())
    }

    fn sent(&mut self, mut count: usize) {
        while count > 0 {
            let part = self.parts.front_mut().expect("not more than there is");
            let now = count.min(part.len - part.sent);
            part.sent += now;
            count -= now;
            if part.sent == part.len
                && let Some(mut part) = self.parts.pop_front()
            {
                match &mut part.held {
                    Held::Own(bytes) => bytes.fill(SCRIBBLE),
                    Held::Arena(at) => self.lent.push_back((*at, part.len, self.posted)),
                }
            }
        }
        self.over(0);
    }

    /// So many WRITEs are over: what they were of is free.
    pub(super) fn over(&mut self, writes: usize) {
        self.over += writes;
        while let Some(&(at, len, mark)) = self.lent.front()
            && mark <= self.over
        {
            self.arena.memory.write(at, &vec![SCRIBBLE; len]);
            assert!(self.window.give_back(units(len)));
            self.lent.pop_front();
        }
    }
}
