//! Sessions, transports and the worker loop of Torc.
pub mod session;
pub mod transport;
