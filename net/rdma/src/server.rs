//! One connection of a server.
//!
//! What long answers consist of goes to the client's landing from where it lies, if that is registered, and long parts of requests
//! are read in the client's lending to where they are to stay: no byte of them is copied here. All else goes by messages.

use crate::Broken;
use crate::link::{INLINE_BYTES_MAX, Link, OneSided, Slots, remote};
use crate::note::{Kind, UNIT};
use crate::sends::Posted;
use crate::setup::{self, Place, Refused};
use crate::window::{Window, units};
use std::mem::take;
use torc_proto::native::pair::{PairEnd, Window as Told};
use torc_verbs::memory::Buffer;
use torc_verbs::seam::{Access, PairOptions, QueuePair, Verbs};
use torc_verbs::work::Piece;

/// Shorter parts are copied into messages.
const LANDED_BYTES_MIN: usize = 4 << 10;
/// Bytes of one WRITE, or READ: the next client's turn comes in between.
const ONE_SIDED_BYTES_MAX: usize = 256 << 10;
/// Slices that are gathered into one message.
const SLICES_MAX: usize = 16;

/// What a shard's connections have in common.
#[derive(Debug)]
pub struct Common<'c, V: Verbs> {
    pub device: &'c V,
    pub domain: &'c V::Domain,
    pub place: &'c Place,
    /// Where sends and receives complete.
    pub queue: &'c V::Queue,
    /// Where receives are posted; `None`: each connection has its own.
    pub shared: Option<&'c V::Receives>,
    /// Messages of a client that are taken before credits are given back, and their bytes.
    pub receives: u16,
    pub receive_bytes: u32,
    pub shard: u16,
}

/// What a completion of a connection's own request, or a message, comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The message's bytes are the next of the stream.
    Bytes,
    /// The next bytes of the stream, so many, are to be [read](ServerEnd::read).
    Lent(usize),
    /// Nothing for the stream; the message's receive can be posted again at once.
    Nothing,
}

/// What is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Over {
    /// WRITEs: their bytes are not needed any more.
    pub writes: usize,
    /// READs: their bytes have come.
    pub reads: usize,
}

/// A server's end of one connection.
#[derive(Debug)]
pub struct ServerEnd<V: Verbs> {
    link: Link<V>,
    landing: (Window, Told),
    lending: (Window, Told),
    /// What is being read of the lending: where it begins, how much is left, and of how much.
    lent: (usize, usize, usize),
    writes_out: usize,
}

