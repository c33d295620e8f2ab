//! Real devices, by way of libibverbs.

mod context;
mod descriptor;
mod domain;
mod events;
mod modify;
mod pair;
mod post;
mod provider;
mod queue;
mod receives;

pub use context::{Device, names};
pub use domain::{Domain, Registered};
pub use pair::Pair;
pub use queue::Queue;
pub use receives::Receives;
