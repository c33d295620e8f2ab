//! Reads out of memory that the server shares.

use std::{os::fd::AsFd, path::Path, time::Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use torc_proto::native::ReadCounts;
use torc_shm::reads::{Look, Reads, Value};
use torc_shm::{Connected, connect_to_read};

use super::{Asking, Found, LOOKS, PATIENCE, PIECE_BYTES, Reading, broken, tell, topology};
use crate::error::BenchError;

pub(super) struct Client {
    rings: Connected,
    reads: Reads,
}

impl Client {
    pub(super) fn connect(path: &Path) -> Result<Client, BenchError> {
        let mut rings = connect_to_read(path, PATIENCE)
            .map_err(|error| BenchError::Invalid(format!("attaching at {}: {error}", path.display())))?;
        let topology = topology(&mut rings)?;
        let reads = Reads::open(std::mem::take(&mut rings.others), topology)
            .map_err(|error| BenchError::Invalid(error.to_string()))?;
        Ok(Client { rings, reads })
    }
}

impl Reading for Client {
    type Asking = Connected;

    fn get(&mut self, key: &[u8]) -> Result<Found, BenchError> {
        Ok(match self.reads.get(0, key) {
            Ok((Look::Hit { found, .. }, _)) => Found::Hit(match found.value {
                Value::Inline(value) => value.len() as u64,
                _ => 0,
            }),
            Ok(_) => Found::Miss,
            Err(_) => Found::Doubt,
        })
    }

    fn asking(&mut self, _key: &[u8]) -> &mut Connected {
        &mut self.rings
    }

    fn has_much_to_tell(&self) -> bool {
        self.reads.has_much_to_tell()
    }

    fn tell(&mut self) -> Result<(), BenchError> {
        let mut told = Vec::new();
        self.reads.tell(|op, value| told.push((op, value)));
        tell(&mut self.rings, &told)
    }

    fn counts(&self) -> ReadCounts {
        self.reads.counts()
    }

    fn remembered(&self) -> Option<u64> {
        None
    }
}

impl Asking for Connected {
    fn send(&mut self, mut bytes: &[u8]) -> Result<(), BenchError> {
        while !bytes.is_empty() {
            let sent = self.write_some(bytes).map_err(broken)?;
            self.wake_server();
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    fn receive(&mut self, input: &mut Vec<u8>) -> Result<(), BenchError> {
        let began = Instant::now();
        let mut looks = 0;
        while self.read_some(PIECE_BYTES, input).map_err(broken)? == 0 {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
                continue;
            }
            if began.elapsed() > PATIENCE {
                return Err(broken("it does not answer"));
            }
            if self.may_sleep(false).map_err(broken)? {
                let mut socket = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
                let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                // Interrupted or not, the ring is looked at again.
                let _ = poll(&mut socket, Some(&second));
            }
            self.hear_bells().map_err(broken)?;
        }
        self.wake_server();
        Ok(())
    }
}
