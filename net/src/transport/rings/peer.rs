//! Who is at the other end of a socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The user of the process that connected, if it is a Unix socket.
pub(super) fn user(socket: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    if option::<libc::c_int>(socket, libc::SO_DOMAIN)? != libc::AF_UNIX {
        return Ok(None);
    }
    option::<libc::ucred>(socket, libc::SO_PEERCRED).map(|credentials| Some(credentials.uid))
}

/// An option of a socket whose value is plain data.
fn option<V: Copy>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<V> {
    // SAFETY: called for a number and for `ucred`, which is three of them: zeros are a value of each.
    let mut value: V = unsafe { std::mem::zeroed() };
    let mut len = size_of::<V>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes, and the kernel writes at most that many.
    let told = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut len)
    };
    if told == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
