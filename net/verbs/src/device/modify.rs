//! The states of a queue pair (InfiniBand specification, 10.3.1), one function for each step.
//!
//! All of them ask that the queue pair is there and of this library.

use crate::error::VerbsError;
use crate::path::{BITS_24, Path, Peer};
use crate::seam::PairState;
use crate::sys::{
    Functions, ibv_qp, ibv_qp_attr, ibv_qp_attr_mask as mask, ibv_qp_init_attr, ibv_qp_state as state,
};
use std::mem::zeroed;
use std::ptr::NonNull;

const CALL: &str = "ibv_modify_qp";

fn no_attributes() -> ibv_qp_attr {
    // SAFETY: numbers, of which zeros are values.
    unsafe { zeroed() }
}

/// # Safety
/// The queue pair is there, and of this library.
unsafe fn modify(
    library: &Functions,
    pair: NonNull<ibv_qp>,
    mut attributes: ibv_qp_attr,
    what: mask,
) -> Result<(), VerbsError> {
    let what = (what | mask::IBV_QP_STATE).0.cast_signed();
    // SAFETY: by the caller; `attributes` lives until the call returns, and all that `what` names is set in it.
    VerbsError::check(CALL, unsafe { library.ibv_modify_qp(pair.as_ptr(), &raw mut attributes, what) })
}

/// # Safety
/// The queue pair is there, and of this library.
pub(super) unsafe fn initialize(
    library: &Functions,
    pair: NonNull<ibv_qp>,
    port: u8,
    access: u32,
) -> Result<(), VerbsError> {
    let mut attributes = no_attributes();
    attributes.qp_state = state::IBV_QPS_INIT;
    attributes.port_num = port;
    attributes.qp_access_flags = access;
    let what = mask::IBV_QP_PKEY_INDEX | mask::IBV_QP_PORT | mask::IBV_QP_ACCESS_FLAGS;
    // SAFETY: by the caller.
    unsafe { modify(library, pair, attributes, what) }
}

/// # Safety
/// The queue pair is there, and of this library.
pub(super) unsafe fn ready_to_receive(
    library: &Functions,
    pair: NonNull<ibv_qp>,
    path: &Path,
    peer: &Peer,
) -> Result<(), VerbsError> {
    // What a peer says is checked here, as not all drivers do.
    if (peer.number | peer.first | path.first) & !BITS_24 != 0 {
        return Err(VerbsError::new(CALL, libc::EINVAL));
    }
    let mut attributes = no_attributes();
    attributes.qp_state = state::IBV_QPS_RTR;
    attributes.path_mtu = path.mtu as u32;
    attributes.dest_qp_num = peer.number;
    attributes.rq_psn = peer.first;
    attributes.max_dest_rd_atomic = path.reads_in;
    attributes.min_rnr_timer = path.not_ready_delay;
    let address = &mut attributes.ah_attr;
    address.is_global = 1;
    address.port_num = path.port;
    address.grh.dgid.raw = peer.gid.0;
    address.grh.sgid_index = path.gid;
    address.grh.hop_limit = path.hop_limit;
    address.grh.traffic_class = path.traffic_class;
    let what = mask::IBV_QP_AV
        | mask::IBV_QP_PATH_MTU
        | mask::IBV_QP_DEST_QPN
        | mask::IBV_QP_RQ_PSN
        | mask::IBV_QP_MAX_DEST_RD_ATOMIC
        | mask::IBV_QP_MIN_RNR_TIMER;
    // SAFETY: by the caller.
    unsafe { modify(library, pair, attributes, what) }
}

/// # Safety
/// The queue pair is there, and of this library.
pub(super) unsafe fn ready_to_send(
    library: &Functions,
    pair: NonNull<ibv_qp>,
    path: &Path,
) -> Result<(), VerbsError> {
    let mut attributes = no_attributes();
    attributes.qp_state = state::IBV_QPS_RTS;
    attributes.timeout = path.timeout;
    attributes.retry_cnt = path.retries;
    attributes.rnr_retry = path.not_ready_retries;
    attributes.sq_psn = path.first;
    attributes.max_rd_atomic = path.reads_out;
    let what = mask::IBV_QP_TIMEOUT
        | mask::IBV_QP_RETRY_CNT
        | mask::IBV_QP_RNR_RETRY
        | mask::IBV_QP_SQ_PSN
        | mask::IBV_QP_MAX_QP_RD_ATOMIC;
    // SAFETY: by the caller.
    unsafe { modify(library, pair, attributes, what) }
}

/// # Safety
/// The queue pair is there, and of this library.
pub(super) unsafe fn fail(library: &Functions, pair: NonNull<ibv_qp>) -> Result<(), VerbsError> {
    let mut attributes = no_attributes();
    attributes.qp_state = state::IBV_QPS_ERR;
    // SAFETY: by the caller.
    unsafe { modify(library, pair, attributes, mask::IBV_QP_STATE) }
}

/// # Safety
/// The queue pair is there, and of this library.
pub(super) unsafe fn state(library: &Functions, pair: NonNull<ibv_qp>) -> Result<PairState, VerbsError> {
    let mut attributes = no_attributes();
    // SAFETY: numbers and pointers, of which zeros are values.
    let mut options: ibv_qp_init_attr = unsafe { zeroed() };
    let what = mask::IBV_QP_STATE.0.cast_signed();
    // SAFETY: by the caller; both places are writable.
    let returned =
        unsafe { library.ibv_query_qp(pair.as_ptr(), &raw mut attributes, what, &raw mut options) };
    VerbsError::check("ibv_query_qp", returned)?;
    Ok(match attributes.qp_state {
        state::IBV_QPS_RESET => PairState::Reset,
        state::IBV_QPS_INIT => PairState::Initialized,
        state::IBV_QPS_RTR => PairState::ReadyToReceive,
        state::IBV_QPS_RTS => PairState::ReadyToSend,
        state::IBV_QPS_ERR => PairState::Failed,
        other => PairState::Other(other),
    })
}
