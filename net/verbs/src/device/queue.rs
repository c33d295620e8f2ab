//! Completion queues, each with a channel of its own for notices.

use super::context::{Context, Device};
use super::descriptor::{do_not_wait, is_nothing};
use crate::completion::{Completion, Done, Failure};
use crate::error::VerbsError;
use crate::seam::CompletionQueue;
use crate::sys::{
    self, ibv_comp_channel, ibv_cq, ibv_wc, ibv_wc_flags, ibv_wc_opcode as opcode, ibv_wc_status as status,
};
use std::ffi::c_int;
use std::fmt;
use std::mem::{self, MaybeUninit};
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

/// Completions that are taken from the library at a time.
const BATCH: usize = 16;

/// Where notices of one queue come from.
struct Channel {
    raw: NonNull<ibv_comp_channel>,
    context: Arc<Context>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: its queue is gone: see `Created`.
        unsafe { self.context.library.ibv_destroy_comp_channel(self.raw.as_ptr()) };
    }
}

pub(super) struct Created {
    pub(super) raw: NonNull<ibv_cq>,
    poll: unsafe extern "C" fn(*mut ibv_cq, c_int, *mut ibv_wc) -> c_int,
    arm: unsafe extern "C" fn(*mut ibv_cq, c_int) -> c_int,
    /// `None` only in `drop`.
    channel: Option<Channel>,
    context: Arc<Context>,
}

// SAFETY: the library locks what its calls share, and `raw` is only used for such calls.
unsafe impl Send for Created {}
// SAFETY: as above.
unsafe impl Sync for Created {}

impl Drop for Created {
    fn drop(&mut self) {
        // SAFETY: the queue pairs that complete to it held it, so are gone, and all its notices are acknowledged.
        if unsafe { self.context.library.ibv_destroy_cq(self.raw.as_ptr()) } != 0 {
            mem::forget(self.channel.take());
        }
    }
}

/// Where completions come to.
#[derive(Clone)]
pub struct Queue(pub(super) Arc<Created>);

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.0.raw).finish()
    }
}

pub(super) fn create(device: &Device, completions: u32) -> Result<Queue, VerbsError> {
    let context = device.0.clone();
    let (library, device) = (context.library, context.raw.as_ptr());
    // SAFETY: the device is open.
    let channel = NonNull::new(unsafe { library.ibv_create_comp_channel(device) })
        .ok_or_else(|| VerbsError::last("ibv_create_comp_channel"))?;
    let channel = Channel { raw: channel, context: context.clone() };
    do_not_wait(channel.descriptor())?;
    let len = c_int::try_from(completions).map_err(|_| VerbsError::new("ibv_create_cq", libc::EINVAL))?;
    // SAFETY: device and channel are there, and stay as long as the queue; vector 0 is one that every device has.
    let raw = unsafe { library.ibv_create_cq(device, len, null_mut(), channel.raw.as_ptr(), 0) };
    let raw = NonNull::new(raw).ok_or_else(|| VerbsError::last("ibv_create_cq"))?;
    // SAFETY: the device is open, and its driver has set these once and for all.
    let (poll, arm) = unsafe { ((*device).ops.poll_cq, (*device).ops.req_notify_cq) };
    let absent = VerbsError::new("ibv_poll_cq", libc::ENOSYS);
    let (Some(poll), Some(arm)) = (poll, arm) else {
        // SAFETY: it was made just now, and nobody uses it.
        unsafe { library.ibv_destroy_cq(raw.as_ptr()) };
        return Err(absent);
    };
    Ok(Queue(Arc::new(Created { raw, poll, arm, channel: Some(channel), context })))
}

impl Channel {
    fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel lives as long as `self`, and its descriptor is open as long.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).fd) }
    }
}

impl CompletionQueue for Queue {
    fn poll(&self, completions: &mut [Completion]) -> Result<usize, VerbsError> {
        let mut taken = 0;
        let mut raw = [const { MaybeUninit::<ibv_wc>::uninit() }; BATCH];
        while taken < completions.len() {
            let wanted = (completions.len() - taken).min(BATCH);
            // SAFETY: the queue is there, and `raw` has room for `wanted`.
            let found =
                unsafe { (self.0.poll)(self.0.raw.as_ptr(), wanted as c_int, raw.as_mut_ptr().cast()) };
            let Ok(found) = usize::try_from(found) else {
                return Err(VerbsError::new("ibv_poll_cq", found.saturating_abs()));
            };
            let found = found.min(wanted);
            for (raw, completion) in raw[..found].iter().zip(&mut completions[taken..]) {
                // SAFETY: the library has written it: the first `found` of them.
                *completion = unsafe { read(raw) };
            }
            taken += found;
            if found < wanted {
                break;
            }
        }
        Ok(taken)
    }

