//! The load generator: one thread, one epoll, nonblocking sockets, rings in shared memory, queue pairs.
//!
//! Goals: cost so little itself that a server on the only other core is the bottleneck; measure
//! what a client would feel. Non-goals: sharing a connection, TLS, more than one thread.
//!
//! ```text
//!            fill                  send                     recv             scan
//!  Source ---------> out buffer ----------> server ------------------> Codec -----> Tally
//!    ^                   |                                                |
//!    |                   `--- batch {at, remaining} ---> settle <---------'
//!    `--- Pace: closed: a batch was answered; open: its intended time has come   `-> histogram
//! ```
//!
//! A *batch* is `depth` requests that are written together on one connection. In the closed loop a
//! connection writes its next batch when the last one is answered (or, with a sliding window, one
//! request for each reply). In the open loop batches fall due by a schedule that does not care how
//! the server is doing, and latency counts from that intended time, so a stall of the server shows
//! in every request that should have been sent during it (no coordinated omission; Tene, "How not
//! to measure latency").

pub(crate) mod address;
mod connection;
pub(crate) mod epoll;
pub(crate) mod measure;
pub(crate) mod pace;
#[cfg(test)]
mod tests;

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use crate::{
    codec::{Codec, Tally},
    error::BenchError,
    process::probe::{Probe, Sample},
    workload::Source,
};
use address::Address;
use connection::{Connection, Received};
use epoll::{Epoll, Ready};
use measure::{Figures, Latency};
use pace::{Pace, Schedule};

/// Default of [`Plan::turn_bytes`]; holds a few thousand small replies.
pub(crate) const TURN_BYTES: usize = 256 * 1024;

/// Default of [`Plan::turn_connections`].
pub(crate) const TURN_CONNECTIONS: usize = 256;

/// How long the answers outstanding at the end of a run are waited for.
const DRAIN: Duration = Duration::from_secs(1);

/// How long no reply may come while some are outstanding.
const STALL_SECONDS: u64 = 30;

/// Sleep of a generator that does not spin, while nothing is ready.
const WAIT: Duration = Duration::from_millis(10);

/// Turns in a row that look at rings and queue pairs alone: sockets tell only that a server is gone, unless there are some of another kind.
const SKIPS_MAX: u32 = 64;

/// How a load is driven.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Connections, spread evenly over the addresses.
    pub connections: usize,
    /// Requests written together on a connection.
    pub depth: u32,
    /// Closed loop only: a request a reply, instead of a batch a batch.
    pub window: bool,
    pub pace: Pace,
    /// Load before measuring starts.
    pub warmup: Duration,
    /// Length of the measurement; `None`: until the source ends.
    pub duration: Option<Duration>,
    /// Never sleep. Right when the generator has a core of its own: a sleeping peer's wake-up would
    /// be charged to the server that sends to it.
    pub spin: bool,
    /// Most bytes that one connection receives, and sends, before the others get their turn.
    pub turn_bytes: usize,
    /// Most connections that are served in one step, for loads that share a thread.
    pub turn_connections: usize,
    pub seed: u64,
}

impl Plan {
    /// Batches of `depth` in the closed loop, until the source ends.
    pub(crate) fn closed(connections: usize, depth: u32) -> Self {
        Self {
            connections,
            depth,
            window: false,
            pace: Pace::Closed,
            warmup: Duration::ZERO,
            duration: None,
            spin: false,
            turn_bytes: TURN_BYTES,
            turn_connections: TURN_CONNECTIONS,
            seed: 1,
        }
    }
}

