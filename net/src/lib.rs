//! Sessions, transports and the worker loop of Torc.
pub mod clock;
pub mod metrics;
pub mod server;
pub mod session;
pub mod transport;
mod worker;
