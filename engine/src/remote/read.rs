//! One read of a shard on another machine, round by round: the steps that `mod.rs` draws.

use super::head::Closing;
use super::image::{ImageArena, ImageTable};
use super::list::{BUCKETS_AHEAD, BUCKETS_MAX, Landing, ReadList};
use super::places::Known;
use super::shard::RemoteShard;
use crate::command::{Millis, Read};
use crate::index::{BUCKET_BYTES, Slot, TableMemory, Unsure, find, reach_of};
use crate::reader::{Doubt, ITEM_BYTES_MAX, Look, Place, RECOVERING, ReadRoom};
use crate::segments::{NotCopied, copy_item};
use crate::spaces::mixed;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
use crate::steps::{Fault, has};

/// Rounds of a read, at most.
pub const ROUNDS_MAX: u8 = 12;
/// Checks of a read that may fail.
const FAILURES_MAX: u8 = 2;
/// Lines of an item beyond which a slot does not tell how many there are.
const LINES_MAX: usize = 15;
const LINE_BYTES: usize = 64;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'k> {
    pub database: u16,
    pub key: &'k [u8],
    /// The key's: [`RemoteShard::hash`].
    pub hash: u64,
    /// Not a [plain](Read::is_plain) one is for the owner.
    pub read: &'k Read,
}

/// When a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// By a clock of the reader's that does not step, milliseconds.
    pub now: u64,
    /// When the lease ends that was given last, by the same clock: counted from before it was asked for. The read keeps to it, also if
    /// another one is given meanwhile.
    pub lease_end: u64,
    /// How long the server's clock has run, at the most, nanoseconds: by what the server has told of it, the time since then, and how far
    /// the rates of the two clocks may be apart. Looked at after whatever this read comes after.
    pub passed_max: u64,
}

/// What comes next.
#[derive(Debug)]
pub enum Step<'r> {
    /// All of it is to be read. When the last of it has completed, [`RemoteRead::landed`] goes on.
    Read(ReadList),
    Done(Result<Look<'r>, Doubt>),
}

/// A read under way. If it ends in an error of its queue pair, or in a READ that nobody may post, it is dropped.
#[derive(Debug)]
pub struct RemoteRead {
    stage: Stage,
    times: Times,
    /// Of the item, in its space; and the sequence of the table that says so.
    hash: u64,
    space: u16,
    spaces: u64,
    /// The sequence of the geometry that the home is of.
    growth: u64,
    home: usize,
    /// Buckets that have landed, and that should.
    landed: usize,
    wanted: usize,
    /// Slots with the tag that were other keys'.
    passed_over: usize,
    rounds: u8,
    failed: u8,
}

/// What was read last.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Heads,
    Chunk(usize),
    Buckets(usize),
    Item(Slot),
    /// After nothing was found.
    Closing,
    Again(Known),
}

/// Why a read does not go on as it did.
enum Stop {
    /// A check has failed, that may hold next time.
    Failed(Doubt),
    Ask(Doubt),
}

impl From<Doubt> for Stop {
    fn from(doubt: Doubt) -> Stop {
        Stop::Ask(doubt)
    }
}

impl RemoteRead {
    /// Begins to look for a key.
    ///
    /// # Errors
    /// [`Doubt`]: its owner has to be asked.
    pub fn begin(
        shard: &mut RemoteShard,
        query: &Query<'_>,
        times: Times,
    ) -> Result<(RemoteRead, ReadList), Doubt> {
        let mut read = RemoteRead {
            stage: Stage::Heads,
            times,
            hash: 0,
            space: 0,
            spaces: 0,
            growth: 0,
            home: 0,
            landed: 0,
            wanted: 0,
            passed_over: 0,
            rounds: 0,
            failed: 0,
        };
        let is_plain = if query.read.is_plain() { Ok(()) } else { Err(Doubt::Lease) };
        let list = is_plain.and_then(|()| read.start(shard, query, times.now, true));
        list.map(|list| (read, list)).inspect_err(|doubt| shard.count_doubt(*doubt))
    }