/// Connects, drives the load and returns what was measured.
pub(crate) fn drive<C: Codec, S: Source>(
    plan: &Plan,
    servers: &[Address],
    codec: &C,
    source: &mut S,
    probe: Option<&Probe>,
) -> Result<Figures, BenchError> {
    let mut driver = Driver::start(plan, servers, codec, source)?;
    loop {
        if let Some(figures) = driver.step(probe)? {
            return Ok(figures);
        }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmingUp,
    Measuring {
        since_ns: u64,
    },
    /// Nothing new is sent.
    Draining {
        until_ns: u64,
    },
}

/// A load under way. [`drive`] is the usual way to run one; stepping by hand lets two loads share
/// the thread.
pub(crate) struct Driver<'a, C: Codec, S> {
    plan: &'a Plan,
    codec: &'a C,
    source: &'a mut S,
    connections: Vec<Connection<C::Scanner>>,
    epoll: Epoll,
    schedule: Option<Schedule>,
    /// Some connections are looked at, and how often in a row the sockets were not for their sake.
    has_polled: bool,
    skips: u32,
    /// Connections that got work in this turn of the open loop.
    touched: Vec<usize>,
    next_connection: usize,
    inbox: Box<[u8]>,
    started: Instant,
    phase: Phase,
    source_ended: bool,
    outstanding: u64,
    last_reply_ns: u64,
    idle_ns: u64,
    turn_ns: u64,
    tally: Tally,
    latency: Latency,
    /// Clocks when measuring began.
    before: Marks,
    /// What was measured, once it is.
    measured: Figures,
}

impl<'a, C: Codec, S: Source> Driver<'a, C, S> {
    /// Connects, and in the closed loop sends each connection's first requests.
    pub(crate) fn start(
        plan: &'a Plan,
        servers: &[Address],
        codec: &'a C,
        source: &'a mut S,
    ) -> Result<Self, BenchError> {
        if servers.is_empty() || plan.connections == 0 || plan.depth == 0 {
            let reason = "a load needs a server, a connection and a depth of at least 1";
            return Err(BenchError::setting("connections", reason));
        }
        let epoll = Epoll::new(plan.turn_connections)?;
        let mut connections = Vec::with_capacity(plan.connections);
        for (number, server) in servers.iter().cycle().take(plan.connections).enumerate() {
            let mut connection = Connection::open(server)?;
            epoll.add(connection.fd(), number as u64)?;
            if let Some(notices) = connection.notices() {
                epoll.add(notices, number as u64)?;
            }
            codec.open(&mut connection.out);
            connections.push(connection);
        }
        let has_polled = connections.iter().any(Connection::is_polled);
        let schedule = match plan.pace {
            Pace::Closed => None,
            Pace::Open { rate } => Some(Schedule::new(rate, plan.depth, plan.seed)),
        };
        let mut driver = Self {
            plan,
            codec,
            source,
            connections,
            epoll,
            schedule,
            has_polled,
            skips: 0,
            touched: Vec::with_capacity(plan.connections),
            next_connection: 0,
            inbox: vec![0; plan.turn_bytes.max(1)].into(),
            started: Instant::now(),
            phase: Phase::WarmingUp,
            source_ended: false,
            outstanding: 0,
            last_reply_ns: 0,
            idle_ns: 0,
            turn_ns: 0,
            tally: Tally::default(),
            latency: Latency::new(),
            before: Marks::default(),
            measured: Figures::default(),
        };
        if driver.schedule.is_none() {
            (0..driver.connections.len()).try_for_each(|number| driver.refill(number))?;
        }
        Ok(driver)
    }

