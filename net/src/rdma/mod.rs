//! The RDMA device of a server: opened once, used by all shards, watched by a thread of its own.
//!
//! ```text
//!   watch.rs  opens the device; registers the shards' memory piece by piece; hears of ports and devices that go
//!      |      publishes: a state, whose generation rises with each change
//!   shards    look at the generation each turn (a load); make queue pairs in the state's domain, and drop all of it when it is over
//! ```
//!
//! The state is over when its port stays down or the device fails. Only when every shard has dropped what it made of it is the
//! device closed, so that the kernel can take it away; then another is looked for, with growing pauses.

mod arenas;
mod clients;
mod config;
mod events;
mod readers;
mod register;
#[cfg(test)]
mod tests;
mod watch;

pub use crate::transport::rdma::CONNECTION_BYTES as CLIENT_BYTES;
pub(crate) use arenas::Arenas;
pub(crate) use clients::{Admitted, Pairings, PairsByClient};
pub use config::{Rdma, RdmaChoice, RdmaStatus};
pub use events::DEVICE_EVENTS;
pub(crate) use readers::{Asker, Readers, ReadersBy, ReadersLimits};
#[cfg(test)]
pub(crate) use register::Registrar;
pub(crate) use watch::{Watcher, begin};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use torc_rdma::Place;
use torc_rdma::verbs::seam::Verbs;

/// An opened device, with the domain of all queue pairs.
#[derive(Debug)]
pub(crate) struct Opened<V: Verbs> {
    // In the order in which they go.
    arenas: Mutex<Arc<Arenas<V>>>,
    arenas_version: AtomicU64,
    pub(crate) domain: V::Domain,
    pub(crate) device: V,
    pub(crate) place: Place,
}

impl<V: Verbs> Opened<V> {
    /// `epoch`: of the keys of what will be registered.
    pub(crate) fn new(device: V, domain: V::Domain, place: Place, epoch: u64) -> Opened<V> {
        let arenas = Mutex::new(Arc::new(Arenas::new(0, epoch)));
        Opened { arenas, arenas_version: AtomicU64::new(0), domain, device, place }
    }

    /// Memory of shards that is registered.
    pub(crate) fn arenas(&self) -> Arc<Arenas<V>> {
        lock(&self.arenas).clone()
    }

    /// The same, if it has changed since it was `seen`.
    #[inline]
    pub(crate) fn newer_arenas(&self, seen: &Arenas<V>) -> Option<Arc<Arenas<V>>> {
        // Acquire: pairs with the release below; the lock orders the rest.
        (self.arenas_version.load(Ordering::Acquire) != seen.version()).then(|| self.arenas())
    }

    /// Puts others in their place; returns those that were.
    fn set_arenas(&self, new: Arenas<V>) -> Arc<Arenas<V>> {
        let version = new.version();
        let before = std::mem::replace(&mut *lock(&self.arenas), Arc::new(new));
        self.arenas_version.store(version, Ordering::Release);
        before
    }
}

/// What there is of a device now.
#[derive(Debug)]
pub(crate) struct DeviceState<V: Verbs> {
    generation: AtomicU64,
    opened: Mutex<Option<Arc<Opened<V>>>>,
}

impl<V: Verbs> Default for DeviceState<V> {
    fn default() -> DeviceState<V> {
        DeviceState { generation: AtomicU64::new(0), opened: Mutex::new(None) }
    }
}

impl<V: Verbs> DeviceState<V> {
    /// Rises with each change.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is open, and of which generation that is.
    pub(crate) fn opened(&self) -> (u64, Option<Arc<Opened<V>>>) {
        let opened = lock(&self.opened);
        (self.generation(), opened.clone())
    }

    /// Puts another state in place of the one that was, which is returned.
    pub(crate) fn replace(&self, new: Option<Arc<Opened<V>>>) -> Option<Arc<Opened<V>>> {
        let mut opened = lock(&self.opened);
        let before = std::mem::replace(&mut *opened, new);
        self.generation.fetch_add(1, Ordering::Release);
        before
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
