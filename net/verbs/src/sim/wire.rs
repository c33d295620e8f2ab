//! A step: one of the things that could happen next does.

use super::access::{Wanted, len};
use super::state::{Bytes, Due, Kind, RawPiece, Receive, Request, State, Transfer};
use crate::completion::{Done, Failure};
use crate::seam::PairState;
use crate::work::Remote;

/// Bytes that are copied at a time, at least and at most, unless there would be more than [`PARTS_MAX`] parts.
const PART_BYTES: [usize; 2] = [8, 64];
const PARTS_MAX: usize = 256;
/// So many times of a thousand what is behind a READ goes on before it.
const OVERTAKING: u32 = 500;

enum Next {
    /// The first completion of a pair that is due becomes visible.
    See(u32),
    /// A request of a pair goes on.
    GoOn(u32),
}

pub(super) fn step(state: &mut State) -> bool {
    state.now += 1;
    let now = state.now;
    let mut could = Vec::new();
    let mut is_waiting = false;
    for (&number, pair) in &state.pairs {
        is_waiting |= !pair.due.is_empty();
        if pair.due.front().is_some_and(|due| due.at <= now) {
            could.push(Next::See(number));
        }
        if pair.state == PairState::ReadyToSend && !pair.requests.is_empty() {
            is_waiting = true;
            if pair.ready_at <= now {
                could.push(Next::GoOn(number));
            }
        }
    }
    if could.is_empty() {
        return is_waiting;
    }
    match could[state.random.below(could.len() as u64) as usize] {
        Next::See(pair) => see(state, pair),
        Next::GoOn(pair) => go_on(state, pair),
    }
    true
}

fn see(state: &mut State, pair: u32) {
    let Some(due) = state.pairs.get_mut(&pair).and_then(|pair| pair.due.pop_front()) else { return };
    let Due { queue, solicited, seen, .. } = due;
    if state.random.chance(state.weather.lost) {
        return;
    }
    let Some(queue) = state.queues.get_mut(&queue) else { return };
    if queue.completions.len() >= queue.room {
        queue.has_overrun = true;
        return;
    }
    queue.completions.push_back(seen);
    if let Some(only_solicited) = queue.armed
        && (!only_solicited || solicited || seen.completion.result.is_err())
    {
        queue.armed = None;
        queue.is_noticed = true;
    }
}

/// Why a request does not go on.
enum Stop {
    /// Nobody answers, for now.
    NoAnswer,
    /// The peer has no receive posted, for now.
    NotReady,
    /// The request fails, and the pair with it; so does the peer, if the error was found there.
    Fails { why: Failure, peer: Option<u32> },
}

/// The first request that is not done; or, while that is a READ, the first other one: it need not wait.
fn next(state: &mut State, number: u32) -> Option<usize> {
    let overtakes = state.random.chance(OVERTAKING);
    let requests = &state.pairs.get(&number)?.requests;
    let first = requests.iter().position(|request| request.done.is_none())?;
    let other = requests.iter().position(|request| request.done.is_none() && !request.is_read());
    Some(if overtakes { other.unwrap_or(first) } else { first })
}

fn go_on(state: &mut State, number: u32) {
    let at = state.delay();
    let Some(which) = next(state, number) else { return };
    let Some(pair) = state.pairs.get_mut(&number) else { return };
    pair.ready_at = at;
    let transfer = pair.requests[which].transfer.take();
    let result = match transfer {
        None => start(state, number, which).map(Some),
        Some(transfer) => copy(state, (number, which), transfer),
    };
    match result {
        Ok(transfer) => {
            let Some(pair) = state.pairs.get_mut(&number) else { return };
            if transfer.is_some() {
                pair.requests[which].transfer = transfer;
            }
            // It goes through: what was counted is over.
            if let Some(path) = pair.path {
                (pair.retries, pair.not_ready_retries) = (path.retries, path.not_ready_retries);
            }
        }
        Err(stop) => stopped(state, (number, which), stop),
    }
}