    /// Readable while some connection has something to do.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.fd()
    }

    /// Replies so far, since the warm-up.
    pub(crate) fn replies(&self) -> u64 {
        self.tally.replies()
    }

    /// One turn of the loop; the figures when the run is over.
    pub(crate) fn step(&mut self, probe: Option<&Probe>) -> Result<Option<Figures>, BenchError> {
        let ready = self.turn()?;
        let now_ns = self.now_ns();
        self.dispatch_due(now_ns)?;
        if ready == 0 {
            self.idle_ns += now_ns - self.turn_ns;
            self.refuse_stall(now_ns)?;
        }
        self.turn_ns = now_ns;
        let over = self.advance(now_ns, probe)?;
        Ok(over.then(|| self.figures()))
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// One wait for events and the work they bring; returns how many there were.
    fn turn(&mut self) -> Result<usize, BenchError> {
        let spin = self.plan.spin || self.schedule.is_some();
        if self.has_polled {
            let found = self.look_around()?;
            let skips = found > 0 || (spin && self.skips < SKIPS_MAX);
            self.skips = if skips { self.skips + 1 } else { 0 };
            if skips && self.skips < SKIPS_MAX {
                return Ok(found);
            }
            if !spin && !self.connections.iter_mut().all(Connection::may_sleep) {
                return Ok(found);
            }
        }
        let ready = self.epoll.wait(Some(if spin { Duration::ZERO } else { WAIT }))?;
        for at in 0..ready {
            let Ready { number, writable } = self.epoll.ready(at);
            if !self.connections[number].hear_bells() {
                return Err(BenchError::Closed { connection: number, connections: self.connections.len() });
            }
            self.go_on(number, writable)?;
        }
        Ok(ready)
    }

    /// Serves the rings and queue pairs that have something; returns how many they were.
    fn look_around(&mut self) -> Result<usize, BenchError> {
        let mut found = 0;
        for number in 0..self.connections.len() {
            if self.connections[number].has_news() {
                found += 1;
                self.go_on(number, true)?;
            }
        }
        Ok(found)
    }

    fn go_on(&mut self, number: usize, writable: bool) -> Result<(), BenchError> {
        if writable && self.connections[number].is_blocked() {
            self.flush(number)?;
        }
        self.receive(number)?;
        match self.schedule {
            None => self.refill(number),
            Some(_) => self.pump(number),
        }
    }

    /// Takes what a connection has received and settles the requests that it answers.
    fn receive(&mut self, number: usize) -> Result<(), BenchError> {
        let connection = &mut self.connections[number];
        let bytes = match connection.receive(&mut self.inbox)? {
            Received::Nothing => return Ok(()),
            Received::Closed => {
                return Err(BenchError::Closed { connection: number, connections: self.connections.len() });
            }
            Received::Bytes(bytes) => &self.inbox[..bytes],
        };
        let before = self.tally.replies();
        let scanned = self.codec.scan(&mut connection.scanner, bytes, &mut self.tally);
        scanned.map_err(|detail| self.protocol_error(number, detail))?;
        match self.tally.replies() - before {
            0 => Ok(()),
            replies => self.settle(number, replies),
        }
    }

    #[inline]
    fn settle(&mut self, number: usize, replies: u64) -> Result<(), BenchError> {
        let now_ns = self.now_ns();
        self.last_reply_ns = now_ns;
        let connection = &mut self.connections[number];
        let extra = connection.settle(replies, now_ns, &mut self.latency);
        if extra > 0 {
            let detail = format!("{extra} replies more than requests");
            return Err(self.protocol_error(number, detail));
        }
        self.outstanding -= replies;
        Ok(())
    }

    /// Closed loop: the next requests of a connection, if it may send.
    #[inline]
    fn refill(&mut self, number: usize) -> Result<(), BenchError> {
        let outstanding = self.connections[number].outstanding();
        let due = match self.plan.window {
            true => self.plan.depth - outstanding.min(self.plan.depth),
            false if outstanding == 0 => self.plan.depth,
            false => 0,
        };
        if due == 0 || matches!(self.phase, Phase::Draining { .. }) {
            return Ok(());
        }
        self.write(number, due, None)?;
        self.flush(number)
    }

    /// Writes up to `count` requests into a connection's buffer. `intended_ns` is when they should
    /// be sent; without it, that is now.
    #[inline]
    fn write(&mut self, number: usize, count: u32, intended_ns: Option<u64>) -> Result<(), BenchError> {
        if self.source_ended {
            return Ok(());
        }
        let written = self.source.fill(number, count, &mut self.connections[number].out);
        self.source_ended = written < count;
        let at_ns = intended_ns.unwrap_or_else(|| self.now_ns());
        self.connections[number].expect(at_ns, written);
        self.outstanding += u64::from(written);
        Ok(())
    }

    /// Open loop: hands batches whose time has come to the connections in turn.
    fn dispatch_due(&mut self, now_ns: u64) -> Result<(), BenchError> {
        let Some(schedule) = &mut self.schedule else {
            return Ok(());
        };
        if matches!(self.phase, Phase::Draining { .. }) || self.source_ended {
            return Ok(());
        }
        while let Some(intended_ns) = schedule.due(now_ns) {
            let number = self.next_connection;
            self.next_connection = (number + 1) % self.connections.len();
            if self.connections[number].wait(intended_ns) {
                self.touched.push(number);
            }
        }
        while let Some(number) = self.touched.pop() {
            self.pump(number)?;
        }
        Ok(())
    }

    /// Open loop: sends what waits on a connection, as far as it may have more in flight.
    fn pump(&mut self, number: usize) -> Result<(), BenchError> {
        let mut written = false;
        while let Some(intended_ns) = self.connections[number].next_waiting() {
            self.write(number, self.plan.depth, Some(intended_ns))?;
            written = true;
        }
        if written { self.flush(number) } else { Ok(()) }
    }

    fn flush(&mut self, number: usize) -> Result<(), BenchError> {
        let turn_bytes = self.inbox.len();
        self.connections[number].flush(&self.epoll, number as u64, turn_bytes)
    }

    fn protocol_error(&self, connection: usize, detail: String) -> BenchError {
        BenchError::Protocol { connection, protocol: self.codec.name(), detail }
    }

    fn refuse_stall(&self, now_ns: u64) -> Result<(), BenchError> {
        let silent_ns = now_ns.saturating_sub(self.last_reply_ns);
        if self.outstanding > 0 && silent_ns > STALL_SECONDS * 1_000_000_000 {
            return Err(BenchError::Stalled { seconds: STALL_SECONDS, outstanding: self.outstanding });
        }
        Ok(())
    }

    /// Moves from phase to phase; true when the run is over.
    fn advance(&mut self, now_ns: u64, probe: Option<&Probe>) -> Result<bool, BenchError> {
        let answered = self.source_ended && self.outstanding == 0;
        match self.phase {
            Phase::WarmingUp => {
                if now_ns >= self.plan.warmup.as_nanos() as u64 || answered {
                    // A load without warm-up may have sent and settled already: that counts.
                    if !self.plan.warmup.is_zero() {
                        self.latency.clear();
                        self.tally = Tally::default();
                    }
                    self.idle_ns = 0;
                    self.before = Marks::take(probe)?;
                    self.phase = Phase::Measuring { since_ns: now_ns };
                }
            }
            Phase::Measuring { since_ns } => {
                let length_ns = self.plan.duration.map(|length| length.as_nanos() as u64);
                if answered || length_ns.is_some_and(|ns| now_ns - since_ns >= ns) {
                    let after = Marks::take(probe)?;
                    self.measured = Figures::new(
                        Duration::from_nanos(now_ns - since_ns),
                        self.tally.clone(),
                        Duration::from_nanos(self.idle_ns),
                        after.generator.since(&self.before.generator),
                        after.server.zip(self.before.server).map(|(after, before)| after.since(&before)),
                    );
                    self.phase = Phase::Draining { until_ns: now_ns + DRAIN.as_nanos() as u64 };
                }
            }
            Phase::Draining { until_ns } => {
                let waiting = self.connections.iter().any(Connection::is_waiting);
                return Ok(now_ns >= until_ns || (self.outstanding == 0 && !waiting));
            }
        }
        Ok(false)
    }

    /// What is still unanswered enters the histogram with its age: a lower bound of its latency.
    fn figures(&mut self) -> Figures {
        let now_ns = self.now_ns();
        let mut figures = std::mem::take(&mut self.measured);
        for connection in &mut self.connections {
            figures.unanswered += connection.abandon(now_ns, self.plan.depth, &mut self.latency);
        }
        figures.latency_us = self.latency.percentiles();
        figures
    }
}

/// Process clocks at one moment.
#[derive(Default)]
struct Marks {
    generator: Sample,
    server: Option<Sample>,
}

impl Marks {
    fn take(probe: Option<&Probe>) -> Result<Self, BenchError> {
        Ok(Self { generator: Probe::this_process().sample()?, server: probe.map(Probe::sample).transpose()? })
    }
}
