//! What a device tells on its own.

use super::context::Context;
use super::descriptor::is_nothing;
use crate::completion::Event;
use crate::error::VerbsError;
use crate::sys::{ibv_async_event, ibv_event_type as kind};
use std::mem::MaybeUninit;

pub(super) fn next(context: &Context) -> Result<Option<Event>, VerbsError> {
    let mut event = MaybeUninit::<ibv_async_event>::zeroed();
    // SAFETY: the context is open, `event` is writable.
    if unsafe { context.library.ibv_get_async_event(context.raw.as_ptr(), event.as_mut_ptr()) } != 0 {
        let error = VerbsError::last("ibv_get_async_event");
        return if is_nothing(&error) { Ok(None) } else { Err(error) };
    }
    let told = read(&event);
    // SAFETY: the event was read just now, and is acknowledged once; what it names was looked at before.
    unsafe { context.library.ibv_ack_async_event(event.as_mut_ptr()) };
    Ok(Some(told))
}

/// Translates an event that was read and not acknowledged.
fn read(event: &MaybeUninit<ibv_async_event>) -> Event {
    let event = event.as_ptr();
    // The type has a number for each event that its header knew; a newer library may tell of others.
    // SAFETY: `event` was written; a number of 32 bits is read there, whatever it is.
    let number = unsafe { (&raw const (*event).event_type).cast::<u32>().read() };
    // SAFETY: `event` was written, over zeros, so its element is initialized whichever field was; any bytes are a number.
    let port = || unsafe { (&raw const (*event).element).cast::<i32>().read() } as u8;
    // SAFETY: only called for events that name a queue pair: a pointer was written, and the queue pair is there, as its
    // destruction waits until its events are acknowledged.
    let pair = || unsafe { (*(*event).element.qp).qp_num };
    let is = |kind: kind| number == kind as u32;
    if is(kind::IBV_EVENT_PORT_ACTIVE) {
        Event::PortUp { port: port() }
    } else if is(kind::IBV_EVENT_PORT_ERR) {
        Event::PortDown { port: port() }
    } else if [
        kind::IBV_EVENT_GID_CHANGE,
        kind::IBV_EVENT_LID_CHANGE,
        kind::IBV_EVENT_PKEY_CHANGE,
        kind::IBV_EVENT_SM_CHANGE,
        kind::IBV_EVENT_CLIENT_REREGISTER,
    ]
    .into_iter()
    .any(is)
    {
        Event::PortChanged { port: port() }
    } else if [kind::IBV_EVENT_QP_FATAL, kind::IBV_EVENT_QP_REQ_ERR, kind::IBV_EVENT_QP_ACCESS_ERR]
        .into_iter()
        .any(is)
    {
        Event::PairFailed { pair: pair() }
    } else if is(kind::IBV_EVENT_QP_LAST_WQE_REACHED) {
        Event::PairDrained { pair: pair() }
    } else if [kind::IBV_EVENT_CQ_ERR, kind::IBV_EVENT_SRQ_ERR].into_iter().any(is) {
        Event::QueueFailed
    } else if is(kind::IBV_EVENT_DEVICE_FATAL) {
        Event::DeviceFailed
    } else {
        Event::Other(number)
    }
}
