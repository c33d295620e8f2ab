//! Work requests as the library wants them: on the stack, for the time of a call.

use super::domain::Registered;
use crate::error::{PostError, VerbsError};
use crate::sys::{
    self, ibv_qp, ibv_recv_wr, ibv_send_flags as flags, ibv_send_wr, ibv_sge, ibv_wr_opcode as opcode,
};
use crate::work::{Action, DOORBELL_MAX, PIECES_MAX, Payload, Piece, Remote, Work};
use std::ffi::c_int;
use std::mem::{MaybeUninit, zeroed};
use std::ptr::null_mut;

/// A call of the library that posts a list of requests, and names the first that it did not take.
pub(super) type PostSend =
    unsafe extern "C" fn(*mut ibv_qp, *mut ibv_send_wr, *mut *mut ibv_send_wr) -> c_int;

const NO_PIECE: ibv_sge = ibv_sge { addr: 0, length: 0, lkey: 0 };

/// The pieces of one request.
type Pieces = [ibv_sge; PIECES_MAX];

/// Fills in pieces; returns how many.
fn fill(to: &mut Pieces, pieces: &[Piece<'_, Registered>]) -> Result<c_int, VerbsError> {
    if pieces.len() > PIECES_MAX {
        return Err(VerbsError::new("pieces", libc::EINVAL));
    }
    for (to, piece) in to.iter_mut().zip(pieces) {
        let (addr, lkey) = (piece.address()?, piece.region.local_key());
        *to = ibv_sge { addr, length: piece.len as u32, lkey };
    }
    Ok(pieces.len() as c_int)
}

/// Fills in what is sent; returns how many pieces, and whether they are inline.
fn payload(
    to: &mut Pieces,
    payload: &Payload<'_, Registered>,
    inline_max: u32,
) -> Result<(c_int, bool), VerbsError> {
    match payload {
        Payload::Pieces(pieces) => Ok((fill(to, pieces)?, false)),
        Payload::Inline(bytes) if bytes.len() <= inline_max as usize => {
            to[0] = ibv_sge { addr: bytes.as_ptr().addr() as u64, length: bytes.len() as u32, lkey: 0 };
            Ok((1, true))
        }
        Payload::Inline(_) => Err(VerbsError::new("an inline payload", libc::EINVAL)),
    }
}

/// One request, but for `next`; its pieces lie in `pieces`.
fn request(
    work: &Work<'_, Registered>,
    pieces: &mut Pieces,
    inline_max: u32,
) -> Result<ibv_send_wr, VerbsError> {
    // SAFETY: numbers and pointers, of which zeros are values.
    let mut request: ibv_send_wr = unsafe { zeroed() };
    let (kind, (count, inline), remote, immediate) = match &work.action {
        Action::Send { payload: bytes, immediate } => {
            let kinds = [opcode::IBV_WR_SEND, opcode::IBV_WR_SEND_WITH_IMM];
            let kind = kinds[usize::from(immediate.is_some())];
            (kind, payload(pieces, bytes, inline_max)?, None, *immediate)
        }
        Action::Write { payload: bytes, to, immediate } => {
            let kinds = [opcode::IBV_WR_RDMA_WRITE, opcode::IBV_WR_RDMA_WRITE_WITH_IMM];
            let kind = kinds[usize::from(immediate.is_some())];
            (kind, payload(pieces, bytes, inline_max)?, Some(*to), *immediate)
        }
        Action::Read { into, from } => {
            (opcode::IBV_WR_RDMA_READ, (fill(pieces, into)?, false), Some(*from), None)
        }
    };
    request.wr_id = work.id;
    request.sg_list = pieces.as_mut_ptr();
    request.num_sge = count;
    request.opcode = kind;
    for (is_set, flag) in [
        (work.signaled, flags::IBV_SEND_SIGNALED),
        (work.solicited, flags::IBV_SEND_SOLICITED),
        (inline, flags::IBV_SEND_INLINE),
    ] {
        if is_set {
            request.send_flags |= flag.0;
        }
    }
    if let Some(Remote { address, key }) = remote {
        request.wr.rdma.remote_addr = address;
        request.wr.rdma.rkey = key;
    }
    if let Some(immediate) = immediate {
        sys::set_immediate(&mut request, immediate);
    }
    Ok(request)
}

/// Posts requests, in batches of one doorbell each.
///
/// # Safety
/// `post` is the call of the device that `pair` is of, and `pair` is there.
pub(super) unsafe fn post_sends(
    post: PostSend,
    pair: *mut ibv_qp,
    works: &[Work<'_, Registered>],
    inline_max: u32,
) -> Result<(), PostError> {
    let mut posted = 0;
    for batch in works.chunks(DOORBELL_MAX) {
        // SAFETY: by the caller.
        match unsafe { post_batch(post, pair, batch, inline_max) } {
            Ok(()) => posted += batch.len(),
            Err(error) => return Err(PostError { posted: posted + error.posted, ..error }),
        }
    }
    Ok(())
}

/// # Safety
/// As for [`post_sends`], and the batch has at most [`DOORBELL_MAX`].
unsafe fn post_batch(
    post: PostSend,
    pair: *mut ibv_qp,
    batch: &[Work<'_, Registered>],
    inline_max: u32,
) -> Result<(), PostError> {
    let mut pieces = [const { MaybeUninit::<Pieces>::uninit() }; DOORBELL_MAX];
    let mut requests = [const { MaybeUninit::<ibv_send_wr>::uninit() }; DOORBELL_MAX];
    for ((work, pieces), place) in batch.iter().zip(&mut pieces).zip(&mut requests) {
        let pieces = pieces.write([NO_PIECE; PIECES_MAX]);
        place.write(request(work, pieces, inline_max).map_err(|error| PostError { posted: 0, error })?);
    }
    let first = requests.as_mut_ptr().cast::<ibv_send_wr>();
    for at in 1..batch.len() {
        // SAFETY: the first `batch.len()` were written, and both lie among them.
        unsafe { (*first.add(at - 1)).next = first.add(at) };
    }
    let mut refused = null_mut();
    // SAFETY: the list, its pieces and what is inline live until the call returns, and the library keeps none of them; the pieces'
    // memory is registered, and when that ends, so does the device's access.
    let returned = unsafe { post(pair, first, &raw mut refused) };
    VerbsError::check("ibv_post_send", returned).map_err(|error| {
        let posted = (refused.addr().wrapping_sub(first.addr())) / size_of::<ibv_send_wr>();
        PostError { posted: if posted < batch.len() { posted } else { 0 }, error }
    })
}

/// Posts one receive by a call of the library, `post`, which gets it.
pub(super) fn post_receive(
    id: u64,
    pieces: &[Piece<'_, Registered>],
    post: impl FnOnce(*mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
) -> Result<(), VerbsError> {
    let mut list = [NO_PIECE; PIECES_MAX];
    let count = fill(&mut list, pieces)?;
    let mut request = ibv_recv_wr { wr_id: id, next: null_mut(), sg_list: list.as_mut_ptr(), num_sge: count };
    let mut refused = null_mut();
    VerbsError::check("ibv_post_recv", post(&raw mut request, &raw mut refused))
}
