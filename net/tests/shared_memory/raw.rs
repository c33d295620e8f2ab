//! A client that keeps to nothing: it has the files, and writes into its own what it likes.

use super::servers::PATIENCE;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, Attach, Attached, FrameLimits, Op, Options, Status};

/// Places of the words in a file ([N-SHM-4]).
pub(crate) const WRITTEN: usize = 0;
pub(crate) const TAKEN: usize = 64;
pub(crate) const SLEEP: usize = 128;
const WORDS: usize = 4096;

pub(crate) struct Raw {
    pub(crate) socket: UnixStream,
    /// Its own file, mapped to be written.
    file: *mut u8,
    pub(crate) ring_bytes: usize,
    pub(crate) written: u64,
    pub(crate) files: Vec<OwnedFd>,
}

// SAFETY: the mapping is no thread's.
unsafe impl Send for Raw {}

impl Raw {
    /// [N-SHM-1], [N-SHM-2]
    pub(crate) fn attach(path: &Path) -> Raw {
        Raw::try_attach(path).expect("the server shares its memory")
    }

    pub(crate) fn try_attach(path: &Path) -> Option<Raw> {
        let mut socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut request, mut value) = (Vec::new(), Vec::new());
        Attach::OURS.compose(&mut value);
        compose_request(&mut request, Op::Attach, 0, 9, &Options::NONE, b"", &value).unwrap();
        socket.write_all(&request).unwrap();
        let (mut bytes, mut files) = (Vec::new(), Vec::new());
        let limits = FrameLimits { value_bytes_max: 4096 };
        while files.len() < 2 {
            receive(&socket, &mut bytes, &mut files);
            if Answer::parse(&bytes, &limits).is_ok_and(|(answer, _)| answer.header.status() != Status::Ok) {
                return None;
            }
        }
        let (answer, consumed) = Answer::parse(&bytes, &limits).unwrap();
        // One message of descriptors, one byte.
        assert_eq!((answer.header.id, bytes.len() - consumed), (9, 1));
        let attached = Attached::parse(answer.value).unwrap();
        let ring_bytes = attached.request_ring_bytes as usize;
        // SAFETY: a new mapping of a file that is that long and cannot be cut.
        let file = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let fd = files[1].as_raw_fd();
            libc::mmap(std::ptr::null_mut(), WORDS + ring_bytes, protection, libc::MAP_SHARED, fd, 0)
        };
        assert!(file != libc::MAP_FAILED);
        Some(Raw { socket, file: file.cast(), ring_bytes, written: 0, files })
    }

    pub(crate) fn tell(&self, word: usize, value: u64) {
        // SAFETY: the words lie in the mapping, aligned.
        unsafe { (*self.file.add(word).cast::<AtomicU64>()).store(value, Ordering::Release) };
    }

    /// Writes to the ring, whether there is room or not, and tells.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = WORDS + self.written as usize % self.ring_bytes;
            // SAFETY: inside of the mapping.
            unsafe { self.file.add(at).write_volatile(*byte) };
            self.written += 1;
        }
        self.tell(WRITTEN, self.written);
    }

    pub(crate) fn request(&mut self, op: Op, key: &[u8], value: &[u8]) {
        let mut request = Vec::new();
        compose_request(&mut request, op, 0, 1, &Options::NONE, key, value).unwrap();
        self.write(&request);
    }

    /// Rings; false: the socket takes no more.
    pub(crate) fn ring(&self, bells: usize) -> bool {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let bells = vec![0u8; bells];
        // SAFETY: readable for its length.
        unsafe { libc::send(self.socket.as_raw_fd(), bells.as_ptr().cast(), bells.len(), flags) > 0 }
    }

    /// Whether the server has closed the connection, within its patience. Bells are no news.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut bells = [0; 4096];
        loop {
            match std::io::Read::read(&mut self.socket, &mut bells) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nobody refers into it.
        unsafe { libc::munmap(self.file.cast(), WORDS + self.ring_bytes) };
    }
}

fn receive(socket: &UnixStream, bytes: &mut Vec<u8>, files: &mut Vec<OwnedFd>) {
    let (mut room, mut control) = ([0u8; 4096], [0u64; 64]);
    let mut slice = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: a header of zeros is a valid one; what it names is live, and writable for the lengths that it says. The kernel
    // writes whole heads, and the descriptors are new.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (&raw mut slice, 1);
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        let received = libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        let error = std::io::Error::last_os_error();
        // A wait with a time-out is not restarted when the thread is stopped for a moment (signal(7)).
        if received < 0 && error.kind() == std::io::ErrorKind::Interrupted {
            return;
        }
        assert!(received > 0, "{received}, {error}");
        bytes.extend_from_slice(&room[..received as usize]);
        let head = libc::CMSG_FIRSTHDR(&raw const header);
        if !head.is_null() {
            let count = ((*head).cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<i32>();
            let list = libc::CMSG_DATA(head).cast::<i32>();
            files.extend((0..count).map(|at| OwnedFd::from_raw_fd(list.add(at).read_unaligned())));
        }
    }
}
