//! The simulated network goes on with each turn of the sockets beside it, and while a client waits.

use super::*;
use std::io::{self, ErrorKind, Read, Write};
use torc_rdma::client::ClientEnd;

pub(in crate::transport) const SEEDS: u64 = 8;
/// Steps of the network in a turn, and those after which nothing comes any more.
const STEPS: usize = 60;
const STEPS_MAX: usize = 20_000;

/// Sockets, whose turn has the network go on.
pub(in crate::transport) struct Steps<T> {
    pub(super) sockets: T,
    pub(super) network: Network,
}

impl<T: Transport> Transport for Steps<T> {
    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let is_still = (0..STEPS).any(|_| !self.network.step());
        // A simulated queue wakes nobody.
        let most = Duration::from_millis(u64::from(is_still));
        self.sockets.turn(Some(wait.map_or(most, |wait| wait.min(most))), events)
    }
    fn may_have_news(&mut self) -> bool {
        self.network.step();
        self.sockets.may_have_news()
    }
    fn received(&self, buffer: BufferId, len: u32) -> &[u8] {
        self.sockets.received(buffer, len)
    }
    fn recycle(&mut self, buffer: BufferId) {
        self.sockets.recycle(buffer);
    }
    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        self.sockets.receive_into(conn, room, last)
    }
    fn recall(&mut self, conn: ConnId) {
        self.sockets.recall(conn);
    }
    fn send(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        self.sockets.send(conn, pieces, notice);
    }
    fn taken(&self, conn: ConnId) -> u64 {
        self.sockets.taken(conn)
    }
    fn pause(&mut self, conn: ConnId) {
        self.sockets.pause(conn);
    }
    fn resume(&mut self, conn: ConnId) {
        self.sockets.resume(conn);
    }
    fn close(&mut self, conn: ConnId) {
        self.sockets.close(conn);
    }
    fn stop_accepting(&mut self) {
        self.sockets.stop_accepting();
    }
    fn addresses(&self, conn: ConnId) -> (String, String) {
        self.sockets.addresses(conn)
    }
    fn waker(&self) -> Arc<dyn Waker> {
        self.sockets.waker()
    }
    fn name(&self) -> &'static str {
        self.sockets.name()
    }
}

/// A client's end.
pub(in crate::transport) struct Client {
    pub(in crate::transport) end: ClientEnd<Device>,
    pub(in crate::transport) socket: TcpStream,
    pub(super) network: Network,
}

impl Client {
    /// Takes what has come, and what comes without the server's doing.
    pub(in crate::transport) fn drain(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..STEPS {
            for _ in 0..STEPS {
                self.network.step();
            }
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = self.end.read(&mut some) {
                bytes.extend_from_slice(&some[..count]);
            }
        }
    }
}

impl Read for Client {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        for _ in 0..STEPS_MAX {
            match self.end.read(room) {
                Ok(0) => {
                    self.network.step();
                }
                count => return Ok(count.unwrap_or(0)),
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for _ in 0..STEPS_MAX {
            match self.end.write(bytes).map_err(io::Error::other)? {
                0 => {
                    self.network.step();
                }
                count => return Ok(count),
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
