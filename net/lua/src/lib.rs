//! Lua 5.1 in a sandbox, for Redis' scripts.
//!
//! ```text
//!   script + KEYS, ARGV --> Interpreter::run --redis.call: a request as RESP--> Host
//!                               |          <------------ answer as RESP ------+
//!                               +--> the reply as RESP, or that it was stopped
//! ```
//!
//! A script is bounded: in memory by the allocator ([`context`]), in time by a hook that looks at the clock every hundred instructions, and
//! within functions that could run long without one by steps that they count ([`context::Context::charge`]). Functions of the standard
//! library that could not be counted are written here anew: patterns, `string.rep`, `table.sort`. What was stopped cannot be caught by
//! the script.
//!
//! Scripts share one Lua state, and nothing else: globals and libraries cannot be changed ([`sandbox`]).
//!
//! # Rules for the code in here
//!
//! Lua raises errors by `longjmp`, over frames of Rust. That is sound as long as these have nothing to drop. So between taking something that
//! has a destructor and giving it back (buffers live in the [`context::Context`], and are taken out of it for a moment) nothing is called that
//! may raise, but for want of memory, when the buffer is leaked.

mod bit;
mod buffer;
mod chunk;
mod context;
mod digest;
mod frame;
mod handler;
mod host;
mod interpreter;
mod json;
mod msgpack;
mod number;
mod packed;
mod pattern;
mod protected;
mod random;
mod redis;
mod reply;
mod sandbox;
mod strings;
mod tables;
#[cfg(test)]
mod tests;
mod values;

pub use digest::{Digest, digest, digits, from_digits};
pub use host::{Host, Level, Stop};
pub use interpreter::{Ended, Interpreter, Invocation, Limits, check};
