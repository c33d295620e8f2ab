//! The package rdma-sys in the place of our own bindings.

use crate::library::LibraryError;
pub(crate) use rdma_sys::*;
use std::ffi::{c_char, c_int, c_uint, c_void};

/// The library is there, or the program would not have started.
pub(crate) fn load() -> Result<Functions, LibraryError> {
    Ok(Functions)
}

/// The number that a request sends along, in the order of bytes of the network.
pub(crate) fn set_immediate(request: &mut ibv_send_wr, immediate: u32) {
    request.imm_data_invalidated_rkey_union.imm_data = immediate.to_be();
}

/// The number that came along.
///
/// # Safety
/// The library has written a completion there, with such a number.
pub(crate) unsafe fn immediate(completion: *const ibv_wc) -> u32 {
    // SAFETY: by the caller.
    u32::from_be(unsafe { (*completion).imm_data_invalidated_rkey_union.imm_data })
}

/// The functions of the library that the program is linked with.
pub(crate) struct Functions;

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $returned:ty;)*) => {
        impl Functions {
            $(
                /// # Safety
                /// As for the function of the library.
                pub(crate) unsafe fn $name(&self, $($argument: $type),*) -> $returned {
                    // SAFETY: the caller keeps to what the function asks for.
                    unsafe { rdma_sys::$name($($argument),*) }
                }
            )*
        }
    };
}

forward! {
    ibv_get_device_list(count: *mut c_int) -> *mut *mut ibv_device;
    ibv_free_device_list(list: *mut *mut ibv_device) -> ();
    ibv_get_device_name(device: *mut ibv_device) -> *const c_char;
    ibv_open_device(device: *mut ibv_device) -> *mut ibv_context;
    ibv_close_device(context: *mut ibv_context) -> c_int;
    ibv_get_async_event(context: *mut ibv_context, event: *mut ibv_async_event) -> c_int;
    ibv_ack_async_event(event: *mut ibv_async_event) -> ();
    ibv_query_device(context: *mut ibv_context, attributes: *mut ibv_device_attr) -> c_int;
    ibv_query_port(context: *mut ibv_context, port: u8, attributes: *mut _compat_ibv_port_attr) -> c_int;
    ibv_query_gid(context: *mut ibv_context, port: u8, index: c_int, gid: *mut ibv_gid) -> c_int;
    ibv_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd;
    ibv_dealloc_pd(domain: *mut ibv_pd) -> c_int;
    ibv_reg_mr(domain: *mut ibv_pd, start: *mut c_void, len: usize, access: c_int) -> *mut ibv_mr;
    ibv_dereg_mr(region: *mut ibv_mr) -> c_int;
    ibv_create_comp_channel(context: *mut ibv_context) -> *mut ibv_comp_channel;
    ibv_destroy_comp_channel(channel: *mut ibv_comp_channel) -> c_int;
    ibv_create_cq(
        context: *mut ibv_context,
        completions: c_int,
        user: *mut c_void,
        channel: *mut ibv_comp_channel,
        vector: c_int
    ) -> *mut ibv_cq;
    ibv_destroy_cq(queue: *mut ibv_cq) -> c_int;
    ibv_get_cq_event(
        channel: *mut ibv_comp_channel,
        queue: *mut *mut ibv_cq,
        user: *mut *mut c_void
    ) -> c_int;
    ibv_ack_cq_events(queue: *mut ibv_cq, count: c_uint) -> ();
    ibv_create_srq(domain: *mut ibv_pd, options: *mut ibv_srq_init_attr) -> *mut ibv_srq;
    ibv_destroy_srq(receives: *mut ibv_srq) -> c_int;
    ibv_create_qp(domain: *mut ibv_pd, options: *mut ibv_qp_init_attr) -> *mut ibv_qp;
    ibv_modify_qp(pair: *mut ibv_qp, attributes: *mut ibv_qp_attr, mask: c_int) -> c_int;
    ibv_query_qp(
        pair: *mut ibv_qp,
        attributes: *mut ibv_qp_attr,
        mask: c_int,
        options: *mut ibv_qp_init_attr
    ) -> c_int;
    ibv_destroy_qp(pair: *mut ibv_qp) -> c_int;
}
