//! The stream to the server: by messages, and of what is long the rest by the lending.

use super::ClientEnd;
use crate::Broken;
use crate::note::{Kind, UNIT};
use torc_verbs::seam::Verbs;

/// Requests shorter than this go by messages as a whole; of a longer one the server reads what is behind its first message.
const LENT_BYTES_MIN: usize = 16 << 10;
/// Bytes that are lent at a time: while the server reads one part the next is filled.
const LENT_BYTES_MAX: usize = 256 << 10;

impl<V: Verbs> ClientEnd<V> {
    pub(super) fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let is_long = self.lending.room_ever() && bytes.len() >= LENT_BYTES_MIN;
        let mut done = 0;
        while done < bytes.len() && self.link.has_room() {
            let rest = &bytes[done..];
            // The last bytes come sooner by a message.
            self.is_lending &= rest.len() > self.link.message_bytes();
            let count = if self.is_lending { self.lend(rest)? } else { self.say(Kind::Bytes, rest)? };
            if count == 0 {
                break;
            }
            done += count;
            self.is_lending |= is_long;
        }
        self.is_lending &= done < bytes.len();
        self.link.flush(&self.memory.slots.1)?;
        Ok(done)
    }

    /// Plans a message of the first of these bytes; how many.
    fn say(&mut self, kind: Kind, bytes: &[u8]) -> Result<usize, Broken> {
        let count = bytes.len().min(self.link.message_bytes());
        let slots = (&*self.memory.slots.0, &self.memory.slots.1);
        // SAFETY: what a reference promises.
        unsafe { self.link.plan(slots, kind, count, std::iter::once((bytes.as_ptr(), count)))? };
        Ok(count)
    }

    /// Puts the first of these bytes where the server reads them, and says so; how many.
    fn lend(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let most = self.lending.room().min(LENT_BYTES_MAX);
        let count = if bytes.len() <= most { bytes.len() } else { most / UNIT * UNIT };
        let Some((memory, _)) = &self.memory.lending else { return Ok(0) };
        let Some(at) = (if count > 0 { self.lending.claim(count) } else { None }) else { return Ok(0) };
        memory.write(at, &bytes[..count]);
        self.say(Kind::Lent, &(count as u32).to_le_bytes())?;
        Ok(count)
    }
}
