//! Descriptors of the library, which are read without waiting.

use crate::error::VerbsError;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes reads of a descriptor of the library return at once.
pub(super) fn do_not_wait(descriptor: BorrowedFd<'_>) -> Result<(), VerbsError> {
    let fd = descriptor.as_raw_fd();
    // SAFETY: neither command takes a pointer.
    let returned =
        unsafe { libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) | libc::O_NONBLOCK) };
    if returned < 0 { Err(VerbsError::last("fcntl")) } else { Ok(()) }
}

/// Whether a call that returns -1 has found nothing yet.
pub(super) fn is_nothing(error: &VerbsError) -> bool {
    matches!(error.errno, libc::EAGAIN | libc::EINTR)
}
