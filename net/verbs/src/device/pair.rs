//! Queue pairs.

use super::context::Device;
use super::domain::{Domain, Registered, flags};
use super::modify;
use super::post::{self, PostSend};
use super::queue::Queue;
use super::receives::Receives;
use crate::error::{PostError, VerbsError};
use crate::path::{Path, Peer};
use crate::seam::{Access, PairOptions, PairState, QueuePair};
use crate::sys::{Functions, ibv_qp, ibv_qp_init_attr, ibv_qp_type, ibv_recv_wr};
use crate::work::{PIECES_MAX, Piece, Work};
use std::ffi::c_int;
use std::fmt;
use std::mem::{self, zeroed};
use std::ptr::{NonNull, null_mut};

/// What has to stay as long as the queue pair.
struct Needs {
    _domain: Domain,
    _queues: [Queue; 2],
    shared: Option<Receives>,
}

/// One end of a reliable connection.
pub struct Pair {
    raw: NonNull<ibv_qp>,
    number: u32,
    inline_bytes: u32,
    post_send: PostSend,
    post_receive: unsafe extern "C" fn(*mut ibv_qp, *mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
    /// `None` only in `drop`.
    needs: Option<Needs>,
    library: &'static Functions,
}

// SAFETY: the library locks what its calls share, and `raw` is only used for such calls.
unsafe impl Send for Pair {}
// SAFETY: as above.
unsafe impl Sync for Pair {}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("number", &self.number).finish()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: it was made once and nobody else knows it. Its events are acknowledged as soon as they are read.
        if unsafe { self.library.ibv_destroy_qp(self.raw.as_ptr()) } != 0 {
            mem::forget(self.needs.take());
        }
    }
}

pub(super) fn create(domain: &Domain, options: &PairOptions<'_, Device>) -> Result<Pair, VerbsError> {
    const CALL: &str = "ibv_create_qp";
    let context = &domain.0.context;
    let library = context.library;
    // SAFETY: the device is open, and its driver has set these once and for all.
    let (post_send, post_receive) =
        unsafe { ((*context.raw.as_ptr()).ops.post_send, (*context.raw.as_ptr()).ops.post_recv) };
    let (Some(post_send), Some(post_receive)) = (post_send, post_receive) else {
        return Err(VerbsError::new(CALL, libc::ENOSYS));
    };
    // SAFETY: numbers and pointers, of which zeros are values.
    let mut wanted: ibv_qp_init_attr = unsafe { zeroed() };
    wanted.send_cq = options.send_queue.0.raw.as_ptr();
    wanted.recv_cq = options.receive_queue.0.raw.as_ptr();
    wanted.srq = options.shared.map_or(null_mut(), |shared| shared.0.raw.as_ptr());
    wanted.qp_type = ibv_qp_type::IBV_QPT_RC;
    wanted.cap.max_send_wr = options.sends;
    wanted.cap.max_send_sge = PIECES_MAX as u32;
    wanted.cap.max_inline_data = options.inline_bytes;
    if options.shared.is_none() {
        wanted.cap.max_recv_wr = options.receives;
        wanted.cap.max_recv_sge = PIECES_MAX as u32;
    }
    // SAFETY: domain, queues and receives are there, and stay as long as the queue pair: it holds them.
    let mut raw = unsafe { library.ibv_create_qp(domain.0.raw.as_ptr(), &raw mut wanted) };
    if raw.is_null() && wanted.cap.max_inline_data > 0 {
        // Devices that cannot do so much inline refuse, and some can do nothing.
        wanted.cap.max_inline_data = 0;
        // SAFETY: as above.
        raw = unsafe { library.ibv_create_qp(domain.0.raw.as_ptr(), &raw mut wanted) };
    }
    let raw = NonNull::new(raw).ok_or_else(|| VerbsError::last(CALL))?;
    // SAFETY: the library has just made it, and its number does not change.
    let number = unsafe { (*raw.as_ptr()).qp_num };
    let queues = [options.send_queue.clone(), options.receive_queue.clone()];
    let needs = Needs { _domain: domain.clone(), _queues: queues, shared: options.shared.cloned() };
    let inline_bytes = wanted.cap.max_inline_data;
    Ok(Pair { raw, number, inline_bytes, post_send, post_receive, needs: Some(needs), library })
}

impl Pair {
    fn has_own_receives(&self) -> bool {
        self.needs.as_ref().is_some_and(|needs| needs.shared.is_none())
    }
}

impl QueuePair for Pair {
    type Region = Registered;

    fn number(&self) -> u32 {
        self.number
    }

    fn inline_bytes(&self) -> u32 {
        self.inline_bytes
    }

    fn state(&self) -> Result<PairState, VerbsError> {
        // SAFETY: the queue pair is there.
        unsafe { modify::state(self.library, self.raw) }
    }

    fn initialize(&self, port: u8, access: Access) -> Result<(), VerbsError> {
        // SAFETY: the queue pair is there.
        unsafe { modify::initialize(self.library, self.raw, port, flags(access).0) }
    }

    fn ready_to_receive(&self, path: &Path, peer: &Peer) -> Result<(), VerbsError> {
        // SAFETY: the queue pair is there.
        unsafe { modify::ready_to_receive(self.library, self.raw, path, peer) }
    }

    fn ready_to_send(&self, path: &Path) -> Result<(), VerbsError> {
        // SAFETY: the queue pair is there.
        unsafe { modify::ready_to_send(self.library, self.raw, path) }
    }

    fn fail(&self) -> Result<(), VerbsError> {
        // SAFETY: the queue pair is there.
        unsafe { modify::fail(self.library, self.raw) }
    }

    fn post_receive(&self, id: u64, pieces: &[Piece<'_, Registered>]) -> Result<(), VerbsError> {
        if !self.has_own_receives() {
            return Err(VerbsError::new("ibv_post_recv", libc::EINVAL));
        }
        post::post_receive(id, pieces, |request, refused| {
            // SAFETY: the queue pair is there; the request and its pieces live until the call returns, and their memory is
            // registered, and when that ends, so does the device's access.
            unsafe { (self.post_receive)(self.raw.as_ptr(), request, refused) }
        })
    }

    fn post(&self, works: &[Work<'_, Registered>]) -> Result<(), PostError> {
        // SAFETY: the queue pair is there, and the call is its device's.
        unsafe { post::post_sends(self.post_send, self.raw.as_ptr(), works, self.inline_bytes) }
    }
}
