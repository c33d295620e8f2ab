//! How a client ends a server: whoever started it is told, and stops it as a signal does.

use std::fmt;
use std::sync::Arc;

/// What a server does that is asked to end: it tells whoever started it.
#[derive(Clone)]
pub struct OnShutdown(Arc<dyn Fn() + Send + Sync>);

impl OnShutdown {
    /// `ask` is called by a shard's thread, so it must be quick.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> OnShutdown {
        OnShutdown(Arc::new(ask))
    }

    pub(crate) fn ask(&self) {
        (self.0)();
    }
}

impl fmt::Debug for OnShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnShutdown")
    }
}
