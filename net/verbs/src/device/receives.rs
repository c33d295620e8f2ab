//! Shared receive queues.

use super::domain::{Domain, Registered};
use super::post;
use crate::error::VerbsError;
use crate::seam::SharedReceives;
use crate::sys::{ibv_recv_wr, ibv_srq, ibv_srq_attr, ibv_srq_init_attr};
use crate::work::{PIECES_MAX, Piece};
use std::ffi::c_int;
use std::fmt;
use std::mem;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

pub(super) struct Created {
    pub(super) raw: NonNull<ibv_srq>,
    post: unsafe extern "C" fn(*mut ibv_srq, *mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
    domain: Domain,
}

// SAFETY: the library locks what its calls share, and `raw` is only used for such calls.
unsafe impl Send for Created {}
// SAFETY: as above.
unsafe impl Sync for Created {}

impl Drop for Created {
    fn drop(&mut self) {
        // SAFETY: the queue pairs that take from it held it, so are gone.
        if unsafe { self.domain.0.context.library.ibv_destroy_srq(self.raw.as_ptr()) } != 0 {
            mem::forget(self.domain.clone());
        }
    }
}

/// Receives that several queue pairs take from.
#[derive(Clone)]
pub struct Receives(pub(super) Arc<Created>);

impl fmt::Debug for Receives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receives").field(&self.0.raw).finish()
    }
}

pub(super) fn create(domain: &Domain, receives: u32) -> Result<Receives, VerbsError> {
    const CALL: &str = "ibv_create_srq";
    let context = &domain.0.context;
    // SAFETY: the device is open, and its driver has set this once and for all.
    let post =
        unsafe { (*context.raw.as_ptr()).ops.post_srq_recv }.ok_or(VerbsError::new(CALL, libc::ENOSYS))?;
    let attr = ibv_srq_attr { max_wr: receives, max_sge: PIECES_MAX as u32, srq_limit: 0 };
    let mut options = ibv_srq_init_attr { srq_context: null_mut(), attr };
    // SAFETY: the domain is there, and stays as long as the queue.
    let raw = unsafe { context.library.ibv_create_srq(domain.0.raw.as_ptr(), &raw mut options) };
    let raw = NonNull::new(raw).ok_or_else(|| VerbsError::last(CALL))?;
    Ok(Receives(Arc::new(Created { raw, post, domain: domain.clone() })))
}

impl SharedReceives for Receives {
    type Region = Registered;

    fn post(&self, id: u64, pieces: &[Piece<'_, Registered>]) -> Result<(), VerbsError> {
        post::post_receive(id, pieces, |request, refused| {
            // SAFETY: the queue is there; the request and its pieces live until the call returns, and their memory is registered,
            // and when that ends, so does the device's access.
            unsafe { (self.0.post)(self.0.raw.as_ptr(), request, refused) }
        })
    }
}
