//! Clients whose bytes go through rings in shared memory, against real servers on every transport.

#[path = "../servers/mod.rs"]
mod servers;

mod bytes;
mod client;
mod deaths;
mod hostile;
mod library;
mod one_sided;
mod raw;
mod reads;
