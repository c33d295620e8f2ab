//! Calls become frames.

use super::Core;
use super::peer::Entry;
use crate::Error;
use crate::call::Call;
use std::time::Instant;
use torc_proto::native::{Change, Op, keys};

/// Longest value of a multi-get that we compose, bytes; every server takes frames this long.
const KEYS_BYTES_MAX: usize = 4096;
/// Most keys of a multi-get that we compose.
const KEYS_MAX: usize = 128;

impl Core {
    /// Puts a call on a connection that is ready.
    pub(super) fn send(&mut self, index: usize, mut call: Box<Call>, now: Instant) {
        let boot_id = self.peers[index].boot_id;
        if call.is_change() {
            // [N-ONCE-4]
            if call.progress.repeat && call.progress.boot_id != boot_id {
                return self.complete(call, Err(Error::OutcomeUnknown));
            }
            if self.identity != 0 && call.progress.number == 0 {
                match self.numbers.take() {
                    Some(number) => call.progress.number = number,
                    None => return self.parked.push_back(call),
                }
            }
            if self.identity != 0 {
                call.options.change =
                    Some(Change { number: call.progress.number, repeat: call.progress.repeat });
            }
        }
        call.progress.boot_id = boot_id;
        call.progress.sent = true;
        if call.tell_deadline {
            call.options.deadline_us = Some(remaining_us(call.due, now));
        }
        let peer = &mut self.peers[index];
        let id = peer.next_id();
        let composed = torc_proto::native::frame::compose_request(
            &mut peer.out,
            call.op,
            call.flags,
            id,
            &call.options,
            &call.key,
            &call.value,
        );
        match composed {
            Ok(()) => peer.expect(Entry::Call(call)),
            Err(invalid) => self.complete(call, Err(invalid.into())),
        }
    }

    /// Sends gets of one kind in frames of many keys.
    pub(super) fn flush_group(&mut self, index: usize, group: &mut Vec<Box<Call>>, now: Instant) {
        if group.len() < 2 || !self.peers[index].is_open() {
            return group.drain(..).for_each(|call| self.dispatch(call, now));
        }
        let mut value = Vec::new();
        let mut frame: Vec<Box<Call>> = Vec::new();
        for call in group.drain(..) {
            if value.len() + call.key.len() > KEYS_BYTES_MAX || frame.len() == KEYS_MAX {
                self.send_keys(index, &mut frame, &mut value, now);
            }
            match keys::push_key(&mut value, &call.key) {
                Ok(()) => frame.push(call),
                Err(invalid) => self.complete(call, Err(invalid.into())),
            }
        }
        self.send_keys(index, &mut frame, &mut value, now);
    }

    pub(super) fn send_keys(
        &mut self,
        index: usize,
        frame: &mut Vec<Box<Call>>,
        value: &mut Vec<u8>,
        now: Instant,
    ) {
        let Some(first) = frame.first() else { return };
        let mut options = first.options;
        if first.tell_deadline {
            options.deadline_us = Some(remaining_us(first.due, now));
        }
        let flags = first.flags;
        let peer = &mut self.peers[index];
        let id = peer.next_id();
        let composed = torc_proto::native::frame::compose_request(
            &mut peer.out,
            Op::MultiGet,
            flags,
            id,
            &options,
            b"",
            value,
        );
        value.clear();
        for mut call in frame.drain(..) {
            call.progress.sent = true;
            match composed {
                Ok(()) => self.peers[index].expect(Entry::Call(call)),
                Err(invalid) => self.complete(call, Err(invalid.into())),
            }
        }
    }
}

fn remaining_us(due: Instant, now: Instant) -> u32 {
    u32::try_from(due.saturating_duration_since(now).as_micros()).unwrap_or(u32::MAX)
}
