//! Our own bindings, over a library that is found at run time.

pub(crate) use super::bindings::*;
use crate::library::LibraryError;
use std::error::Error;

/// The name under which a system has it; its functions and structures only grow.
const LIBRARY: &str = "libibverbs.so.1";

/// Looks for the library.
pub(crate) fn load() -> Result<Functions, LibraryError> {
    // SAFETY: libibverbs does nothing when it is loaded that any of our threads could notice; the system's own is meant, as its
    // loader finds it.
    let library = unsafe { libloading::Library::new(LIBRARY) }
        .map_err(|error| LibraryError::Missing(error.to_string()))?;
    // SAFETY: the functions have the types that the header of this library gives them, which never change under this name.
    unsafe { Functions::from_library(library) }.map_err(|error| LibraryError::Incomplete(reason(&error)))
}

/// What the system's loader says.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The number that a request sends along, in the order of bytes of the network.
pub(crate) fn set_immediate(request: &mut ibv_send_wr, immediate: u32) {
    request.__bindgen_anon_1.imm_data = immediate.to_be();
}

/// The number that came along.
///
/// # Safety
/// The library has written a completion there, with such a number.
pub(crate) unsafe fn immediate(completion: *const ibv_wc) -> u32 {
    // SAFETY: by the caller.
    u32::from_be(unsafe { (*completion).__bindgen_anon_1.imm_data })
}
