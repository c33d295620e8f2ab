//! One connection to one port of the server: frames out, answers in. No socket.

use super::rdma::{Offer, Pairing};
use crate::call::Call;
use crate::order::Ticket;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, FrameLimits, Op, Options, ParseError};

/// Where a connection stands.
///
/// ```text
/// Idle --wanted--> Wanted --opened--> Connecting --up--> Greeting --hello--> Ready
///   ^                 ^                    |                 |                  |
///   |                 +--- Backoff <-------+-----------------+------ lost ------+
///   +----------------------- lost, and nothing waits
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum State {
    Idle,
    /// The driver shall open it.
    Wanted,
    Connecting {
        since: Instant,
    },
    /// Up; the hello is on its way.
    Greeting {
        since: Instant,
    },
    Ready,
    Backoff {
        until: Instant,
    },
}

/// What waits for the answer with a certain id.
#[derive(Debug)]
pub(crate) enum Entry {
    Call(Box<Call>),
    Hello,
    Map,
    Pair,
    /// What the server lets this client read; it was asked then.
    Reads(Instant),
    /// The caller gave up; the number of its change stays taken until the answer comes.
    Abandoned {
        number: u64,
        /// It may still be done.
        _ticket: Option<Ticket>,
    },
    Over,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Socket,
    /// Rings in shared memory.
    Rings,
    Rdma,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) state: State,
    pub(crate) over: Over,
    /// The connection shall go on there before anything is asked over it.
    pub(crate) offer: Option<Offer>,
    pub(super) pairing: Pairing,
    /// By its last hello.
    pub(super) server_has_rdma: bool,
    /// The peer that tries RDMA for this one, and the one that this one tries it for.
    pub(super) scout: Option<usize>,
    pub(super) scouts_for: Option<usize>,
    /// Nothing is sent any more since then: a scout takes its place when it owes nothing.
    pub(super) held: Option<Instant>,
    /// Boot id from the last hello, 0: none yet.
    pub(crate) boot_id: u64,
    /// Failed tries since it was last ready.
    pub(crate) failures: u32,
    pub(crate) last_error: String,
    pub(crate) last_received: Instant,
    /// Calls that wait for it to become ready, in order.
    pub(crate) waiting: VecDeque<Box<Call>>,
    /// From the lowest unanswered id on.
    in_flight: VecDeque<Entry>,
    first_id: u32,
    /// Bytes to send; the driver takes them.
    pub(crate) out: Vec<u8>,
    /// Received bytes that are no whole frame yet.
    input: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(address: String, now: Instant) -> Peer {
        Peer {
            address,
            state: State::Idle,
            over: Over::Socket,
            offer: None,
            pairing: Pairing::No,
            server_has_rdma: false,
            scout: None,
            scouts_for: None,
            held: None,
            boot_id: 0,
            failures: 0,
            last_error: "not tried yet".into(),
            last_received: now,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            first_id: 1,
            out: Vec::new(),
            input: Vec::new(),
        }
    }

    /// One that tries RDMA for another one.
    pub(super) fn scout(main: usize, now: Instant) -> Peer {
        Peer { scouts_for: Some(main), ..Peer::new(String::new(), now) }
    }

    /// Composes a frame whose answer is `entry`'s.
    pub(crate) fn send(
        &mut self,
        op: Op,
        flags: u16,
        options: &Options,
        key: &[u8],
        value: &[u8],
        entry: Entry,
    ) {
        let id = self.next_id();
        // Lengths are checked when a call is made; our own frames are short.
        if compose_request(&mut self.out, op, flags, id, options, key, value).is_ok() {
            self.in_flight.push_back(entry);
        }
    }

    /// Notes who waits for the next id of a frame that takes several ([N-MGET-1]).
    pub(crate) fn expect(&mut self, entry: Entry) {
        self.in_flight.push_back(entry);
    }

    pub(crate) fn next_id(&self) -> u32 {
        self.first_id.wrapping_add(self.in_flight.len() as u32)
    }

    pub(crate) fn in_flight(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.in_flight.iter_mut()
    }

    /// Takes what waits for this id, if anything does.
    pub(crate) fn answered(&mut self, id: u32) -> Option<Entry> {
        let index = id.wrapping_sub(self.first_id) as usize;
        let entry = std::mem::replace(self.in_flight.get_mut(index)?, Entry::Over);
        while matches!(self.in_flight.front(), Some(Entry::Over)) {
            self.in_flight.pop_front();
            self.first_id = self.first_id.wrapping_add(1);
        }
        (!matches!(entry, Entry::Over)).then_some(entry)
    }

    /// Forgets the connection and gives back all that it owes, in the order of sending.
    pub(crate) fn reset(&mut self) -> VecDeque<Entry> {
        self.over = Over::Socket;
        self.offer = None;
        self.pairing = Pairing::No;
        self.held = None;
        self.out.clear();
        self.input = Vec::new();
        self.first_id = self.next_id();
        std::mem::take(&mut self.in_flight)
    }

    /// Whether calls are sent over it.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Ready && self.held.is_none()
    }

    /// Whether it shall go on elsewhere first.
    pub(super) fn is_moving(&self) -> bool {
        self.offer.is_some() || self.pairing != Pairing::No
    }

    /// Whether it is over RDMA, or about to be.
    pub(super) fn tries_rdma(&self) -> bool {
        self.over == Over::Rdma || self.pairing != Pairing::No
    }

    /// RDMA is paired over TCP alone: addresses of both are the network's.
    pub(super) fn is_tcp(&self) -> bool {
        !self.address.starts_with("unix:") && !self.address.starts_with("shm:")
    }

    /// Whether nothing is owed.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether anything is owed or waits.
    pub(crate) fn is_needed(&self) -> bool {
        !self.waiting.is_empty() || !self.in_flight.is_empty()
    }

    /// Splits received bytes into answers. `each` gets one answer at a time and may say why it cannot be.
    pub(crate) fn frames(
        peer_input: &mut Vec<u8>,
        bytes: &[u8],
        value_bytes_max: u32,
        mut each: impl FnMut(Answer<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let buffered = !peer_input.is_empty();
        if buffered {
            peer_input.extend_from_slice(bytes);
        }
        let taken = std::mem::take(peer_input);
        let mut rest = if buffered { &taken[..] } else { bytes };
        let limits = FrameLimits { value_bytes_max };
        loop {
            match Answer::parse(rest, &limits) {
                Ok((answer, consumed)) => {
                    each(answer)?;
                    rest = &rest[consumed..];
                }
                Err(ParseError::Invalid(invalid)) => return Err(invalid.to_string()),
                Err(ParseError::Incomplete { .. }) if rest.len() == taken.len() => break,
                Err(ParseError::Incomplete { missing }) => {
                    // Room for the rest of a long value at once, but not on the word of a header alone.
                    let mut kept = Vec::with_capacity(rest.len() + missing.min(1 << 20));
                    kept.extend_from_slice(rest);
                    *peer_input = kept;
                    return Ok(());
                }
            }
        }
        *peer_input = taken;
        Ok(())
    }

    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    pub(crate) fn put_input(&mut self, input: Vec<u8>) {
        self.input = input;
    }
}

