//! Protection domains, and memory that is registered in one.

use super::context::{Context, Device};
use crate::error::VerbsError;
use crate::memory::Memory;
use crate::region::Region;
use crate::seam::Access;
use crate::sys::{ibv_access_flags, ibv_mr, ibv_pd};
use std::fmt;
use std::mem;
use std::ptr::NonNull;
use std::sync::Arc;

pub(super) struct Allocated {
    pub(super) raw: NonNull<ibv_pd>,
    pub(super) context: Arc<Context>,
}

// SAFETY: the library locks what its calls share, and `raw` is only used for such calls.
unsafe impl Send for Allocated {}
// SAFETY: as above.
unsafe impl Sync for Allocated {}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: everything that was made in it held it, so is gone. If the library refuses, it loses a little memory.
        unsafe { self.context.library.ibv_dealloc_pd(self.raw.as_ptr()) };
    }
}

/// Whose memory and queue pairs may be used together.
#[derive(Clone)]
pub struct Domain(pub(super) Arc<Allocated>);

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Domain").field(&self.0.raw).finish()
    }
}

pub(super) fn allocate(device: &Device) -> Result<Domain, VerbsError> {
    let context = device.0.clone();
    // SAFETY: the context is open.
    let raw = NonNull::new(unsafe { context.library.ibv_alloc_pd(context.raw.as_ptr()) })
        .ok_or_else(|| VerbsError::last("ibv_alloc_pd"))?;
    Ok(Domain(Arc::new(Allocated { raw, context })))
}

/// Registered memory.
pub struct Registered {
    raw: NonNull<ibv_mr>,
    address: u64,
    len: usize,
    local_key: u32,
    remote_key: u32,
    /// `None` only in `drop`.
    memory: Option<Arc<dyn Memory>>,
    domain: Domain,
}

// SAFETY: the library locks what its calls share, and `raw` is only used for such calls.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the keys: who knows them may read.
        f.debug_struct("Registered").field("address", &self.address).field("len", &self.len).finish()
    }
}

pub(super) fn flags(access: Access) -> ibv_access_flags {
    let mut flags = ibv_access_flags::IBV_ACCESS_LOCAL_WRITE;
    if access.reads() {
        flags |= ibv_access_flags::IBV_ACCESS_REMOTE_READ;
    }
    if access.writes() {
        flags |= ibv_access_flags::IBV_ACCESS_REMOTE_WRITE;
    }
    flags
}

pub(super) fn register(
    domain: &Domain,
    memory: Arc<dyn Memory>,
    access: Access,
) -> Result<Registered, VerbsError> {
    let (library, start, len) = (domain.0.context.library, memory.start(), memory.len());
    // SAFETY: `Memory` promises that these bytes are mapped, writable and behind no reference as long as it lives, and it lives
    // until the region is deregistered.
    let raw = unsafe {
        library.ibv_reg_mr(domain.0.raw.as_ptr(), start.cast(), len, flags(access).0.cast_signed())
    };
    let raw = NonNull::new(raw).ok_or_else(|| VerbsError::last("ibv_reg_mr"))?;
    // SAFETY: the library has just made it, and changes these fields no more.
    let (local_key, remote_key) = unsafe { ((*raw.as_ptr()).lkey, (*raw.as_ptr()).rkey) };
    let address = start.expose_provenance() as u64;
    Ok(Registered { raw, address, len, local_key, remote_key, memory: Some(memory), domain: domain.clone() })
}

impl Registered {
    pub(super) fn local_key(&self) -> u32 {
        self.local_key
    }
}

impl Region for Registered {
    fn address(&self) -> u64 {
        self.address
    }

    fn len(&self) -> usize {
        self.len
    }

    fn remote_key(&self) -> u32 {
        self.remote_key
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: it was registered once and nobody else knows it. When this has succeeded its keys are invalid, and no access by
        // the device is under way: requests that name them fail from here on.
        if unsafe { self.domain.0.context.library.ibv_dereg_mr(self.raw.as_ptr()) } != 0 {
            // A device that may still write there must not write to somebody else.
            mem::forget(self.memory.take());
            mem::forget(self.domain.clone());
        }
    }
}
