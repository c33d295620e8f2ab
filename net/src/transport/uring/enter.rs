//! `io_uring_enter` by the ring's registered descriptor, which spares the kernel a look-up of the file.
//!
//! The io-uring crate remembers a registration only in one borrowed submitter, which cannot be kept beside the
//! ring; so the two system calls are made here.

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// `struct io_uring_rsrc_update` of `linux/io_uring.h`.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// `IORING_REGISTER_RING_FDS` of `linux/io_uring.h`.
const REGISTER_RING_FDS: libc::c_uint = 20;
/// `IORING_UNREGISTER_RING_FDS` of `linux/io_uring.h`.
const UNREGISTER_RING_FDS: libc::c_uint = 21;

/// A ring's descriptor in this thread's table of registered rings. The table keeps the ring alive until
/// [`RegisteredRing::unregister`] or the thread's end.
#[derive(Debug)]
pub(super) struct RegisteredRing(i32);

impl RegisteredRing {
    pub(super) fn new(ring: &IoUring) -> io::Result<RegisteredRing> {
        let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: ring.as_raw_fd() as u64 };
        // SAFETY: `update` is one writable entry of the kind that this register call takes.
        let count = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                REGISTER_RING_FDS,
                &raw mut update,
                1,
            )
        };
        match count {
            1 => Ok(RegisteredRing(update.offset as i32)),
            0 => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) fn unregister(&self, ring: &IoUring) {
        let mut update = RingUpdate { offset: self.0 as u32, reserved: 0, data: 0 };
        // SAFETY: `update` is one readable entry of the kind that this register call takes. If the call fails, the
        // ring lives until the thread ends.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                UNREGISTER_RING_FDS,
                &raw mut update,
                1,
            )
        };
    }

    /// Submits, runs the kernel's task work and waits for a completion or the end of `wait` (zero: not at all).
    pub(super) fn enter(&self, submissions: u32, wait: Option<Duration>) -> io::Result<()> {
        match wait {
            None => self.call(submissions, 1, None),
            Some(Duration::ZERO) => self.call(submissions, 0, None),
            Some(wait) => {
                let time = Timespec::from(wait);
                self.call(submissions, 1, Some(&SubmitArgs::new().timespec(&time)))
            }
        }
    }

    /// As [`RegisteredRing::enter`], but one completion ends the wait only after `min_wait_us` microseconds; before that it
    /// takes `batch` of them.
    pub(super) fn enter_for_batch(
        &self,
        submissions: u32,
        wait: Duration,
        batch: u32,
        min_wait_us: u32,
    ) -> io::Result<()> {
        let time = Timespec::from(wait);
        let args = SubmitArgs::new().timespec(&time).min_wait_usec(min_wait_us);
        self.call(submissions, batch, Some(&args))
    }

    fn call(&self, submissions: u32, completions: u32, args: Option<&SubmitArgs<'_, '_>>) -> io::Result<()> {
        let flags = EnterFlags::GETEVENTS | EnterFlags::REGISTERED_RING;
        let (flags, args, args_bytes) = match args {
            None => (flags, std::ptr::null(), 0),
            Some(args) => {
                (flags | EnterFlags::EXT_ARG, std::ptr::from_ref(args), size_of::<SubmitArgs<'_, '_>>())
            }
        };
        // SAFETY: `args` is null, or has the layout that EXT_ARG announces; it and the time that it names outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.0,
                submissions,
                completions,
                flags.bits(),
                args,
                args_bytes,
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The wait is over; a signal; completions have to be reaped first; memory is short for a moment.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        }
    }
}
