//! Waiting for a small batch: `--min-wait`.
//!
//! A wait ends as soon as [`BATCH`] completions are there. Once the minimum wait is over, one completion is enough: one
//! that is there already, or else the first that comes. So a request waits for others no longer than the minimum wait,
//! and not at all if the shard had slept longer than that before it came. The kernel does all this by itself
//! (`min_wait_usec` of `struct io_uring_getevents_arg`, since Linux 6.12).
//!
//! While only one client is active there is nobody to wait for, so the first completion ends the wait. The same is true
//! while a send is under way that more bytes wait behind: a minimum wait would hold up its completion, and those bytes.

use super::Uring;
use crate::transport::{ConnId, Event};
use std::io;
use std::time::Duration;

/// Completions that are worth a turn at once.
const BATCH: u32 = 8;
/// A second client counts as active for so many turns.
const ACTIVE_TURNS: u32 = 16;

/// How long a wait lasts at least, and whether there are clients to wait for.
#[derive(Debug, Default)]
pub(super) struct MinWait {
    /// Microseconds; 0: no wait is held up.
    us: u32,
    /// Who was read last.
    last: Option<ConnId>,
    /// Turns for which several clients count as active.
    several: u32,
}

impl MinWait {
    /// Called on the thread that waits.
    pub(super) fn new(min_wait: Duration) -> MinWait {
        let us = u32::try_from(min_wait.as_micros()).unwrap_or(u32::MAX);
        if us > 0 {
            // By default the kernel may end a timed wait up to 50 us late; if this call fails, it still may.
            // SAFETY: this operation takes a number and no pointer.
            unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        }
        MinWait { us, ..MinWait::default() }
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.us > 0
    }

    /// Notes which clients were read in a turn.
    fn note(&mut self, events: &[Event]) {
        self.several = self.several.saturating_sub(1);
        for event in events {
            if let Event::Received { conn, .. } = event
                && self.last.replace(*conn).is_some_and(|last| last != *conn)
            {
                self.several = ACTIVE_TURNS;
            }
        }
    }
}

impl Uring {
    /// Enters and reaps, waiting for a batch where that is worth it.
    pub(super) fn turn_for_batch(
        &mut self,
        wait: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let submissions = self.ring.submission().len();
        // Quick sends complete at once or not at all. Any other entry may have something waiting for its completion.
        let answers_only = submissions == self.quick.len();
        match wait.filter(|wait| !wait.is_zero() && answers_only && self.min_wait.several > 0) {
            Some(wait) => {
                self.registered.enter_for_batch(submissions as u32, wait, BATCH, self.min_wait.us)?;
            }
            None => self.enter(wait)?,
        }
        let before = events.len();
        self.reap(events);
        self.min_wait.note(&events[before..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{has_min_wait, probe};
    use super::*;
    use crate::transport::sockets::SocketsConfig;
    use crate::transport::{BufferId, Transport};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    /// Long, so that a busy machine does not look like a wait.
    const MIN_WAIT: Duration = Duration::from_millis(300);

    /// A transport with so many clients that have all been read once.
    fn with_clients(count: usize) -> (Uring, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut uring = Uring::new(SocketsConfig {
            listeners: vec![listener.into()],
            buffers: 64,
            buffer_bytes: 64,
            spins: false,
            min_wait: MIN_WAIT,
        })
        .unwrap();
        let mut clients: Vec<_> = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
        clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
        let mut read = 0;
        while read < count {
            read += turn(&mut uring).0;
        }
        (uring, clients)
    }

    /// How many clients were read in a turn, and how long it took.
    fn turn(uring: &mut Uring) -> (usize, Duration) {
        let (mut events, begun) = (Vec::new(), Instant::now());
        uring.turn(Some(Duration::from_secs(20)), &mut events).unwrap();
        let took = begun.elapsed();
        let mut read = 0;
        for event in events {
            if let Event::Received { buffer, .. } = event {
                uring.recycle(buffer);
                read += 1;
            }
        }
        (read, took)
    }

    /// Whether the kernel has minimum waits, which each test needs.
    fn is_here() -> bool {
        probe().is_ok() && has_min_wait()
    }

    #[test]
    fn a_lone_client_is_answered_at_once() {
        if !is_here() {
            return;
        }
        let (mut uring, mut clients) = with_clients(1);
        let fastest = (0..5).map(|_| {
            clients[0].write_all(b"x").unwrap();
            turn(&mut uring).1
        });
        assert!(fastest.min().is_some_and(|took| took < MIN_WAIT));
    }

    #[test]
    fn with_several_clients_the_wait_ends_with_its_minimum_or_with_a_batch() {
        if !is_here() {
            return;
        }
        let (mut uring, mut clients) = with_clients(BATCH as usize);
        clients[0].write_all(b"x").unwrap();
        let (read, took) = turn(&mut uring);
        assert!(read == 1 && took >= MIN_WAIT, "{read} in {took:?}");
        let fastest = (0..5).map(|_| {
            clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
            let (read, took) = turn(&mut uring);
            assert_eq!(read, clients.len());
            took
        });
        assert!(fastest.min().is_some_and(|took| took < MIN_WAIT));
        std::thread::scope(|scope| {
            // No request for longer than the minimum wait: the next one is served at once.
            let client = &mut clients[0];
            let asking = scope.spawn(move || {
                std::thread::sleep(2 * MIN_WAIT);
                client.write_all(b"x").unwrap();
                Instant::now()
            });
            assert_eq!(turn(&mut uring).0, 1);
            let late = asking.join().unwrap().elapsed();
            assert!(late < MIN_WAIT, "{late:?}");
        });
    }

    fn received(index: u32) -> Event {
        Event::Received { conn: ConnId { index, generation: 0 }, buffer: BufferId(0), len: 1 }
    }

    #[test]
    fn one_client_alone_is_never_waited_with() {
        let mut min_wait = MinWait { us: 20, ..MinWait::default() };
        for _ in 0..100 {
            min_wait.note(&[received(7)]);
            assert_eq!(min_wait.several, 0);
        }
    }

    #[test]
    fn several_clients_are_forgotten_when_one_is_left() {
        let mut min_wait = MinWait { us: 20, ..MinWait::default() };
        min_wait.note(&[received(1), received(2)]);
        assert_eq!(min_wait.several, ACTIVE_TURNS);
        min_wait.note(&[received(1)]);
        for left in (0..ACTIVE_TURNS).rev() {
            min_wait.note(&[received(1)]);
            assert_eq!(min_wait.several, left);
        }
    }
}
