//! How long a message and a READ of 64 bytes take between two devices, both ends in this process, each with a thread that polls:
//!
//!   cargo run --example latency -- DEVICE DEVICE [ROUNDS]
//!
//! Prints what `ib_send_lat` and `ib_read_lat` print as least and typical: of half a round trip, and of a READ, the median.

use std::env;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};
use torc_verbs::completion::{Completion, Done};
use torc_verbs::device::{Device, Domain, Pair, Queue, Registered};
use torc_verbs::memory::Buffer;
use torc_verbs::path::{Path, Peer};
use torc_verbs::region::Region;
use torc_verbs::seam::{Access, CompletionQueue, PairOptions, QueuePair, Verbs};
use torc_verbs::survey;
use torc_verbs::survey::choice::{Wish, choose};
use torc_verbs::work::{Action, Payload, Piece, Remote, Work};

const LEN: usize = 64;
const ROUNDS: usize = 2000;
/// Of so many sends one has a completion.
const SIGNAL_EVERY: usize = 32;

type Fault = Box<dyn Error + Send + Sync>;

struct End {
    pair: Pair,
    region: Registered,
    sends: Queue,
    receives: Queue,
    _domain: Domain,
    path: Path,
    peer: Peer,
}

fn end(name: &str) -> Result<End, Fault> {
    let wish = Wish { device: Some(name.into()), ..Wish::default() };
    let choice = choose(&survey::here(), &wish)?;
    let device = Device::open(&choice.device)?;
    let domain = device.domain()?;
    let (sends, receives) = (device.completion_queue(64)?, device.completion_queue(64)?);
    let region = device.register(&domain, Buffer::new(4096)?, Access::RemoteRead)?;
    let pair = device.queue_pair(
        &domain,
        &PairOptions {
            send_queue: &sends,
            receive_queue: &receives,
            shared: None,
            sends: 64,
            receives: 16,
            inline_bytes: LEN as u32,
        },
    )?;
    let path = Path::new(choice.port, choice.gid.index, choice.mtu);
    let peer = Peer { number: pair.number(), first: 0, gid: choice.gid.gid };
    pair.initialize(path.port, Access::RemoteRead)?;
    Ok(End { pair, region, sends, receives, _domain: domain, path, peer })
}

/// Polls until something comes.
fn next(queue: &Queue) -> Result<Completion, Fault> {
    let mut one = [Completion::NONE];
    while queue.poll(&mut one)? == 0 {
        std::hint::spin_loop();
    }
    one[0].result.map(|_| one[0]).map_err(Into::into)
}

impl End {
    fn receive(&self) -> Result<(), Fault> {
        Ok(self.pair.post_receive(0, &[Piece { region: &self.region, at: 0, len: LEN }])?)
    }

    fn send(&self, round: usize) -> Result<(), Fault> {
        let action = Action::Send { payload: Payload::Inline(&[7; LEN]), immediate: None };
        let signaled = round.is_multiple_of(SIGNAL_EVERY);
        self.pair.post(&[Work { id: 0, action, signaled, solicited: false }])?;
        self.sends.poll(&mut [Completion::NONE])?;
        Ok(())
    }

    /// Answers each message with one.
    fn answer(&self, rounds: usize) -> Result<(), Fault> {
        for round in 0..rounds {
            next(&self.receives)?;
            self.receive()?;
            self.send(round)?;
        }
        Ok(())
    }

    fn ask(&self, rounds: usize) -> Result<Vec<Duration>, Fault> {
        let mut times = Vec::with_capacity(rounds);
        for round in 0..rounds {
            let since = Instant::now();
            self.send(round)?;
            next(&self.receives)?;
            times.push(since.elapsed() / 2);
            self.receive()?;
        }
        Ok(times)
    }

    fn read(&self, from: Remote, rounds: usize) -> Result<Vec<Duration>, Fault> {
        let into = [Piece { region: &self.region, at: 0, len: LEN }];
        let mut times = Vec::with_capacity(rounds);
        while times.len() < rounds {
            let since = Instant::now();
            let action = Action::Read { into: &into, from };
            self.pair.post(&[Work { id: 1, action, signaled: true, solicited: false }])?;
            while next(&self.sends)?.result != Ok(Done::Read) {}
            times.push(since.elapsed());
        }
        Ok(times)
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |place: usize| times[place].as_secs_f64() * 1e6;
    println!("{what} {LEN} bytes: least {:.2} us, median {:.2} us", at(0), at(times.len() / 2));
}

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [a, b, rest @ ..] = arguments.as_slice() else { return Err("the names of two devices".into()) };
    let rounds = rest.first().map_or(Ok(ROUNDS), |rounds| rounds.parse())?.max(1);
    let (a, b) = (end(a)?, end(b)?);
    a.pair.ready_to_receive(&a.path, &b.peer)?;
    b.pair.ready_to_receive(&b.path, &a.peer)?;
    for end in [&a, &b] {
        end.pair.ready_to_send(&end.path)?;
        (0..8).try_for_each(|_| end.receive())?;
    }
    let sends = thread::scope(|scope| {
        let answering = scope.spawn(|| b.answer(rounds));
        let times = a.ask(rounds);
        answering.join().map_err(|_| "the answering thread panicked")??;
        times
    })?;
    print("send", sends);
    let from = Remote { address: b.region.address(), key: b.region.remote_key() };
    print("read", a.read(from, rounds)?);
    Ok(())
}
