//! Who looks on during an attack: a neighbour with small requests, and a meter of resident memory.

use super::floods::{connect, request};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Ticks a second, in which the kernel counts times of CPUs (`proc(5)`), and one of them, by which each sum may be off.
const TICKS: u64 = 100;
const TICK: Duration = Duration::from_millis(1000 / TICKS);

/// A thread that does something again and again until it is asked for its result.
pub(super) struct Watch<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Default + Send + 'static> Watch<T> {
    fn start(every: Duration, mut look: impl FnMut(&mut T) + Send + 'static) -> Watch<T> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut result = T::default();
            while !stopped.load(Relaxed) {
                look(&mut result);
                std::thread::sleep(every);
            }
            result
        });
        Watch { stop, thread: Some(thread) }
    }

    pub(super) fn finish(mut self) -> T {
        self.stop.store(true, Relaxed);
        self.thread.take().expect("it runs until now").join().expect("the watch goes on")
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        // A test that failed does not wait for it.
        self.stop.store(true, Relaxed);
    }
}

/// What a process had resident at a moment, and how long its first thread, which looks at that, had waited for a CPU until then.
struct Resident {
    at: Instant,
    bytes: u64,
    waited: Duration,
}

/// What a process had resident at all moments of an attack.
#[derive(Default)]
pub(super) struct Residents(Vec<Resident>);

/// Waits for a CPU so long before a moment, or after it, as they are known when they are over, kept the server from looking.
const BEFORE: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_millis(150);

impl Residents {
    /// The most, bytes, without what came while the server had no CPU to look: so many bytes a second.
    pub(super) fn peak(&self, bytes_a_second: f64) -> u64 {
        let (mut first, mut last) = (0, 0);
        let judged = self.0.iter().map(|moment| {
            while self.0[first].at + BEFORE < moment.at {
                first += 1;
            }
            while last + 1 < self.0.len() && self.0[last].at < moment.at + AFTER {
                last += 1;
            }
            let waited = self.0[last].waited - self.0[first].waited;
            moment.bytes.saturating_sub((bytes_a_second * waited.as_secs_f64()) as u64)
        });
        judged.max().unwrap_or_default()
    }
}

/// Watches how much a process has resident.
pub(super) fn residents(process: u64) -> Watch<Residents> {
    Watch::start(Duration::from_millis(3), move |residents: &mut Residents| {
        let (at, bytes) = (Instant::now(), resident_bytes(process));
        residents.0.push(Resident { at, bytes, waited: waited_for_cpu(process) });
    })
}

/// How long the first thread of a process could have run and did not, of all its life; nothing where the kernel does not tell.
fn waited_for_cpu(process: u64) -> Duration {
    let told = std::fs::read_to_string(format!("/proc/{process}/task/{process}/schedstat"));
    let waited = told.ok().and_then(|told| told.split(' ').nth(1)?.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
}

pub(super) fn resident_bytes(process: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident process");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// A server that is waited for.
#[derive(Clone, Copy)]
pub(super) struct Waited {
    pub(super) process: u64,
    pub(super) shards: u64,
}

/// A moment of a wait.
struct Moment {
    at: Instant,
    /// CPU that the server has had, by shards, and that nobody on the machine has wanted.
    worked: Duration,
    idle: Duration,
}

impl Waited {
    fn now(self) -> Moment {
        let read = |path: &str| std::fs::read_to_string(path).expect("the kernel tells of it");
        let fields = |line: &str| line.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let process = read(&format!("/proc/{}/stat", self.process));
        // The name before may have spaces.
        let process: Vec<u64> = fields(process.rsplit(')').next().unwrap_or_default());
        let machine: Vec<u64> = fields(read("/proc/stat").lines().next().unwrap_or_default());
        // utime and stime; idle and iowait.
        let ticks = |times: &[u64]| Duration::from_millis(times.iter().sum::<u64>() * 1000 / TICKS);
        let worked = ticks(&process[11..13]) / self.shards as u32;
        Moment { at: Instant::now(), worked, idle: ticks(&machine[4..6]) }
    }

    /// How long the wait since then was for the server's doing. Time that others than the server take from a machine which has none to
    /// spare does not count.
    fn since(self, start: &Moment) -> Duration {
        let end = self.now();
        let on_server = (end.worked - start.worked) + end.idle.saturating_sub(start.idle) + TICK;
        (end.at - start.at).min(on_server)
    }
}

/// What a neighbour saw.
#[derive(Default)]
pub(super) struct Seen {
    durations: Vec<Duration>,
    /// The first error; nothing was asked after it.
    pub(super) error: Option<String>,
}

impl Seen {
    /// The 99th percentile of its requests' durations and the longest.
    pub(super) fn p99_and_max(&mut self) -> (Duration, Duration) {
        self.durations.sort_unstable();
        let p99 = self.durations.get(self.durations.len() * 99 / 100).copied().unwrap_or_default();
        (p99, self.durations.last().copied().unwrap_or_default())
    }
}

/// A client that sets and gets a small value every few milliseconds.
pub(super) fn neighbour(server: SocketAddr, waited: Waited) -> Watch<Seen> {
    let mut stream = connect(server);
    stream.set_nodelay(true).expect("no delay");
    let set = request(&[b"SET", b"neighbour", &[b'n'; 100]]);
    let get = request(&[b"GET", b"neighbour"]);
    let mut sets = false;
    Watch::start(Duration::from_millis(2), move |seen: &mut Seen| {
        if seen.error.is_some() {
            return;
        }
        sets = !sets;
        let start = waited.now();
        let answer = ask(&mut stream, if sets { &set } else { &get });
        seen.durations.push(waited.since(&start));
        match answer {
            Ok(answer) if sets && answer == b"+OK\r\n" => {}
            // Whether the value is still there is eviction's business.
            Ok(answer) if !sets && answer.starts_with(b"$") => {}
            Ok(answer) => seen.error = Some(format!("{:?}", String::from_utf8_lossy(&answer))),
            Err(error) => seen.error = Some(error.to_string()),
        }
    })
}

/// A line, or a line and a value of 100 bytes.
fn ask(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") || (answer.starts_with(b"$1") && answer.len() < 108) {
        let mut bytes = [0; 256];
        match stream.read(&mut bytes)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&bytes[..count]),
        }
    }
    Ok(answer)
}

#[test]
fn what_comes_while_a_server_has_no_cpu_to_look_is_no_peak() {
    let start = Instant::now();
    let moment = |ms, bytes, waited_ms| Resident {
        at: start + Duration::from_millis(ms),
        bytes,
        waited: Duration::from_millis(waited_ms),
    };
    let of = |moments: Vec<Resident>| Residents(moments).peak(1000.0);
    assert_eq!(of(vec![]), 0);
    let never_late = [(0, 500), (3, 900), (6, 700)].map(|(ms, bytes)| moment(ms, bytes, 40));
    assert_eq!(of(never_late.into()), 900);
    // The wait is known when it is over.
    assert_eq!(of(vec![moment(0, 500, 40), moment(3, 900, 40), moment(103, 700, 140)]), 800);
    // One that is long ago, or came long after, forgives nothing.
    let moments =
        [(0, 500, 0), (3, 500, 100), (300, 900, 100), (449, 500, 100), (451, 500, 100), (600, 1, 400)];
    assert_eq!(of(moments.map(|(ms, bytes, waited)| moment(ms, bytes, waited)).into()), 900);
}
