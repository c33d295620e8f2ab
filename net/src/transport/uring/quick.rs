//! Quick sends: of answers that nothing waits behind.
//!
//! A quick send never waits (`MSG_DONTWAIT`): it is over once the kernel has taken its entry. It posts a completion only
//! if it did not send everything (`IOSQE_CQE_SKIP_SUCCESS`). So once the kernel has taken the whole submission queue and
//! the completion queue is read to its end, every quick send without a completion has sent all. The rest of one that
//! failed for want of room goes by an ordinary send.
//!
//! All of this rests on one fact: the kernel counts a short send as failed. With `MSG_WAITALL` it does, for the sake of
//! entries that may be linked behind the send (Linux commit 0031275d119e, since 5.13). But no manual page says so, and an
//! answer that is cut short unnoticed breaks its connection. So each ring tries it once; if the kernel does not report
//! the short send, all sends are ordinary ones.

use super::Uring;
use super::user_data::{self, Operation};
use crate::transport::{ConnId, Event};
use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use socket2::SockRef;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Send buffer of the socket for the trial, roughly, and the length of a send that does not fit into it; bytes.
const ROOM_BYTES: usize = 4 << 10;
const BYTES: usize = 1 << 20;

/// Flags of a quick send. Without `WAITALL` a short send would be a success, and skip its completion.
const MESSAGE_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_DONTWAIT;
const ENTRY_FLAGS: squeue::Flags = squeue::Flags::SKIP_SUCCESS;

/// Tries a quick send that does not fit; nothing else may be in the ring.
///
/// # Errors
/// The kernel refused a socket or the submission.
pub(super) fn is_told_when_short(ring: &mut IoUring) -> io::Result<bool> {
    let (socket, _peer) = UnixStream::pair()?;
    SockRef::from(&socket).set_send_buffer_size(ROOM_BYTES)?;
    let bytes = vec![0u8; BYTES];
    let send = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
        .flags(MESSAGE_FLAGS | libc::MSG_NOSIGNAL)
        .build()
        .flags(ENTRY_FLAGS);
    // SAFETY: the socket and `bytes` outlive the send: it never waits, so it is over when `submit` returns.
    let pushed = unsafe { ring.submission().push(&send) };
    pushed.map_err(|_| io::Error::other("a new ring is full"))?;
    ring.submit()?;
    Ok(ring.completion().next().is_some_and(|completion| completion.result() < BYTES as i32))
}

impl Uring {
    /// As [`Uring::arm_send`], by a quick send. It is over when it is submitted, so `in_flight` does not count it.
    pub(super) fn arm_quick_send(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.find(conn) else { return };
        let send = socket.send_rest(MESSAGE_FLAGS).flags(ENTRY_FLAGS);
        socket.quick = true;
        self.quick.push(conn);
        self.push(send.user_data(user_data::encode(Operation::QuickSend, conn)));
    }

    /// Reports the quick sends that are over: see the module's text. `all_taken`: the kernel took the whole submission
    /// queue when it was entered; entries that were queued since then do not count. A send that cannot be reported yet is
    /// overdue: the next turn does not wait.
    pub(super) fn end_quick_sends(&mut self, all_taken: bool, events: &mut Vec<Event>) {
        self.quick_overdue = !self.quick.is_empty();
        if !self.quick_overdue {
            return;
        }
        let overflowed = self.ring.submission().cq_overflow();
        if !all_taken || overflowed || !self.ring.completion().is_empty() {
            return;
        }
        let mut quick = std::mem::take(&mut self.quick);
        for conn in quick.drain(..) {
            let Some(socket) = self.sockets.find(conn).filter(|socket| socket.quick) else { continue };
            socket.quick = false;
            let closing = socket.closing;
            events.push(Event::Sent { conn, pieces: std::mem::take(&mut socket.sending) });
            if closing {
                self.close_if_idle(conn);
            }
        }
        events.append(&mut self.pending);
        self.quick = quick;
        self.quick_overdue = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{build_ring, probe};
    use super::*;

    #[test]
    fn kernels_of_today_tell() {
        if probe().is_ok() {
            assert!(is_told_when_short(&mut build_ring(8, 16, false).unwrap()).unwrap());
        }
    }
}
