//! Client of Torc: async on any runtime, and blocking, over the same pipelined connections.
//!
//! ```no_run
//! use std::time::Duration;
//! # async fn example() -> Result<(), torc_client::Error> {
//! let cache = torc_client::Client::new("127.0.0.1:7171")?;
//! cache.set("greeting", "hello").ttl(Duration::from_secs(60)).await?;
//! if let Some(item) = cache.get("greeting").await? {
//!     println!("{}", String::from_utf8_lossy(&item.value));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every request can be awaited, on whatever runtime; `wait()` instead of `.await` blocks the thread. A [`Client`]
//! is cheap to clone and to share. What it does by itself:
//!
//! - requests of all threads and tasks share one connection a shard, many at a time;
//! - it asks for the slot map and goes straight to the shard that owns a key;
//! - it goes on over memory that the server shares, if it does ([`Config::transport`]); [`Client::transport`] says so;
//! - else it goes on over RDMA, if the server does and this machine has a device; what fails there is sent again over TCP, and RDMA is
//!   tried again while that serves ([`Client::rdma`] counts);
//! - over shared memory gets it answers itself, out of the shards' own memory, in the thread that asks ([`Config::one_sided`],
//!   [`Client::one_sided`]); what it cannot tell by that, and everything else, it asks for;
//! - it connects when it is needed, again when a connection is lost, with growing waits;
//! - it numbers changes, and sends unanswered ones again over the next connection: each is done once. If the server was
//!   restarted in between, the change ends with [`Error::OutcomeUnknown`], and nothing is repeated silently.
//!
//! Requests on one key take effect in the order in which they were sent, whichever way they go. A request ends within its
//! [`Request::deadline`], or [`Config::timeout`].
//!
//! Non-goals: caching on the client's side, and pools of connections (one a shard is enough: it never waits for an answer).
//!
//! | module | holds |
//! |---|---|
//! | `client` | the operations |
//! | `request` | options of each, futures |
//! | `core` | connections, routing, repeating: no socket, no clock |
//! | `handle`, `driver` | the callers' end; the I/O thread: sockets, rings and the clock |
//! | `stream`, `rdma` | a socket, a pair of rings, or a queue pair; the device that has it |
//! | `one_sided`, `order` | gets without asking, and when a get must be asked for |
#![forbid(unsafe_code)]
#![allow(clippy::vec_box, reason = "calls move from queue to queue one by one: a pointer, not 350 bytes")]

mod call;
mod client;
mod completion;
mod config;
mod core;
mod driver;
mod error;
mod far;
mod handle;
mod item;
mod one_sided;
mod order;
mod rdma;
pub mod request;
mod stream;

pub use client::Client;
pub use config::{Config, Credentials, RdmaConfig, Transport};
pub use error::Error;
pub use item::{Changed, Done, Item, Lease};
pub use one_sided::OneSidedReads;
pub use rdma::RdmaUse;
pub use request::{Pending, Request, TouchIf};
pub use torc_proto::native::extension::ItemMeta;
pub use torc_proto::native::{Expiry, Status, Topology};
