//! A client for tests: it writes one stream and checks another, pauses, and sleeps until there is a notice.

use super::world::{Random, Wanted, bytes, check, place};
use crate::Broken;
use crate::client::{ClientEnd, Unjoined};
use torc_verbs::seam::Verbs;
use torc_verbs::sim::Device;

pub(super) struct Caller {
    pub(super) end: ClientEnd<Device>,
    /// The stream that it writes; the server's is the next.
    stream: u64,
    /// Bytes that were made up, and that there will be; what of them is to be written.
    made: u64,
    total: u64,
    left: Vec<u8>,
    /// Bytes that were read.
    pub(super) read: u64,
    pub(super) random: Random,
    is_asleep: bool,
    paused_until: u64,
    /// Pauses happen.
    pub(super) pauses: bool,
    pub(super) broken: Option<Broken>,
}

/// A client's end of its own, before it is joined.
pub(super) fn unjoined(device: &Device, wanted: &Wanted, first: u32) -> Unjoined<Device> {
    let domain = device.domain().expect("a domain");
    Unjoined::new(device, &domain, &place(device), wanted.client, first).expect("a queue pair")
}

impl Caller {
    /// With the number of its connection at the server.
    pub(super) fn new(end: ClientEnd<Device>, number: u64, total: u64, seed: u64) -> Caller {
        let (left, random) = (Vec::new(), Random::new(seed ^ number << 32 ^ 0x4341_4c4c));
        Caller {
            end,
            stream: 2 * number,
            made: 0,
            total,
            left,
            read: 0,
            random,
            is_asleep: false,
            paused_until: 0,
            pauses: true,
            broken: None,
        }
    }

    /// Makes all of the stream up at once.
    pub(super) fn in_one(&mut self) {
        self.left = bytes(self.stream, 0, self.total as usize);
        self.made = self.total;
    }

    pub(super) fn is_done(&self, expected: u64) -> bool {
        self.made == self.total && self.left.is_empty() && self.read == expected
    }

    pub(super) fn ping(&mut self) {
        if self.broken.is_none()
            && let Err(broken) = self.end.ping()
        {
            self.broken = Some(broken);
        }
        // As one whose time is up.
        self.is_asleep = false;
    }

    pub(super) fn turn(&mut self, now: u64) {
        if self.broken.is_some() || !self.is_awake(now) {
            return;
        }
        if let Err(broken) = self.try_turn() {
            self.broken = Some(broken);
        }
    }

    fn is_awake(&mut self, now: u64) -> bool {
        if self.is_asleep {
            self.end.hear_notices();
            self.is_asleep = self.end.is_asleep() && self.end.broken().is_none();
        }
        if self.pauses && self.random.percent(5) {
            self.paused_until = now + self.random.between(1, 3000) as u64;
        }
        !self.is_asleep && self.paused_until <= now
    }

    fn try_turn(&mut self) -> Result<(), Broken> {
        if self.left.is_empty() && self.made < self.total {
            let most = (self.total - self.made) as usize;
            self.left = bytes(self.stream, self.made, self.random.size(most).min(most));
            self.made += self.left.len() as u64;
        }
        let mut written = 0;
        if !self.left.is_empty() && self.random.percent(70) {
            written = self.end.write(&self.left)?;
            self.left.drain(..written);
        }
        let mut to = vec![0; self.random.size(100_000)];
        let count = if self.random.percent(70) { self.end.read(&mut to)? } else { 0 };
        check(self.stream + 1, self.read, &to[..count]);
        self.read += count as u64;
        if written + count == 0 {
            self.is_asleep = self.end.may_sleep(!self.left.is_empty());
        }
        Ok(())
    }
}
