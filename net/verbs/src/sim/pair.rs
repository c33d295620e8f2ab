//! Simulated queue pairs.

use super::device::{Device, Domain, Registered};
use super::queue::{Queue, Receives, create_receives, raw};
use super::state::{Bytes, DeviceState, Kind, PairRecord, Request, State};
use crate::completion::Failure;
use crate::error::{PostError, VerbsError};
use crate::path::{BITS_24, Path, Peer};
use crate::seam::{Access, PairOptions, PairState, QueuePair, SharedReceives, Verbs};
use crate::work::{Action, Payload, Piece, Work};
use std::cell::RefMut;
use std::collections::VecDeque;

const MODIFY: &str = "ibv_modify_qp";
const POST: &str = "ibv_post_send";

/// One end of a reliable connection.
#[derive(Debug)]
pub struct Pair {
    domain: Domain,
    number: u32,
    inline_bytes: u32,
    /// Its own or a shared one, which has to stay as long as this.
    receives: Receives,
    is_shared: bool,
    _queues: [Queue; 2],
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.domain.device.state().pairs.remove(&self.number);
    }
}

pub(super) fn create(domain: &Domain, options: &PairOptions<'_, Device>) -> Result<Pair, VerbsError> {
    let receives = match options.shared {
        Some(shared) => shared.clone(),
        None => create_receives(domain, options.receives)?,
    };
    let mut state = domain.device.there("ibv_create_qp")?;
    let number = state.number();
    let record = PairRecord {
        device: domain.device.number(),
        domain: domain.number,
        state: PairState::Reset,
        access: Access::Local,
        path: None,
        peer: None,
        send_queue: options.send_queue.number(),
        receive_queue: options.receive_queue.number(),
        receives: receives.number(),
        is_shared: options.shared.is_some(),
        receiving: None,
        room: options.sends,
        taken: 0,
        silent: 0,
        requests: VecDeque::new(),
        ready_at: 0,
        retries: 0,
        not_ready_retries: 0,
        due: VecDeque::new(),
    };
    state.pairs.insert(number, record);
    drop(state);
    Ok(Pair {
        domain: domain.clone(),
        number,
        inline_bytes: options.inline_bytes,
        receives,
        is_shared: options.shared.is_some(),
        _queues: [options.send_queue.clone(), options.receive_queue.clone()],
    })
}

impl Pair {
    /// Takes a step from one state to another.
    fn modify(
        &self,
        from: PairState,
        to: PairState,
        set: impl FnOnce(&mut PairRecord) -> bool,
    ) -> Result<(), VerbsError> {
        let mut state = self.domain.device.there(MODIFY)?;
        let refused = VerbsError::new(MODIFY, libc::EINVAL);
        let record = state.pairs.get_mut(&self.number).filter(|pair| pair.state == from).ok_or(refused)?;
        if !set(record) {
            return Err(refused);
        }
        record.state = to;
        Ok(())
    }

    fn request(&self, work: &Work<'_, Registered>) -> Result<Request, VerbsError> {
        let bytes = |payload: &Payload<'_, Registered>| match payload {
            Payload::Inline(bytes) if bytes.len() > self.inline_bytes as usize => {
                Err(VerbsError::new(POST, libc::EINVAL))
            }
            Payload::Inline(bytes) => Ok(Bytes::Inline(bytes.to_vec())),
            Payload::Pieces(pieces) => raw(pieces).map(Bytes::Pieces),
        };
        let (kind, bytes) = match &work.action {
            Action::Send { payload, immediate } => (Kind::Send { immediate: *immediate }, bytes(payload)?),
            Action::Write { payload, to, immediate } => {
                (Kind::Write { to: *to, immediate: *immediate }, bytes(payload)?)
            }
            Action::Read { into, from } => (Kind::Read { from: *from }, Bytes::Pieces(raw(into)?)),
        };
        let Work { id, signaled, solicited, .. } = *work;
        Ok(Request { id, kind, bytes, signaled, solicited, transfer: None, done: None })
    }

    fn post_one(&self, state: &mut RefMut<'_, State>, work: &Work<'_, Registered>) -> Result<(), VerbsError> {
        let request = self.request(work)?;
        let ready_at = state.delay();
        let record = state.pairs.get_mut(&self.number).ok_or(VerbsError::new(POST, libc::EIO))?;
        if record.taken >= record.room {
            return Err(VerbsError::new(POST, libc::ENOMEM));
        }
        let is_failed = match record.state {
            PairState::ReadyToSend => false,
            PairState::Failed => true,
            _ => return Err(VerbsError::new(POST, libc::EINVAL)),
        };
        record.taken += 1;
        if record.requests.is_empty() {
            record.ready_at = ready_at;
        }
        record.requests.push_back(request);
        if is_failed {
            state.finish(self.number, Err(Failure::Flushed));
        }
        Ok(())
    }
}

impl QueuePair for Pair {
    type Region = Registered;

    fn number(&self) -> u32 {
        self.number
    }

    fn inline_bytes(&self) -> u32 {
        self.inline_bytes
    }

    fn state(&self) -> Result<PairState, VerbsError> {
        const CALL: &str = "ibv_query_qp";
        let state = self.domain.device.there(CALL)?;
        state.pairs.get(&self.number).map(|pair| pair.state).ok_or(VerbsError::new(CALL, libc::EIO))
    }

    fn initialize(&self, port: u8, access: Access) -> Result<(), VerbsError> {
        self.modify(PairState::Reset, PairState::Initialized, |pair| {
            pair.access = access;
            port == DeviceState::PORT
        })
    }

    fn ready_to_receive(&self, path: &Path, peer: &Peer) -> Result<(), VerbsError> {
        let is_ours = self.domain.device.gid(path.port, path.gid).is_ok();
        self.modify(PairState::Initialized, PairState::ReadyToReceive, |pair| {
            (pair.path, pair.peer) = (Some(*path), Some(*peer));
            is_ours && (peer.number | peer.first | path.first) & !BITS_24 == 0
        })
    }

    fn ready_to_send(&self, path: &Path) -> Result<(), VerbsError> {
        self.modify(PairState::ReadyToReceive, PairState::ReadyToSend, |pair| {
            pair.path = Some(*path);
            (pair.retries, pair.not_ready_retries) = (path.retries, path.not_ready_retries);
            true
        })
    }

    fn fail(&self) -> Result<(), VerbsError> {
        self.domain.device.there(MODIFY)?.fail(self.number);
        Ok(())
    }

    fn post_receive(&self, id: u64, pieces: &[Piece<'_, Registered>]) -> Result<(), VerbsError> {
        const CALL: &str = "ibv_post_recv";
        let state = self.domain.device.there(CALL)?;
        let record = state.pairs.get(&self.number).ok_or(VerbsError::new(CALL, libc::EIO))?;
        let is_failed = match record.state {
            PairState::Reset => return Err(VerbsError::new(CALL, libc::EINVAL)),
            other => other == PairState::Failed,
        };
        drop(state);
        if self.is_shared {
            return Err(VerbsError::new(CALL, libc::EINVAL));
        }
        if is_failed {
            // Never heard of again, as with SoftRoCE.
            return raw(pieces).map(drop);
        }
        self.receives.post(id, pieces)
    }

    fn post(&self, works: &[Work<'_, Registered>]) -> Result<(), PostError> {
        let mut state = self.domain.device.there(POST).map_err(|error| PostError { posted: 0, error })?;
        for (posted, work) in works.iter().enumerate() {
            self.post_one(&mut state, work).map_err(|error| PostError { posted, error })?;
        }
        Ok(())
    }
}