fn stopped(state: &mut State, (number, which): (u32, usize), stop: Stop) {
    let again = state.now + state.weather.retry_delay;
    let Some(pair) = state.pairs.get_mut(&number) else { return };
    let never_ends = pair.path.is_none_or(|path| path.timeout == 0);
    let left = match stop {
        Stop::NoAnswer if never_ends => Ok(()),
        Stop::NoAnswer => count_down(&mut pair.retries).ok_or(Failure::NoAnswer),
        // 7: for ever.
        Stop::NotReady if pair.path.is_some_and(|path| path.not_ready_retries == 7) => Ok(()),
        Stop::NotReady => count_down(&mut pair.not_ready_retries).ok_or(Failure::NotReady),
        Stop::Fails { why, .. } => Err(why),
    };
    match left {
        Ok(()) => pair.ready_at = again,
        Err(why) => {
            (0..which).for_each(|_| state.finish(number, Err(Failure::Flushed)));
            state.finish(number, Err(why));
            state.fail(number);
        }
    }
    if let Stop::Fails { peer: Some(peer), .. } = stop {
        state.fail_and_tell(peer);
    }
}

fn count_down(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

/// The other end, if packets get there and it takes them.
fn reach(state: &State, number: u32) -> Result<u32, Stop> {
    let find = || {
        let pair = state.pairs.get(&number)?;
        let (own, peer) = (state.devices.get(pair.device)?, pair.peer?);
        let other = state.pairs.get(&peer.number)?;
        let device = state.devices.get(other.device)?;
        let takes = matches!(other.state, PairState::ReadyToReceive | PairState::ReadyToSend);
        let is_back = other.peer.is_some_and(|back| back.number == number);
        let is_there = super::state::DeviceState::gid(other.device) == peer.gid;
        let sequence = other.peer?.first == pair.path?.first;
        (own.is_up && device.is_up && takes && is_back && is_there && sequence).then_some(peer.number)
    };
    find().ok_or(Stop::NoAnswer)
}

/// Looks whether the first request of a pair can be done, and takes what it needs.
fn start(state: &mut State, number: u32, which: usize) -> Result<Transfer, Stop> {
    let to = reach(state, number)?;
    let pair = &state.pairs[&number];
    let request = &pair.requests[which];
    let total = match &request.bytes {
        Bytes::Inline(bytes) => bytes.len(),
        Bytes::Pieces(pieces) => len(pieces),
    };
    let refused = Stop::Fails { why: Failure::Access, peer: Some(to) };
    match request.kind {
        Kind::Read { from } if !state.grants(to, from, total, &Wanted::Read) => return Err(refused),
        Kind::Write { to: at, .. } if !state.grants(to, at, total, &Wanted::Write) => return Err(refused),
        _ => {}
    }
    let takes_receive = matches!(request.kind, Kind::Send { .. } | Kind::Write { immediate: Some(_), .. });
    let is_message = matches!(request.kind, Kind::Send { .. });
    if takes_receive {
        let receive = take_receive(state, to)?;
        if is_message && len(&receive.pieces) < total {
            state.received(to, receive.id, Err(Failure::TooLong), false);
            return Err(Stop::Fails { why: Failure::Invalid, peer: Some(to) });
        }
        state.receiving(to, receive);
    }
    Ok(Transfer { to, parts: parts(state, total), len: total })
}

fn take_receive(state: &mut State, to: u32) -> Result<Receive, Stop> {
    let receives = state.pairs[&to].receives;
    state.receives.get_mut(&receives).and_then(|receives| receives.posted.pop_front()).ok_or(Stop::NotReady)
}

/// Cuts a length into parts, in any order.
fn parts(state: &mut State, total: usize) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let least = (total / PARTS_MAX).next_multiple_of(PART_BYTES[0]).max(PART_BYTES[0]);
    let mut at = 0;
    while at < total {
        let more = state.random.below((PART_BYTES[1] / PART_BYTES[0]) as u64) as usize * PART_BYTES[0];
        let len = (least + more).min(total - at);
        parts.push((at, len));
        at += len;
    }
    for left in (1..parts.len()).rev() {
        let other = state.random.below(left as u64 + 1) as usize;
        parts.swap(left, other);
    }
    parts
}