    /// Goes on when all has landed, and its completion was seen, at `now` ([`Times::now`]). `landing` is the one memory where all READs of
    /// this look land, [`LANDING_WORDS`](super::LANDING_WORDS) long: whoever saw the completion sees what it wrote.
    pub fn landed<'r>(
        &mut self,
        shard: &mut RemoteShard,
        query: &Query<'_>,
        landing: &[AtomicU64],
        now: u64,
        room: &'r mut ReadRoom,
    ) -> Step<'r> {
        self.rounds += 1;
        let step = match Landing::of(landing) {
            Some(_) if self.rounds >= ROUNDS_MAX => Err(Stop::Ask(Doubt::Index)),
            Some(landing) => self.next(shard, query, landing, now, room),
            None => Err(Stop::Ask(Doubt::Unregistered)),
        };
        let step = step.or_else(|stop| self.stop(shard, query, now, stop).map(Step::Read));
        let step = step.unwrap_or_else(|doubt| Step::Done(Err(doubt)));
        if let Step::Done(look) = &step {
            shard.count(look);
        }
        step
    }

    /// The mistake that the end of a later lease is taken for that of this one.
    #[cfg(test)]
    pub(crate) fn take_lease(&mut self, lease_end: u64) {
        self.times.lease_end = lease_end;
    }

    /// Tries once more, or not.
    fn stop(
        &mut self,
        shard: &mut RemoteShard,
        query: &Query<'_>,
        now: u64,
        stop: Stop,
    ) -> Result<ReadList, Doubt> {
        let doubt = match stop {
            Stop::Failed(doubt) => doubt,
            Stop::Ask(doubt) => return Err(doubt),
        };
        self.failed += 1;
        shard.counts.failed += 1;
        if self.failed == FAILURES_MAX { Err(doubt) } else { self.start(shard, query, now, false) }
    }

    fn next<'r>(
        &mut self,
        shard: &mut RemoteShard,
        query: &Query<'_>,
        landing: Landing<'_>,
        now: u64,
        room: &'r mut ReadRoom,
    ) -> Result<Step<'r>, Stop> {
        match self.stage {
            Stage::Heads => {
                let closing = Closing::of(landing.head(1));
                is_of_epoch(shard, &closing)?;
                shard.counts.heads += 1;
                shard.head.take([0, 1, 2].map(|number| landing.head(number))).map_err(Stop::Failed)?;
                Ok(Step::Read(self.start(shard, query, now, self.failed == 0)?))
            }
            Stage::Chunk(chunk) => {
                // R1a of `reader.rs`: the geometry was read before.
                let frame = landing.word().load(Ordering::Relaxed).checked_sub(1);
                let frame = frame.filter(|frame| *frame < shard.layout.frames_max as u64);
                shard.chunks.learn(chunk, frame.ok_or(Doubt::Index)? as u32);
                Ok(Step::Read(self.buckets(shard)?))
            }
            Stage::Buckets(count) => {
                self.landed += count;
                Ok(Step::Read(self.scan(shard, landing)?))
            }
            Stage::Item(slot) => self.item(shard, query, landing, now, slot, room),
            Stage::Closing => {
                self.miss(shard, &Closing::of(landing.head(0)))?;
                Ok(Step::Done(Ok(Look::Miss)))
            }
            Stage::Again(known) => match self.again(shard, query, landing, now, &known, room)? {
                Some(look) => Ok(Step::Done(Ok(look))),
                None => {
                    shard.places.forget(self.hash);
                    Ok(Step::Read(self.start(shard, query, now, false)?))
                }
            },
        }
    }

    /// From F1 on, or from F2 if the head is known; `again`: where it was found before.
    fn start(
        &mut self,
        shard: &mut RemoteShard,
        query: &Query<'_>,
        now: u64,
        again: bool,
    ) -> Result<ReadList, Doubt> {
        if !shard.head.is_known() {
            self.stage = Stage::Heads;
            return Ok(ReadList::heads());
        }
        (self.space, self.spaces) = shard.head.spaces.of(query.database).ok_or(Doubt::Flush)?;
        self.hash = mixed(query.hash, self.space);
        self.growth = shard.head.geometry.sequence();
        if again && let Some(known) = shard.places.find(self.hash, self.growth, now) {
            self.stage = Stage::Again(known);
            let Known { place, bytes, .. } = known;
            return ReadList::item(&shard.layout, place.location, bytes.into()).ok_or(Doubt::Gone);
        }
        if now >= self.times.lease_end {
            return Err(Doubt::Late);
        }
        self.home = shard.head.geometry.home(self.hash).ok_or(Doubt::Index)?;
        (self.landed, self.wanted, self.passed_over) = (0, BUCKETS_AHEAD, 0);
        self.buckets(shard)
    }

    /// F2: those that are wanted and have not landed, as far as they lie in one chunk; or where the chunk lies.
    fn buckets(&mut self, shard: &RemoteShard) -> Result<ReadList, Doubt> {
        let layout = &shard.layout;
        let at = self.home.checked_add(self.landed).and_then(|number| number.checked_mul(BUCKET_BYTES));
        let at = at.ok_or(Doubt::Index)?;
        let (chunk, within) = (at >> layout.frame_shift, at & (layout.frame_bytes() - 1));
        if chunk >= layout.chunks_max || self.wanted > BUCKETS_MAX {
            return Err(Doubt::Index);
        }
        let Some(frame) = shard.chunks.frame(chunk) else {
            self.stage = Stage::Chunk(chunk);
            return Ok(ReadList::chunk(layout, chunk));
        };
        let count = (self.wanted - self.landed).min((layout.frame_bytes() - within) / BUCKET_BYTES);
        self.stage = Stage::Buckets(count);
        let place = layout.head_bytes + ((frame as usize) << layout.frame_shift) + within;
        Ok(ReadList::buckets(place as u64, self.landed, count))
    }

    /// F3: the first slot that was not passed over leads to an item; without one more buckets are read, or it may be a miss.
    fn scan(&mut self, shard: &mut RemoteShard, landing: Landing<'_>) -> Result<ReadList, Stop> {
        if shard.head.geometry.sequence() != self.growth {
            // Another read has read the head anew.
            return Err(Stop::Failed(Doubt::Index));
        }
        let table = ImageTable { landing, home: self.home, count: self.landed };
        let mut left = self.passed_over;
        let found = find(&table, &shard.head.geometry, self.hash, |_, slot| {
            let is_next = left == 0;
            left = left.saturating_sub(1);
            is_next.then_some(slot)
        });
        match found {
            Ok(Some(slot)) => {
                self.stage = Stage::Item(slot);
                let list = ReadList::item(&shard.layout, slot.location(), bytes_of(slot));
                list.ok_or(Stop::Ask(Doubt::Gone))
            }
            Ok(None) => {
                self.stage = Stage::Closing;
                Ok(ReadList::closing())
            }
            Err(Unsure::Elsewhere) => {
                shard.count_elsewhere();
                Err(Stop::Ask(Doubt::Elsewhere))
            }
            Err(Unsure::Moved) => {
                let reach = table.bucket(self.home).map_or(usize::MAX - 1, reach_of);
                if reach < self.landed {
                    return Err(Stop::Ask(Doubt::Index));
                }
                self.wanted = reach + 1;
                Ok(self.buckets(shard)?)
            }
        }
    }

    /// F6 and F7, after F4 and F5.
    fn item<'r>(
        &mut self,
        shard: &mut RemoteShard,
        query: &Query<'_>,
        landing: Landing<'_>,
        now: u64,
        slot: Slot,
        room: &'r mut ReadRoom,
    ) -> Result<Step<'r>, Stop> {
        let closing = Closing::of(landing.head(0));
        self.check(shard, &closing)?;
        let is_late = now >= self.times.lease_end;
        #[cfg(test)]
        let is_late = is_late && !has(Fault::FarLease);
        if is_late {
            return Err(Stop::Ask(Doubt::Late));
        }
        let words = &mut *room.0;
        let arena = arena_of(landing, slot.location(), bytes_of(slot));
        let (is_it, bytes) = match copy_item(&arena, slot.location(), shard.layout.frame_shift, words) {
            Ok(item) => (item.space() == self.space && item.key() == *query.key, item.item_len()),
            Err(NotCopied::Gone) => return Err(Stop::Failed(Doubt::Gone)),
            Err(NotCopied::Long) => return Err(Stop::Ask(Doubt::Long)),
        };
        #[cfg(test)]
        let is_it = is_it || has(Fault::FarKey);
        if !is_it {
            self.passed_over += 1;
            return Ok(Step::Read(self.scan(shard, landing)?));
        }
        let time = self.time(shard, &closing)?;
        let place = Place {
            hash: self.hash,
            location: slot.location(),
            generation: 0,
            version: 0,
            growth: self.growth,
        };
        let is_cold = slot.frequency() < shard.layout.frequency_max;
        match shard.head.flushes.judge(place, is_cold, query.read, time, words) {
            Ok(Look::Expired) => Err(Stop::Ask(Doubt::Expiry)),
            Ok(look) => {
                if let Look::Hit { place, .. } = &look
                    && closing.geometry == self.growth
                {
                    shard.places.learn(Known::new(*place, bytes, self.times.lease_end));
                }
                Ok(Step::Done(Ok(look)))
            }
            Err(Doubt::Gone) => Err(Stop::Failed(Doubt::Gone)),
            Err(doubt) => Err(Stop::Ask(doubt)),
        }
    }

    /// The rest of R9.
    fn miss(&self, shard: &mut RemoteShard, closing: &Closing) -> Result<(), Stop> {
        self.check(shard, closing)?;
        let geometry_stays = closing.geometry == self.growth;
        #[cfg(test)]
        let geometry_stays = geometry_stays || has(Fault::FarGeometry);
        if !geometry_stays {
            shard.head.forget();
            return Err(Stop::Failed(Doubt::Index));
        }
        // An owner that does not know all of its items says so by its next flush.
        self.time(shard, closing).map(drop)
    }

    /// Looks at the item of a remembered place; `None`: it has to be looked up.
    fn again<'r>(
        &self,
        shard: &mut RemoteShard,
        query: &Query<'_>,
        landing: Landing<'_>,
        now: u64,
        known: &Known,
        room: &'r mut ReadRoom,
    ) -> Result<Option<Look<'r>>, Stop> {
        let closing = Closing::of(landing.head(0));
        is_of_epoch(shard, &closing)?;
        if closing.geometry != self.growth {
            shard.head.forget();
        }
        let growth_stays = closing.geometry == self.growth;
        if now >= known.until() || !growth_stays {
            return Ok(None);
        }
        let Ok(time) = self.check(shard, &closing).and_then(|()| self.time(shard, &closing)) else {
            return Ok(None);
        };
        let words = &mut *room.0;
        let arena = arena_of(landing, known.place.location, known.bytes.into());
        let item = copy_item(&arena, known.place.location, shard.layout.frame_shift, words);
        if !item.is_ok_and(|item| known.place.is_of(&item, self.space, query.key)) {
            return Ok(None);
        }
        let is_told = shard.places.count(self.hash, self.times.lease_end);
        let look = shard.head.flushes.judge(known.place, is_told, query.read, time, words);
        let hit = look.ok().filter(|look| matches!(look, Look::Hit { .. }));
        shard.counts.remembered += u64::from(hit.is_some());
        Ok(hit)
    }

    /// What has to hold whatever was found: the epoch, and S4 of `spaces.rs`.
    fn check(&self, shard: &mut RemoteShard, closing: &Closing) -> Result<(), Stop> {
        is_of_epoch(shard, closing)?;
        let spaces_stay = closing.spaces == self.spaces;
        #[cfg(test)]
        let spaces_stay = spaces_stay || has(Fault::FarSpaces);
        if !spaces_stay {
            shard.head.forget();
            return Err(Stop::Failed(Doubt::Flush));
        }
        Ok(())
    }

    /// The server's time when the read began, at the latest; if no flush is due by then, and none has come since the head was read.
    fn time(&self, shard: &mut RemoteShard, closing: &Closing) -> Result<Millis, Stop> {
        let flushes_stay = closing.flushes == shard.head.flushes.sequence();
        #[cfg(test)]
        let flushes_stay = flushes_stay || has(Fault::FarFlushes);
        if !flushes_stay {
            shard.head.forget();
            return Err(Stop::Failed(Doubt::Flush));
        }
        let began = closing.began;
        #[cfg(test)]
        let began = if has(Fault::FarClock) { shard.head.began() } else { began };
        let now = began.saturating_add(self.times.passed_max) / 1_000_000;
        let flush_at = shard.head.flushes.flush_at();
        let is_due = now >= flush_at;
        #[cfg(test)]
        let is_due = is_due && !has(Fault::FarFlushDue);
        match is_due {
            false => Ok(now),
            true if flush_at == RECOVERING => Err(Stop::Ask(Doubt::Recovery)),
            true => Err(Stop::Ask(Doubt::Flush)),
        }
    }
}

fn is_of_epoch(shard: &RemoteShard, closing: &Closing) -> Result<(), Doubt> {
    let is_same = closing.epoch == shard.epoch;
    #[cfg(test)]
    let is_same = is_same || has(Fault::FarEpoch);
    if is_same { Ok(()) } else { Err(Doubt::Epoch) }
}

/// How much of an item is to be read, bytes.
fn bytes_of(slot: Slot) -> usize {
    match slot.lines() {
        LINES_MAX.. => ITEM_BYTES_MAX,
        lines => lines.max(1) * LINE_BYTES,
    }
}

/// What has landed of the bytes that were to be read from an item on. Where its segment ends before, the item does, too.
fn arena_of(landing: Landing<'_>, at: u64, bytes: usize) -> ImageArena<'_> {
    ImageArena { landing, at, words: bytes.min(ITEM_BYTES_MAX).div_ceil(size_of::<u64>()) }
}
