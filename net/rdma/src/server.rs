//! One connection of a server.
//!
//! What long answers consist of goes to the client's landing from where it lies, if that is registered, and long parts of requests
//! are read in the client's lending to where they are to stay: no byte of them is copied here. All else goes by messages.

use crate::Broken;
use crate::link::{INLINE_BYTES_MAX, Link, OneSided, Slots, remote};
use crate::note::{Kind, UNIT};
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
    /// What is being read of the lending: where its next byte lies, and how many are left.
    lent: (usize, usize),
    /// Units that are lent, and those of them whose READs have begun.
    lent_units: usize,
    read_units: usize,
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
            receives: u32::from(common.receives) + u32::from(crate::SPARE_RECEIVES),
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
        Ok((ServerEnd { link, landing, lending, lent: (0, 0), lent_units: 0, read_units: 0 }, answer))
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
        self.link.sends().writes()
    }

    /// Pings that the client has not answered.
    pub fn pings_out(&self) -> u8 {
        self.link.pings()
    }

    /// Whether the device has none of our bytes to write or to fill, but for messages. When the connection is broken it may never
    /// be so, as a device may refuse requests or lose completions: then only the end of the queue pair, when this is dropped,
    /// gives memory back.
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
        let (from, left) = self.lent;
        let count = len.min(left).min(ONE_SIDED_BYTES_MAX);
        if count == 0 || !self.link.has_room_beside() {
            return Ok(0);
        }
        let piece = Piece { region: to, at, len: count };
        let far = remote(self.lending.1, from);
        self.link.post(region, Some(OneSided { piece, far, writes: false }))?;
        self.lent = (from + count, left - count);
        Ok(count)
    }

    /// Bytes of what was lent that no READ has begun with.
    pub fn lent_left(&self) -> usize {
        self.lent.1
    }

    /// READs are over. When none is under way and nothing is left to read, the client can use the room again.
    fn has_read(&mut self) {
        if self.link.sends().reads() == 0 && self.lent.1 == 0 {
            self.lent_units -= self.read_units;
            self.link.owe_units(take(&mut self.read_units));
        }
    }

    /// Begins to read what was lent, when all READs of what was before it have begun; bytes as [`Heard::Lent`] said.
    ///
    /// # Errors
    /// There cannot be so much at that place of the lending.
    pub fn begin_lent(&mut self, len: usize) -> Result<(), Broken> {
        debug_assert_eq!(self.lent.1, 0, "one part is read after the other");
        let at = self.lending.0.claim(len).ok_or(Broken::Room)?;
        // Only its place is wanted of the window: how much of it is in use was looked at when the part was told of.
        let is_free = self.lending.0.give_back(units(len));
        debug_assert!(is_free);
        self.lent = (at, len);
        self.read_units += units(len);
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
        let heard = self.link.noted(immediate, len as usize)?;
        if !self.landing.0.give_back(heard.units) {
            return Err(Broken::Room);
        }
        match heard.kind {
            Kind::Bytes => Ok(Heard::Bytes),
            Kind::Lent if len == 4 => self.lent(u32::from_le_bytes(bytes()) as usize),
            Kind::Return | Kind::Ping | Kind::Pong => Ok(Heard::Nothing),
            Kind::Lent | Kind::Landed => Err(Broken::Message),
        }
    }

    fn lent(&mut self, len: usize) -> Result<Heard, Broken> {
        self.lent_units += units(len);
        match len {
            0 => Err(Broken::Message),
            _ if self.lent_units > self.lending.0.units() => Err(Broken::Room),
            _ => Ok(Heard::Lent(len)),
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

    /// A request of ours is over, and with it all before it. Their numbers are below 2 to the power of 63; if one has failed the
    /// connection is broken, and nobody knows what of those before it was done.
    ///
    /// # Errors
    /// The device tells of one that was not posted.
    pub fn complete(&mut self, id: u64) -> Result<Over, Broken> {
        let (writes, reads) = (self.link.sends().writes(), self.link.sends().reads());
        self.link.complete(id)?;
        let sends = self.link.sends();
        let over = Over { writes: writes - sends.writes(), reads: reads - sends.reads() };
        if over.reads > 0 {
            self.has_read();
        }
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
