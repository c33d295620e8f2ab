//! RDMA verbs: what a transport needs of them, over a library that is found at run time.
//!
//! ```text
//!   a transport
//!       |  work requests, completions, events
//!   seam: traits Verbs, QueuePair, CompletionQueue, ...
//!       |                          |
//!   device: libibverbs        sim: devices and wires in memory, under a seed
//!       |
//!   sys: our bindings and libloading, or the package rdma-sys
//! ```
//!
//! Building needs no header and no library of rdma-core; what is built starts where there is none, and says so. What verbs call
//! unsafe ends here: all of [`seam`] is safe to call, as regions hold their memory, queue pairs their queues, and memory that
//! others may write is never behind a reference.
//!
//! | module | holds |
//! |---|---|
//! | [`survey`] | what there is: library, devices, ports, GIDs, what is usable and why the rest is not, which one is chosen |
//! | [`seam`], [`work`], [`completion`], [`path`], [`region`] | the interface of a provider |
//! | [`memory`], `copy` | memory that devices read and write on their own |
//! | [`device`] | the provider over libibverbs |
//! | [`sim`] | the simulated provider, for tests |
//! | [`library`], `sys` | the library, its types and functions, and how these were generated |

pub mod completion;
mod copy;
pub mod device;
pub mod error;
pub mod gid;
pub mod library;
pub mod memory;
pub mod path;
pub mod region;
pub mod seam;
pub mod sim;
pub mod survey;
mod sys;
pub mod work;
