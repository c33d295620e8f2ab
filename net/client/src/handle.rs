//! The callers' end of a client: hands calls to the I/O thread, or reads what the server shares.

use crate::call::{Call, Reply};
use crate::config::Transport;
use crate::core::Core;
use crate::driver::{Common, Driver, QUEUE, RDMA, RINGS, SOCKET};
use crate::one_sided::OneSided;
use crate::order::Ticket;
use crate::rdma::Rdma;
use crate::{Config, Error, OneSidedReads, RdmaUse};
use mio::{Poll, Waker};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use torc_proto::native::Op;

#[derive(Debug)]
pub(crate) struct Handle {
    calls: Mutex<Sender<Vec<Box<Call>>>>,
    common: Common,
    /// How long what is told to the server may take.
    timeout: Duration,
}

impl Handle {
    /// Starts the thread. The first connection is made when the first call comes.
    pub(crate) fn start(config: Config) -> Result<Handle, Error> {
        let failed = |error: io::Error| Error::Start(error.to_string());
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), QUEUE).map_err(failed)?);
        let (calls, queue) = channel();
        let shares = matches!(config.transport, Transport::Auto | Transport::SharedMemory);
        let reads = config.one_sided && (shares || config.rdma.reads);
        let one_sided = reads.then(|| Arc::new(OneSided::new(random_bits())));
        let common = Common::new(waker, one_sided);
        let timeout = config.timeout;
        let rdma = Rdma::new(&config.rdma);
        let core = Core::new(config, random_bits(), Instant::now());
        let driver = Driver::new(poll, core, rdma, queue, common.clone());
        std::thread::Builder::new().name("torc-client".into()).spawn(move || driver.run()).map_err(failed)?;
        Ok(Handle { calls: Mutex::new(calls), common, timeout })
    }

    /// What carries requests to the server's common port now; `None`: there is no connection.
    pub(crate) fn carried(&self) -> Option<Transport> {
        // Relaxed: it may have changed by the time that the caller looks at it.
        match self.common.carried.load(Ordering::Relaxed) {
            SOCKET => Some(Transport::Socket),
            RINGS => Some(Transport::SharedMemory),
            RDMA => Some(Transport::Rdma),
            _ => None,
        }
    }

    pub(crate) fn rdma(&self) -> RdmaUse {
        self.common.rdma.read()
    }

    pub(crate) fn one_sided(&self) -> OneSidedReads {
        self.common.one_sided.as_ref().map(|one_sided| one_sided.counts()).unwrap_or_default()
    }

    /// What a command that is about to be sent holds until it is answered.
    pub(crate) fn ticket(&self, op: Op, key: &[u8]) -> Option<Ticket> {
        self.common.one_sided.as_ref().map(|one_sided| one_sided.order.enter(op, key))
    }

    /// The answer to a get with these flags, if it is found in memory that the server shares.
    #[inline]
    pub(crate) fn read(&self, key: &[u8], flags: u16) -> Option<Reply> {
        let one_sided = self.common.one_sided.as_deref().filter(|one_sided| one_sided.is_open())?;
        let mut told = Vec::new();
        let reply = one_sided.get(key, flags, &mut told);
        if !told.is_empty() {
            let now = Instant::now();
            let call = |(op, value)| Box::new(Call::unheard(op, value, now, self.timeout));
            self.submit(told.into_iter().map(call).collect());
        }
        if one_sided.note_untold() || one_sided.takes_work() {
            self.wake();
        }
        reply
    }

    /// Calls in their order; neighbouring gets may share a frame.
    pub(crate) fn submit(&self, calls: Vec<Box<Call>>) {
        // If the thread is gone the calls are dropped here, and that completes them.
        let _ = self.calls.lock().unwrap_or_else(PoisonError::into_inner).send(calls);
        self.wake();
    }

    /// The thread is to look at what was just put where it looks.
    fn wake(&self) {
        // Pairs with the store in `Driver::sleep`: either it sees that, or we see it asleep.
        if self.common.asleep.swap(false, Ordering::SeqCst) {
            let _ = self.common.waker.wake();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The sender goes first, so that the thread finds the queue closed when it wakes.
        let (closed, _) = channel();
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        let _ = self.common.waker.wake();
    }
}

/// 64 bits from the operating system's randomness: the standard library seeds its hash maps with it.
fn random_bits() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