/// Copies one more part; when none is left the request is over.
fn copy(
    state: &mut State,
    (number, which): (u32, usize),
    mut transfer: Transfer,
) -> Result<Option<Transfer>, Stop> {
    // The other end may have gone meanwhile; what it lost cannot be found again, but what is under way waits for its wire.
    match reach(state, number) {
        Ok(to) if to == transfer.to => {}
        Ok(_) => return Err(Stop::NoAnswer),
        Err(stop) => {
            if let Some(pair) = state.pairs.get_mut(&number) {
                pair.requests[which].transfer = Some(transfer);
            }
            return Err(stop);
        }
    }
    let Some((at, len)) = transfer.parts.pop() else {
        end(state, (number, which), transfer);
        return Ok(None);
    };
    copy_part(state, (number, which), &transfer, (at, len))?;
    Ok(Some(transfer))
}

fn copy_part(
    state: &mut State,
    (number, which): (u32, usize),
    transfer: &Transfer,
    (at, len): (usize, usize),
) -> Result<(), Stop> {
    let pair = &state.pairs[&number];
    let domains = (pair.domain, state.pairs[&transfer.to].domain);
    let Request { kind, bytes, .. } = &pair.requests[which];
    let mut copied = vec![0; len];
    let ours = Stop::Fails { why: Failure::Local, peer: None };
    let theirs = |why| Stop::Fails { why, peer: Some(transfer.to) };
    let part = |remote: &Remote| Remote { address: remote.address.wrapping_add(at as u64), ..*remote };
    let raw = |remote: Remote| RawPiece { key: remote.key, address: remote.address, len };
    match kind {
        Kind::Read { from } => {
            if !state.grants(transfer.to, part(from), len, &Wanted::Read) {
                return Err(theirs(Failure::Access));
            }
            let source = Bytes::Pieces(vec![raw(part(from))]);
            state.gather(domains.1, &source, 0, &mut copied).ok_or(theirs(Failure::Access))?;
            let Bytes::Pieces(into) = bytes else { return Err(ours) };
            state.scatter(domains.0, into, at, &copied).ok_or(ours)
        }
        Kind::Write { to, .. } => {
            state.gather(domains.0, bytes, at, &mut copied).ok_or(ours)?;
            if !state.grants(transfer.to, part(to), len, &Wanted::Write) {
                return Err(theirs(Failure::Access));
            }
            state.scatter(domains.1, &[raw(part(to))], 0, &copied).ok_or(theirs(Failure::Access))
        }
        Kind::Send { .. } => {
            state.gather(domains.0, bytes, at, &mut copied).ok_or(ours)?;
            let receiving = state.pairs[&transfer.to].receiving.as_ref();
            let pieces = receiving.map(|receive| receive.pieces.as_slice()).unwrap_or_default();
            if state.scatter(domains.1, pieces, at, &copied).is_some() {
                return Ok(());
            }
            if let Some(receive) = state.received_all(transfer.to) {
                state.received(transfer.to, receive.id, Err(Failure::Local), false);
            }
            Err(theirs(Failure::Remote))
        }
    }
}

/// All is copied: both ends learn of it.
fn end(state: &mut State, (number, which): (u32, usize), transfer: Transfer) {
    let request = &state.pairs[&number].requests[which];
    let (solicited, len) = (request.solicited, transfer.len as u32);
    let (done, told) = match request.kind {
        Kind::Read { .. } => (Done::Read, None),
        Kind::Write { immediate, .. } => {
            (Done::Written, immediate.map(|immediate| Done::WrittenByPeer { len, immediate }))
        }
        Kind::Send { immediate } => (Done::Sent, Some(Done::Received { len, immediate })),
    };
    if let Some(told) = told
        && let Some(receive) = state.received_all(transfer.to)
    {
        state.received(transfer.to, receive.id, Ok(told), solicited);
    }
    state.done(number, which, done);
}