impl<V: Verbs> ServerEnd<V> {
    /// Makes a queue pair for a client, and says what the client is to be told. Its receives, [`Common::receives`] and
    /// [`crate::SPARE_RECEIVES`], are the caller's to post; with none shared, before this by `post_own`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(
        common: &Common<'_, V>,
        slots: &Slots,
        first: u32,
        client: &PairEnd,
        post_own: impl FnOnce(&V::Pair) -> Result<(), Refused>,
    ) -> Result<(ServerEnd<V>, PairEnd), Refused> {
        setup::check(client)?;
        let options = PairOptions {
            send_queue: common.queue,
            receive_queue: common.queue,
            shared: common.shared,
            sends: slots.requests(),
            receives: u32::from(common.receives + crate::SPARE_RECEIVES),
            inline_bytes: INLINE_BYTES_MAX as u32,
        };
        let pair = common.device.queue_pair(common.domain, &options)?;
        let place = common.place;
        let answer = PairEnd {
            mtu: place.common_mtu(client),
            receives: common.receives,
            receive_bytes: common.receive_bytes,
            shard: common.shard,
            ..place.end(pair.number(), first)
        };
        pair.initialize(place.port, Access::RemoteRead)?;
        post_own(&pair)?;
        place.join(&pair, &answer, client)?;
        let theirs = (client.receives, client.receive_bytes);
        let window = |told: Told| (Window::new(told.bytes as usize), told);
        let lending_units = client.lending.bytes as usize / UNIT;
        let link = Link::new(pair, slots, theirs, common.receives).with_units_due(lending_units / 4);
        let (landing, lending) = (window(client.landing), window(client.lending));
        Ok((ServerEnd { link, landing, lending, lent: (0, 0, 0), writes_out: 0 }, answer))
    }

    /// Of the queue pair.
    pub fn number(&self) -> u32 {
        self.link.number()
    }

    /// For receives of its own.
    pub fn pair(&self) -> &V::Pair {
        self.link.pair()
    }

    /// Requests that were posted and are not known to be over.
    pub fn posted(&self) -> usize {
        self.link.sends().count()
    }

    /// WRITEs that are not over.
    pub fn writes_out(&self) -> usize {
        self.writes_out
    }

    /// Whether the device has none of our bytes to write or to fill.
    pub fn is_quiet(&self) -> bool {
        self.link.sends().is_quiet()
    }

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
            self.writes_out += 1;
            done += count;
        }
        Ok(done)
    }

    /// Reads the next bytes of what was [lent](Heard::Lent), at most `len`; says how many, 0 if that cannot be now.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn read(
        &mut self,
        region: &V::Region,
        (to, at): (&V::Region, usize),
        len: usize,
    ) -> Result<usize, Broken> {
        let (from, left, _) = self.lent;
        let count = len.min(left).min(ONE_SIDED_BYTES_MAX);
        if count == 0 || !self.link.has_room_beside() {
            return Ok(0);
        }
        let piece = Piece { region: to, at, len: count };
        let far = remote(self.lending.1, from);
        self.link.post(region, Some(OneSided { piece, far, writes: false }))?;
        (self.lent.0, self.lent.1) = (from + count, left - count);
        Ok(count)
    }

    /// A READ of what was lent is over. True: all of it was read, and the client can use the room again.
    pub fn has_read(&mut self) -> bool {
        let (_, left, whole) = self.lent;
        let is_all = left == 0 && whole > 0;
        if is_all {
            self.link.owe_units(units(whole));
            self.lent = (0, 0, 0);
        }
        is_all
    }

    /// Begins to read what was lent, when all before it was taken; bytes as [`Heard::Lent`] said.
    ///
    /// # Errors
    /// There cannot be so much in the lending.
    pub fn begin_lent(&mut self, len: usize) -> Result<(), Broken> {
        let at = self.lending.0.claim(len).ok_or(Broken::Room)?;
        // It is read before anything else is, and what is read can be filled anew: one part is in use at a time.
        let is_free = self.lending.0.give_back(units(len));
        debug_assert!(is_free);
        self.lent = (at, len, len);
        Ok(())
    }

    /// A message has come; `bytes` reads the first four of them.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn heard(
        &mut self,
        immediate: Option<u32>,
        len: u32,
        bytes: impl FnOnce() -> [u8; 4],
    ) -> Result<Heard, Broken> {
        let heard = self.link.noted(immediate)?;
        if !self.landing.0.give_back(heard.units) {
            return Err(Broken::Room);
        }
        match heard.kind {
            Kind::Bytes if len > 0 => Ok(Heard::Bytes),
            Kind::Lent if len == 4 => match u32::from_le_bytes(bytes()) as usize {
                0 => Err(Broken::Message),
                count => Ok(Heard::Lent(count)),
            },
            Kind::Return | Kind::Ping => Ok(Heard::Nothing),
            Kind::Bytes | Kind::Lent | Kind::Landed => Err(Broken::Message),
        }
    }

    /// A message that took a credit is worked off, and its receive posted again.
    pub fn owe(&mut self) {
        self.link.owe();
    }

    /// Gives back what is due, and answers pings.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn settle(&mut self, region: &V::Region) -> Result<(), Broken> {
        self.link.settle(region)
    }

    /// Asks whether the client is there.
    ///
    /// # Errors
    /// The connection cannot go on.
    pub fn ping(&mut self, region: &V::Region) -> Result<(), Broken> {
        self.link.ping(region)
    }

    /// A request of ours is over, and with it all before it.
    ///
    /// # Errors
    /// The device tells of one that was not posted.
    pub fn complete(&mut self, id: u64) -> Result<Over, Broken> {
        let mut over = Over::default();
        self.link.complete(id, |what| match what {
            Posted::Write => over.writes += 1,
            Posted::Read => over.reads += 1,
            Posted::Message { .. } => {}
        })?;
        self.writes_out -= over.writes;
        Ok(over)
    }

    /// To the error state: nothing that the client sends takes effect any more, and what is posted is flushed.
    pub fn fail(&self) {
        self.link.fail();
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
