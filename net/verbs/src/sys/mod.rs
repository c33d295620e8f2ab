//! The verbs of rdma-core as C has them: types, and functions.
//!
//! Two siblings with the same names: our own bindings (`bindings.rs`, written once by `generate.sh`) over a library that is found at
//! run time, and the package rdma-sys, with the feature of that name. What their types name differently is told by two functions.

#[cfg(any(not(feature = "rdma-sys"), test))]
#[allow(
    clippy::all,
    clippy::missing_safety_doc,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings;
#[cfg(all(test, feature = "rdma-sys"))]
mod layout_tests;
#[cfg(feature = "rdma-sys")]
mod linked;
#[cfg(not(feature = "rdma-sys"))]
mod loaded;

#[cfg(feature = "rdma-sys")]
pub(crate) use linked::*;
#[cfg(not(feature = "rdma-sys"))]
pub(crate) use loaded::*;