/// Doubles from the first to the last, half of it random, so that many clients do not come at once.
pub(crate) fn backoff(failures: u32, min: Duration, max: Duration, random: u64) -> Duration {
    let whole = min.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX)).min(max);
    let half = whole / 2;
    half + half.mul_f64((random % 1024) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_is_spread() {
        let (min, max) = (Duration::from_millis(10), Duration::from_secs(1));
        assert!(backoff(0, min, max, 0) == Duration::from_millis(5));
        assert!(backoff(3, min, max, 1023) < Duration::from_millis(80));
        for failures in [7, 20, 31, 32, 1000] {
            let wait = backoff(failures, min, max, 512);
            assert!(wait >= max / 2 && wait <= max, "{failures}: {wait:?}");
        }
    }

    /// Ids wrap, and an answer that nobody waits for is found out.
    #[test]
    fn entries_are_found_by_id_in_any_order() {
        let mut peer = Peer::new("x".into(), Instant::now());
        peer.first_id = u32::MAX;
        for number in 0..3 {
            peer.expect(Entry::Abandoned { number, _ticket: None });
        }
        assert!(matches!(peer.answered(1), Some(Entry::Abandoned { number: 2, .. })));
        assert!(matches!(peer.answered(u32::MAX), Some(Entry::Abandoned { number: 0, .. })));
        assert!(
            peer.answered(u32::MAX).is_none() && peer.answered(1).is_none() && peer.answered(2).is_none()
        );
        assert!(matches!(peer.answered(0), Some(Entry::Abandoned { number: 1, .. })));
        assert_eq!(peer.next_id(), 2);
    }

    fn answers(slices: &[&[u8]]) -> Result<Vec<(u32, Vec<u8>)>, String> {
        let mut input = Vec::new();
        let mut got = Vec::new();
        for bytes in slices {
            Peer::frames(&mut input, bytes, 100, |answer| {
                got.push((answer.header.id, answer.value.to_vec()));
                Ok(())
            })?;
        }
        assert!(input.is_empty(), "whole frames leave nothing behind");
        Ok(got)
    }

    #[test]
    fn answers_are_the_same_however_they_are_cut() {
        let mut wire = Vec::new();
        for (id, value) in [(1, &b""[..]), (2, b"value"), (3, &[7; 100])] {
            let header = torc_proto::native::AnswerHeader { op: 0x10, id, ..Default::default() };
            Answer { header, extensions: &[], key: b"k", value }.compose(&mut wire).expect("short");
        }
        let whole = answers(&[&wire]).expect("frames");
        assert_eq!(
            whole.iter().map(|(id, value)| (*id, value.len())).collect::<Vec<_>>(),
            [(1, 0), (2, 5), (3, 100)]
        );
        for cut in 1..wire.len() {
            let (first, second) = wire.split_at(cut);
            assert_eq!(answers(&[first, second]).as_ref(), Ok(&whole), "cut at {cut}");
        }
        let bytes: Vec<_> = wire.chunks(1).collect();
        assert_eq!(answers(&bytes), Ok(whole));
    }

    #[test]
    fn a_value_over_the_limit_and_garbage_end_the_connection() {
        let mut wire = Vec::new();
        let header = torc_proto::native::AnswerHeader { op: 0x10, ..Default::default() };
        Answer { header, extensions: &[], key: b"", value: &[7; 101] }.compose(&mut wire).expect("short");
        assert!(answers(&[&wire[..24]]).expect_err("too long").contains("longer than the limit"));
        assert!(answers(&[b"+OK\r\n"]).is_err());
    }
}
