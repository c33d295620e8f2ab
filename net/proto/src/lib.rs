//! The wire formats of Torc: parse bytes, compose bytes. No socket, no clock, no unsafe, no state of a server.
#![forbid(unsafe_code)]

pub mod memcache;
pub mod native;
pub mod resp;
pub mod slot;
