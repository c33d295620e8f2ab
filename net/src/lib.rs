//! Sessions, transports and the worker loop of Torc.
pub mod clock;
mod cpu_time;
mod databases;
pub mod event_classes;
pub mod metrics;
pub mod observed;
pub mod pin;
pub mod rdma;
mod readable;
mod scripts;
pub mod server;
pub mod session;
mod shared;
mod shutdown;
#[cfg(test)]
mod simulation;
pub mod slots;
mod subscribers;
pub mod tier;
pub mod transport;
mod tunables;
pub mod users;
mod worker;
