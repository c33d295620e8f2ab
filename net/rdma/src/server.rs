//! One connection of a server.
//!
//! What long answers consist of goes to the client's landing from where it lies, if that is registered, and long parts of requests
//! are read in the client's lending to where they are to stay: no byte of them is copied here. All else goes by messages.

mod lent;
mod write;

use crate::Broken;
use crate::link::{INLINE_BYTES_MAX, Link, Slots};
use crate::note::{Kind, UNIT};
use crate::setup::{self, Place, Refused};
use crate::window::Window;
use lent::Lent;
use torc_proto::native::pair::{PairEnd, Window as Told};
use torc_verbs::seam::{Access, PairOptions, QueuePair, Verbs};

/// Bytes of one WRITE, or READ: the next client's turn comes in between.
const ONE_SIDED_BYTES_MAX: usize = 256 << 10;

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

/// Makes a queue pair by which a client reads what it is given keys of, and nothing else is said.
///
/// # Errors
/// [`Refused`].
pub fn read_pair<V: Verbs>(
    (device, domain, place): (&V, &V::Domain, &Place),
    queue: &V::Queue,
    first: u32,
    client: &PairEnd,
) -> Result<(V::Pair, PairEnd), Refused> {
    setup::check(client)?;
    let options = PairOptions {
        send_queue: queue,
        receive_queue: queue,
        shared: None,
        sends: 1,
        receives: 1,
        inline_bytes: 0,
    };
    let pair = device.queue_pair(domain, &options)?;
    // It takes no message, so there is nothing to tell of receives but what makes it an end.
    let answer = PairEnd {
        mtu: place.common_mtu(client),
        receives: 1,
        receive_bytes: setup::MESSAGE_BYTES_MIN,
        ..place.end(pair.number(), first)
    };
    pair.initialize(place.port, Access::RemoteRead)?;
    place.join(&pair, &answer, client)?;
    Ok((pair, answer))
}

/// A server's end of one connection.
#[derive(Debug)]
pub struct ServerEnd<V: Verbs> {
    link: Link<V>,
    landing: (Window, Told),
    lending: (Window, Told),
    lent: Lent,
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
        pair.initialize(place.port, Access::Local)?;
        post_own(&pair)?;
        place.join(&pair, &answer, client)?;
        let theirs = (client.receives, client.receive_bytes);
        let window = |told: Told| (Window::new(told.bytes as usize), told);
        let lending_units = client.lending.bytes as usize / UNIT;
        let link = Link::new(pair, slots, theirs, common.receives).with_units_due(lending_units / 4);
        let (landing, lending) = (window(client.landing), window(client.lending));
        Ok((ServerEnd { link, landing, lending, lent: Lent::default() }, answer))
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

    /// Requests that were posted, ever.
    pub fn posted_ever(&self) -> u64 {
        self.link.sends().ever()
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
        let units = self.lent.end_reads(over.reads);
        self.link.owe_units(units);
        Ok(over)
    }

    /// To the error state: nothing that the client sends takes effect any more, and what is posted is flushed. Shared receives that
    /// messages had come into, or were coming into, are told of by completions; a device may forget those of a queue pair that is
    /// gone. So who shares receives takes what completes for a while before this is dropped, or has fewer of them from then on.
    pub fn fail(&self) {
        self.link.fail();
    }
}

#[cfg(test)]
impl<V: Verbs> ServerEnd<V> {
    pub(crate) fn link(&mut self) -> &mut Link<V> {
        &mut self.link
    }

    /// Units of the landing that are in use, and of the lending.
    pub(crate) fn used_units(&self) -> [usize; 2] {
        [self.landing.0.used_units(), self.lent.units]
    }
}
