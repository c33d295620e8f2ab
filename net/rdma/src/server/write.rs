//! The stream to a client: short parts by messages, long ones of registered memory to the landing.

use super::{ONE_SIDED_BYTES_MAX, ServerEnd};
use crate::Broken;
use crate::link::{OneSided, remote};
use crate::note::{Kind, UNIT};
use std::mem::take;
use torc_verbs::memory::Buffer;
use torc_verbs::seam::Verbs;
use torc_verbs::work::Piece;

/// Shorter parts are copied into messages.
const LANDED_BYTES_MIN: usize = 4 << 10;
/// Slices that are gathered into one message.
const SLICES_MAX: usize = 16;

impl<V: Verbs> ServerEnd<V> {
    /// Sends as many of the parts as go now, in their order, and says how many bytes. Parts in registered memory, which `find`
    /// knows, are lent to the device until their WRITEs are over.
    ///
    /// # Errors
    /// The connection cannot go on.
    ///
    /// # Safety
    /// The parts are readable, and nobody writes them, until all WRITEs are over, or the queue pair is gone.
    pub unsafe fn write<'r>(
        &mut self,
        memory: (&Buffer, &V::Region),
        parts: impl Iterator<Item = (*const u8, usize)>,
        find: impl Fn(*const u8, usize) -> Option<(&'r V::Region, usize)>,
    ) -> Result<usize, Broken>
    where
        V::Region: 'r,
    {
        let mut gathered = Gathered::default();
        let mut sent = 0;
        for (start, len) in parts {
            let long = len >= LANDED_BYTES_MIN && self.landing.0.room_ever();
            let found = if long { find(start, len) } else { None };
            let done = match found {
                Some((region, at)) => {
                    // SAFETY: by the caller.
                    sent += unsafe { self.plan(memory, &mut gathered) }?;
                    if gathered.len > 0 { 0 } else { self.land(memory.1, (region, at), len)? }
                }
                // SAFETY: by the caller.
                None => unsafe { self.gather(memory, &mut gathered, (start, len), &mut sent) }?,
            };
            if found.is_some() {
                sent += done;
            }
            if done < len {
                break;
            }
        }
        // SAFETY: by the caller.
        sent += unsafe { self.plan(memory, &mut gathered) }?;
        self.link.flush(memory.1)?;
        Ok(sent)
    }

    /// Puts a part behind others for one message, and plans messages that are full. Bytes of it that were taken.
    unsafe fn gather(
        &mut self,
        memory: (&Buffer, &V::Region),
        gathered: &mut Gathered,
        (start, len): (*const u8, usize),
        sent: &mut usize,
    ) -> Result<usize, Broken> {
        let mut done = 0;
        while done < len {
            let room = self.link.message_bytes() - gathered.len;
            if room == 0 || gathered.count == SLICES_MAX {
                // SAFETY: by the caller.
                *sent += unsafe { self.plan(memory, gathered) }?;
                if gathered.len > 0 {
                    break;
                }
                continue;
            }
            let count = room.min(len - done);
            gathered.push(start.wrapping_add(done), count);
            done += count;
        }
        Ok(done)
    }

    /// Plans a message of what was gathered, if one can be; how many bytes.
    unsafe fn plan(
        &mut self,
        memory: (&Buffer, &V::Region),
        gathered: &mut Gathered,
    ) -> Result<usize, Broken> {
        if gathered.len == 0 || !self.link.has_room() {
            return Ok(0);
        }
        let Gathered { slices, count, len } = take(gathered);
        // SAFETY: by the caller.
        unsafe { self.link.plan(memory, Kind::Bytes, len, slices[..count].iter().copied()) }?;
        Ok(len)
    }

    /// Writes as much of a part to the landing as goes; how many bytes.
    fn land(
        &mut self,
        region: &V::Region,
        (from, at): (&V::Region, usize),
        len: usize,
    ) -> Result<usize, Broken> {
        let mut done = 0;
        while done < len && self.link.has_room() {
            let (window, told) = &mut self.landing;
            let left = len - done;
            let most = window.room().min(ONE_SIDED_BYTES_MAX);
            // Only the last write of a part may end within a unit: what follows begins at a whole one.
            let count = if left <= most { left } else { most / UNIT * UNIT };
            let Some(place) = (if count > 0 { window.claim(count) } else { None }) else { break };
            let piece = Piece { region: from, at: at + done, len: count };
            let far = remote(*told, place);
            self.link.post(region, Some(OneSided { piece, far, writes: true }))?;
            done += count;
        }
        Ok(done)
    }
}

/// Slices for one message.
#[derive(Debug)]
struct Gathered {
    slices: [(*const u8, usize); SLICES_MAX],
    count: usize,
    len: usize,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered { slices: [(std::ptr::null(), 0); SLICES_MAX], count: 0, len: 0 }
    }
}

impl Gathered {
    fn push(&mut self, start: *const u8, len: usize) {
        self.slices[self.count] = (start, len);
        self.count += 1;
        self.len += len;
    }
}
