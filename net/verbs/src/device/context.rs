//! Which devices there are, and an opened one.

use super::descriptor::do_not_wait;
use crate::error::VerbsError;
use crate::gid::Gid;
use crate::library::{self, LibraryError};
use crate::path::Mtu;
use crate::seam::{Limits, Port};
use crate::sys::{
    Functions, ibv_context, ibv_device, ibv_device_attr, ibv_gid, ibv_port_attr, ibv_port_state,
};
use std::ffi::{CStr, c_int};
use std::fmt;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

/// `ibv_port_attr::link_layer`: `IBV_LINK_LAYER_ETHERNET`.
const LINK_LAYER_ETHERNET: u8 = 2;

/// The library's list of devices.
struct List {
    library: &'static Functions,
    /// Ends with a null pointer, unless it is one.
    start: *mut *mut ibv_device,
    len: usize,
}

impl List {
    fn read(library: &'static Functions) -> Result<List, VerbsError> {
        let mut count: c_int = 0;
        // SAFETY: `count` is writable.
        let start = unsafe { library.ibv_get_device_list(&raw mut count) };
        if start.is_null() {
            return Err(VerbsError::last("ibv_get_device_list"));
        }
        Ok(List { library, start, len: usize::try_from(count).unwrap_or(0) })
    }

    /// The devices, and what they are called.
    fn devices(&self) -> impl Iterator<Item = (*mut ibv_device, &CStr)> {
        (0..self.len).map(|at| {
            // SAFETY: the library has said that the list has `len` devices, and it is freed with `self`.
            let device = unsafe { *self.start.add(at) };
            // SAFETY: the name ends with zero, and lives as long as the device, which the list keeps.
            (device, unsafe { CStr::from_ptr(self.library.ibv_get_device_name(device)) })
        })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list comes from the library, and nobody looks at it any more. An opened device stays.
        unsafe { self.library.ibv_free_device_list(self.start) };
    }
}

/// The names of the devices that the library has a driver for.
///
/// # Errors
/// There is no library. That the kernel has no RDMA at all gives no names, as no device does.
pub fn names() -> Result<Vec<String>, LibraryError> {
    let library = library::load()?;
    let names = List::read(library).map(|list| {
        list.devices().map(|(_, name)| name.to_string_lossy().into_owned()).collect::<Vec<String>>()
    });
    Ok(names.unwrap_or_default())
}

/// What an opened device is, until the last value that needs it is dropped.
pub(super) struct Context {
    pub(super) library: &'static Functions,
    pub(super) raw: NonNull<ibv_context>,
    limits: Limits,
}

// SAFETY: the library locks what its calls share, and `raw` is only used for such calls.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: everything that was made of it held this context, so is gone.
        unsafe { self.library.ibv_close_device(self.raw.as_ptr()) };
    }
}

/// An opened device. Clones are the same device; it is closed when all that was made of it is dropped, too.
#[derive(Clone)]
pub struct Device(pub(super) Arc<Context>);

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.0.raw).finish()
    }
}

impl Device {
    /// Opens a device by its name.
    ///
    /// # Errors
    /// ENODEV: there is no library, or it has no such device. Else why it cannot be opened.
    pub fn open(name: &str) -> Result<Device, VerbsError> {
        const CALL: &str = "ibv_open_device";
        let absent = VerbsError::new(CALL, libc::ENODEV);
        let library = library::load().map_err(|_| absent)?;
        let list = List::read(library)?;
        let (device, _) =
            list.devices().find(|(_, found)| found.to_bytes() == name.as_bytes()).ok_or(absent)?;
        // SAFETY: the device is of the list, which lives until the end of this function.
        let raw =
            NonNull::new(unsafe { library.ibv_open_device(device) }).ok_or_else(|| VerbsError::last(CALL))?;
        let mut context = Context { library, raw, limits: NO_LIMITS };
        context.limits = context.ask_limits()?;
        do_not_wait(context.event_descriptor())?;
        Ok(Device(Arc::new(context)))
    }
}

const NO_LIMITS: Limits = Limits {
    ports: 0,
    pairs: 0,
    requests: 0,
    completions: 0,
    regions: 0,
    region_bytes: 0,
    shared_receives: 0,
    reads_out: 0,
    reads_in: 0,
};

fn count(number: c_int) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn count_u8(number: c_int) -> u8 {
    u8::try_from(number.max(0)).unwrap_or(u8::MAX)
}

impl Context {
    pub(super) fn event_descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: `raw` is open, and so is its descriptor, for as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).async_fd) }
    }

    fn ask_limits(&self) -> Result<Limits, VerbsError> {
        let mut asked = MaybeUninit::<ibv_device_attr>::zeroed();
        // SAFETY: `raw` is open, `asked` is writable.
        let returned = unsafe { self.library.ibv_query_device(self.raw.as_ptr(), asked.as_mut_ptr()) };
        VerbsError::check("ibv_query_device", returned)?;
        // SAFETY: zeros are a value of it, and so is what the library wrote over them: numbers.
        let asked = unsafe { asked.assume_init() };
        Ok(Limits {
            ports: asked.phys_port_cnt,
            pairs: count(asked.max_qp),
            requests: count(asked.max_qp_wr),
            completions: count(asked.max_cqe),
            regions: count(asked.max_mr),
            region_bytes: asked.max_mr_size,
            shared_receives: if asked.max_srq > 0 { count(asked.max_srq_wr) } else { 0 },
            reads_out: count_u8(asked.max_qp_init_rd_atom),
            reads_in: count_u8(asked.max_qp_rd_atom),
        })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn ask_gid(&self, port: u8, index: u8) -> Result<Gid, VerbsError> {
        let mut gid = ibv_gid { raw: [0; 16] };
        let raw = self.raw.as_ptr();
        // SAFETY: `raw` is open, `gid` is writable.
        let returned = unsafe { self.library.ibv_query_gid(raw, port, c_int::from(index), &raw mut gid) };
        VerbsError::check("ibv_query_gid", returned)?;
        // SAFETY: any bytes are a value of this field.
        Ok(Gid(unsafe { gid.raw }))
    }

    pub(super) fn ask_port(&self, port: u8) -> Result<Port, VerbsError> {
        // SAFETY: it is numbers alone, so zeros are a value of it.
        let mut asked: ibv_port_attr = unsafe { zeroed() };
        // SAFETY: `raw` is open; the function writes a beginning of `asked`, as the structure was when it was named.
        let returned =
            unsafe { self.library.ibv_query_port(self.raw.as_ptr(), port, (&raw mut asked).cast()) };
        VerbsError::check("ibv_query_port", returned)?;
        Ok(Port {
            is_up: asked.state == ibv_port_state::IBV_PORT_ACTIVE,
            is_ethernet: asked.link_layer == LINK_LAYER_ETHERNET,
            mtu: Mtu::of_code(asked.active_mtu),
            message_bytes: asked.max_msg_sz,
        })
    }
}
