//! Simulated completion queues, and shared receives.

use super::device::{Device, Domain, Registered};
use super::state::{QueueState, RawPiece, Receive, ReceivesState};
use crate::completion::Completion;
use crate::error::VerbsError;
use crate::seam::{CompletionQueue, SharedReceives};
use crate::work::{PIECES_MAX, Piece};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

#[derive(Debug)]
struct CreatedQueue {
    device: Device,
    number: u32,
}

impl Drop for CreatedQueue {
    fn drop(&mut self) {
        self.device.state().queues.remove(&self.number);
    }
}

/// Where completions come to.
#[derive(Debug, Clone)]
pub struct Queue(Rc<CreatedQueue>);

pub(super) fn create(device: &Device, completions: u32) -> Result<Queue, VerbsError> {
    let mut state = device.there("ibv_create_cq")?;
    let number = state.number();
    state.queues.insert(number, QueueState { room: completions as usize, ..QueueState::default() });
    drop(state);
    Ok(Queue(Rc::new(CreatedQueue { device: device.clone(), number })))
}

impl Queue {
    pub(super) fn number(&self) -> u32 {
        self.0.number
    }

    /// Does something with the queue, if it has not failed.
    fn with<T>(&self, call: &'static str, act: impl FnOnce(&mut QueueState) -> T) -> Result<T, VerbsError> {
        let mut state = self.0.device.state();
        let queue = state.queues.get_mut(&self.0.number).filter(|queue| !queue.has_overrun);
        queue.map(act).ok_or(VerbsError::new(call, libc::EIO))
    }
}

impl CompletionQueue for Queue {
    fn poll(&self, completions: &mut [Completion]) -> Result<usize, VerbsError> {
        let seen: Vec<_> = self.with("ibv_poll_cq", |queue| {
            let count = queue.completions.len().min(completions.len());
            queue.completions.drain(..count).collect()
        })?;
        let mut state = self.0.device.state();
        for (seen, to) in seen.iter().zip(completions) {
            *to = seen.completion;
            if let Some(pair) = state.pairs.get_mut(&seen.completion.pair) {
                pair.taken = pair.taken.saturating_sub(seen.frees);
            }
        }
        Ok(seen.len())
    }

    fn arm(&self, solicited: bool) -> Result<(), VerbsError> {
        // Asked for twice, the weaker wish holds, as of a device.
        self.with("ibv_req_notify_cq", |queue| {
            queue.armed = Some(solicited && queue.armed.unwrap_or(true));
        })
    }

    fn notices(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take_notices(&self) -> Result<bool, VerbsError> {
        self.with("ibv_get_cq_event", |queue| std::mem::take(&mut queue.is_noticed))
    }
}

#[derive(Debug)]
struct CreatedReceives {
    device: Device,
    number: u32,
}

impl Drop for CreatedReceives {
    fn drop(&mut self) {
        self.device.state().receives.remove(&self.number);
    }
}

/// Receives that queue pairs take from.
#[derive(Debug, Clone)]
pub struct Receives(Rc<CreatedReceives>);

pub(super) fn create_receives(domain: &Domain, receives: u32) -> Result<Receives, VerbsError> {
    let device = &domain.device;
    let mut state = device.there("ibv_create_srq")?;
    let number = state.number();
    state.receives.insert(number, ReceivesState { room: receives as usize, ..ReceivesState::default() });
    drop(state);
    Ok(Receives(Rc::new(CreatedReceives { device: device.clone(), number })))
}

impl Receives {
    pub(super) fn number(&self) -> u32 {
        self.0.number
    }
}

/// Pieces as they are posted.
///
/// # Errors
/// EINVAL: one is not inside of its region, or there are too many.
pub(super) fn raw(pieces: &[Piece<'_, Registered>]) -> Result<Vec<RawPiece>, VerbsError> {
    if pieces.len() > PIECES_MAX {
        return Err(VerbsError::new("pieces", libc::EINVAL));
    }
    let raw = |piece: &Piece<'_, Registered>| {
        Ok(RawPiece { key: piece.region.local_key(), address: piece.address()?, len: piece.len })
    };
    pieces.iter().map(raw).collect()
}

impl SharedReceives for Receives {
    type Region = Registered;

    fn post(&self, id: u64, pieces: &[Piece<'_, Registered>]) -> Result<(), VerbsError> {
        const CALL: &str = "ibv_post_srq_recv";
        let pieces = raw(pieces)?;
        let mut state = self.0.device.there(CALL)?;
        let receives = state.receives.get_mut(&self.0.number).ok_or(VerbsError::new(CALL, libc::EIO))?;
        if receives.posted.len() >= receives.room {
            return Err(VerbsError::new(CALL, libc::ENOMEM));
        }
        receives.posted.push_back(Receive { id, pieces });
        Ok(())
    }
}