    fn arm(&self, solicited: bool) -> Result<(), VerbsError> {
        // SAFETY: the queue is there.
        VerbsError::check("ibv_req_notify_cq", unsafe {
            (self.0.arm)(self.0.raw.as_ptr(), c_int::from(solicited))
        })
    }

    fn notices(&self) -> Option<BorrowedFd<'_>> {
        self.0.channel.as_ref().map(Channel::descriptor)
    }

    fn take_notices(&self) -> Result<bool, VerbsError> {
        let Some(channel) = &self.0.channel else { return Ok(false) };
        let (mut queue, mut user, mut count) = (null_mut(), null_mut(), 0);
        let library = self.0.context.library;
        loop {
            // SAFETY: the channel is there, and both places are writable.
            let returned =
                unsafe { library.ibv_get_cq_event(channel.raw.as_ptr(), &raw mut queue, &raw mut user) };
            if returned == 0 {
                count += 1;
                continue;
            }
            let error = VerbsError::last("ibv_get_cq_event");
            if count > 0 {
                // SAFETY: so many notices of this queue, the only one of its channel, were read and not acknowledged.
                unsafe { library.ibv_ack_cq_events(self.0.raw.as_ptr(), count) };
            }
            return if is_nothing(&error) { Ok(count > 0) } else { Err(error) };
        }
    }
}

/// # Safety
/// The library has written it. Of one that failed, that is only what is read here.
unsafe fn read(raw: &MaybeUninit<ibv_wc>) -> Completion {
    let raw = raw.as_ptr();
    // SAFETY: by the caller: these four are always written.
    let (id, pair, code, vendor) = unsafe { ((*raw).wr_id, (*raw).qp_num, (*raw).status, (*raw).vendor_err) };
    let result = match code {
        // SAFETY: by the caller: of one that succeeded all that its kind has is written.
        status::IBV_WC_SUCCESS => unsafe { read_done(raw) },
        code => Err(failure(code, vendor)),
    };
    Completion { id, pair, result }
}

/// # Safety
/// `raw` was written by the library, with success.
unsafe fn read_done(raw: *const ibv_wc) -> Result<Done, Failure> {
    // SAFETY: by the caller.
    let (code, flags, len) = unsafe { ((*raw).opcode, (*raw).wc_flags, (*raw).byte_len) };
    let has_immediate = flags & ibv_wc_flags::IBV_WC_WITH_IMM.0 != 0;
    // SAFETY: by the caller; with this flag the number was written.
    let immediate = has_immediate.then(|| unsafe { sys::immediate(raw) });
    Ok(match code {
        opcode::IBV_WC_SEND => Done::Sent,
        opcode::IBV_WC_RDMA_WRITE => Done::Written,
        opcode::IBV_WC_RDMA_READ => Done::Read,
        opcode::IBV_WC_RECV => Done::Received { len, immediate },
        opcode::IBV_WC_RECV_RDMA_WITH_IMM => {
            Done::WrittenByPeer { len, immediate: immediate.unwrap_or_default() }
        }
        // Of a request that we never post.
        code => return Err(Failure::Other { status: status::IBV_WC_GENERAL_ERR, vendor: code }),
    })
}

fn failure(code: status::Type, vendor: u32) -> Failure {
    match code {
        status::IBV_WC_LOC_LEN_ERR => Failure::TooLong,
        status::IBV_WC_LOC_PROT_ERR | status::IBV_WC_LOC_QP_OP_ERR | status::IBV_WC_LOC_ACCESS_ERR => {
            Failure::Local
        }
        status::IBV_WC_WR_FLUSH_ERR => Failure::Flushed,
        status::IBV_WC_REM_INV_REQ_ERR => Failure::Invalid,
        status::IBV_WC_REM_ACCESS_ERR => Failure::Access,
        status::IBV_WC_REM_OP_ERR => Failure::Remote,
        status::IBV_WC_RETRY_EXC_ERR => Failure::NoAnswer,
        status::IBV_WC_RNR_RETRY_EXC_ERR => Failure::NotReady,
        status => Failure::Other { status, vendor },
    }
}
