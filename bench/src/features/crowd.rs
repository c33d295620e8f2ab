//! Connections beside those that load: some that ask for nothing, and subscribers, which are read by a thread of their own.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::load::{CHANNEL, command};
use crate::{error::BenchError, generator::address::Address};

/// How long a reader waits for something to read before it looks whether it is to end.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// How long a server may take to answer a subscription.
const PATIENCE: Duration = Duration::from_secs(10);
/// Files of this process beside its connections.
const OTHER_FILES: u64 = 200;

/// Lets this process, and the servers that it starts, have so many connections, if the system allows.
pub(super) fn allow_files(connections: usize) -> Result<(), BenchError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        let most = limit.maximum.unwrap_or_default();
        BenchError::setting("idle-clients", format!("this process may have {most} files (ulimit -n)"))
    })
}

/// Connections that ask for nothing.
pub(super) fn idle(server: &Address, count: usize) -> Result<Vec<OwnedFd>, BenchError> {
    let connections: io::Result<Vec<_>> = (0..count).map(|_| server.connect()).collect();
    connections.map_err(BenchError::io("connecting clients"))
}

/// Subscribers of the channel. Dropping them ends their thread.
pub(super) struct Subscribers {
    ends: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Subscribers {
    pub(super) fn new(server: &Address, count: usize) -> Result<Self, BenchError> {
        let subscribed: io::Result<Vec<_>> = (0..count).map(|_| subscribe(server)).collect();
        let streams = subscribed.map_err(BenchError::io("subscribing"))?;
        let (ends, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (thread_ends, thread_bytes) = (Arc::clone(&ends), Arc::clone(&bytes));
        let reader = std::thread::spawn(move || read(streams, &thread_ends, &thread_bytes));
        Ok(Self { ends, bytes, reader: Some(reader) })
    }

    /// Bytes that they have read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        self.reader.take().map(JoinHandle::join);
    }
}

fn subscribe(server: &Address) -> io::Result<TcpStream> {
    let mut stream = TcpStream::from(server.connect()?);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&command(&[b"SUBSCRIBE", CHANNEL]))?;
    let mut answer = [0; 256];
    let read = stream.read(&mut answer)?;
    stream.set_nonblocking(true)?;
    match answer[..read].ends_with(b":1\r\n") {
        true => Ok(stream),
        false => Err(io::Error::new(ErrorKind::InvalidData, "a subscription was not answered as one")),
    }
}

fn read(mut streams: Vec<TcpStream>, ends: &AtomicBool, bytes: &AtomicU64) {
    let mut room = vec![0; 64 << 10];
    while !ends.load(Relaxed) {
        let mut polled: Vec<_> = streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        if poll(&mut polled, Some(&WAIT)).is_err() {
            continue;
        }
        let ready: Vec<usize> =
            (0..polled.len()).filter(|&number| !polled[number].revents().is_empty()).collect();
        // From the last: those before it keep their places.
        for number in ready.into_iter().rev() {
            match streams[number].read(&mut room) {
                Ok(0) => _ = streams.swap_remove(number),
                Ok(read) => _ = bytes.fetch_add(read as u64, Relaxed),
                Err(_) => {}
            }
        }
    }
}
