//! The keys of a shard that clients keep copies of, and what is to be told of them.
//!
//! Fed by what the shard tells of every change. An entry lasts until its key changes, its time is over, or there is no room for it: each
//! time its clients are told, and it is gone. So what is forgotten was told before.

use super::news::News;
use super::{By, Writer};
use crate::worker::holds::Holder;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use torc_engine::changes::{Cause, Change, Listener};
use torc_engine::command::Millis;

/// What an entry takes beside its key, and for each client; bytes.
const ENTRY_BYTES: usize = 256;
const TRACKER_BYTES: usize = 16;
/// Places without an entry that the order may have, beside one for each entry.
const ORDER_SPARE: usize = 64;

/// A client that is told of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracker {
    pub(super) holder: Holder,
    /// Not of changes that it makes itself.
    pub(super) no_loop: bool,
}

#[derive(Debug)]
struct Item {
    key: Box<[u8]>,
    expiry: Option<Millis>,
    /// Its place in the order.
    stamp: u64,
    trackers: Vec<Tracker>,
}

impl Item {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.key.len() + self.trackers.len() * TRACKER_BYTES
    }
}

/// What one shard is to be told.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) news: Vec<u8>,
    /// Anything may have changed.
    pub(super) is_all: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By the hash of the item.
    items: HashMap<u64, Item>,
    /// Stamp and hash of each, from the oldest on; a place whose stamp is another is left over.
    order: VecDeque<(u64, u64)>,
    stamps: u64,
    /// When the time of a key is over.
    ends: BTreeSet<(Millis, u64)>,
    trackers: usize,
    bytes: usize,
    keys_max: usize,
    bytes_max: usize,
    /// Entries that were told of for want of room.
    pub(super) forced: u64,
    /// Clients that are gone, and how many places of the order may still have them.
    gone: HashSet<Holder>,
    gone_left: usize,
    /// Who makes the change that is told next.
    pub(super) writer: Option<Writer>,
    /// Shards whose clients are told by prefixes.
    pub(super) broadcasts: Vec<u16>,
    /// By shard.
    outs: Vec<Out>,
    has_news: bool,
}

impl Table {
    pub(super) fn new(shards: u16, keys_max: usize, bytes_max: usize) -> Table {
        let outs = (0..shards).map(|_| Out::default()).collect();
        Table { outs, keys_max, bytes_max, ..Table::default() }
    }

    /// A client reads a key, whose item has this hash and ends then.
    pub(super) fn add(&mut self, tracker: Tracker, hash: u64, key: &[u8], expiry: Option<Millis>) {
        // Two keys share a hash: the first one is told of.
        if self.items.get(&hash).is_some_and(|item| *item.key != *key) {
            self.tell(hash);
        }
        let item = match self.items.entry(hash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.stamps += 1;
                self.order.push_back((self.stamps, hash));
                let item = Item { key: key.into(), expiry: None, stamp: self.stamps, trackers: Vec::new() };
                self.bytes += item.bytes();
                entry.insert(item)
            }
        };
        if item.expiry != expiry {
            item.expiry.into_iter().for_each(|end| _ = self.ends.remove(&(end, hash)));
            expiry.into_iter().for_each(|end| _ = self.ends.insert((end, hash)));
            item.expiry = expiry;
        }
        match item.trackers.iter_mut().find(|known| known.holder == tracker.holder) {
            Some(known) => *known = tracker,
            None => {
                item.trackers.push(tracker);
                self.trackers += 1;
                self.bytes += TRACKER_BYTES;
            }
        }
        self.make_room();
    }

    /// Tells of the oldest entries while there are too many.
    fn make_room(&mut self) {
        while self.items.len() > self.keys_max || self.bytes > self.bytes_max {
            let Some((stamp, hash)) = self.order.pop_front() else { break };
            if self.items.get(&hash).is_some_and(|item| item.stamp == stamp) {
                self.forced += 1;
                self.tell_by_itself(hash);
            }
        }
        if self.order.len() > 2 * self.items.len() + ORDER_SPARE {
            let items = &self.items;
            self.order.retain(|(stamp, hash)| items.get(hash).is_some_and(|item| item.stamp == *stamp));
        }
    }

    fn take_out(&mut self, hash: u64) -> Option<Item> {
        let item = self.items.remove(&hash)?;
        item.expiry.into_iter().for_each(|end| _ = self.ends.remove(&(end, hash)));
        self.trackers -= item.trackers.len();
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Tells of a key, and forgets it.
    fn tell(&mut self, hash: u64) {
        let Some(item) = self.take_out(hash) else { return };
        for tracker in item.trackers {
            let by = match self.writer.filter(|writer| writer.holder == tracker.holder) {
                Some(_) if tracker.no_loop => continue,
                Some(writer) => By::Itself(writer.place),
                None => By::Others,
            };
            let Holder { shard, conn: to } = tracker.holder;
            self.add_news(shard, News::Changed { to, by, key: &item.key });
        }
    }

    /// The same for what no client does.
    fn tell_by_itself(&mut self, hash: u64) {
        let writer = self.writer.take();
        self.tell(hash);
        self.writer = writer;
    }

    fn add_news(&mut self, shard: u16, news: News<'_>) {
        let Some(out) = self.outs.get_mut(usize::from(shard)) else { return };
        self.has_news = true;
        news.append(&mut out.news);
        if out.news.len() > super::NEWS_BYTES_MAX {
            *out = Out { news: Vec::new(), is_all: true };
        }
    }

    /// Tells of the keys whose time is over.
    pub(super) fn expire(&mut self, now: Millis) {
        while let Some((end, hash)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, hash));
            self.tell_by_itself(hash);
        }
    }

    /// When the time of the next key is over.
    pub(super) fn next_end(&self) -> Option<Millis> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Every key may have changed.
    fn tell_all(&mut self) {
        for out in &mut self.outs {
            *out = Out { news: Vec::new(), is_all: true };
        }
        self.items = HashMap::new();
        self.order = VecDeque::new();
        self.ends = BTreeSet::new();
        (self.trackers, self.bytes, self.has_news) = (0, 0, true);
    }

    /// Takes what is to be told, by shard.
    pub(super) fn take_news(&mut self) -> Option<Vec<Out>> {
        if !std::mem::take(&mut self.has_news) {
            return None;
        }
        let empty = self.outs.iter().map(|_| Out::default()).collect();
        Some(std::mem::replace(&mut self.outs, empty))
    }

    /// A client is gone.
    pub(super) fn leave(&mut self, holder: Holder) {
        self.gone.insert(holder);
        self.gone_left = self.order.len();
    }

    /// Takes out clients that are gone, going through so many places. Whether there may be more.
    pub(super) fn go_on_leaving(&mut self, places: usize) -> bool {
        for _ in 0..places.min(self.gone_left) {
            self.gone_left -= 1;
            let Some((stamp, hash)) = self.order.pop_front() else { break };
            let Some(item) = self.items.get_mut(&hash).filter(|item| item.stamp == stamp) else { continue };
            let before = item.trackers.len();
            item.trackers.retain(|tracker| !self.gone.contains(&tracker.holder));
            let left = before - item.trackers.len();
            let is_empty = item.trackers.is_empty();
            self.trackers -= left;
            self.bytes -= left * TRACKER_BYTES;
            if is_empty {
                self.take_out(hash);
            } else {
                self.order.push_back((stamp, hash));
            }
        }
        if self.gone_left == 0 {
            self.gone.clear();
        }
        self.gone_left > 0
    }

    /// Keys, and clients counted for each.
    pub(super) fn figures(&self) -> (usize, usize) {
        (self.items.len(), self.trackers)
    }

    /// Memory that it takes, bytes.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes + self.outs.iter().map(|out| out.news.capacity()).sum::<usize>()
    }
}

impl Listener for Table {
    fn changed(&mut self, change: &Change<'_>) {
        let by_itself = match change.cause {
            Cause::Moved => return,
            Cause::Flushed | Cause::Spaces => return self.tell_all(),
            Cause::Written | Cause::Deleted => false,
            Cause::Expired | Cause::Evicted => true,
        };
        let writer = if by_itself { self.writer.take() } else { self.writer };
        if self.items.contains_key(&change.hash) {
            self.tell(change.hash);
        }
        // Of what was not in DRAM nobody knows the key.
        if !self.broadcasts.is_empty() && change.item.is_some() {
            let by = if by_itself { None } else { writer.map(|writer| writer.holder) };
            for shard in self.broadcasts.clone() {
                change.key.with_copy(|key| self.add_news(shard, News::Broadcast { by, key }));
            }
        }
        self.writer = writer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ConnId;

    fn tracker(index: u32) -> Tracker {
        let conn = ConnId { index, generation: 0 };
        Tracker { holder: Holder { shard: 0, conn }, no_loop: index == 9 }
    }

    fn told(table: &mut Table) -> Vec<(u32, String)> {
        let outs = table.take_news().unwrap_or_default();
        let of = |news: News<'_>| match news {
            News::Changed { to, key, .. } => (to.index, String::from_utf8_lossy(key).into_owned()),
            other => panic!("{other:?}"),
        };
        outs.iter().flat_map(|out| News::each(&out.news).map(of).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_key_is_told_once_to_all_that_have_read_it_but_to_who_has_changed_it() {
        let mut table = Table::new(1, 100, 1 << 20);
        for index in [1, 2, 9, 1] {
            table.add(tracker(index), 7, b"k", None);
        }
        table.add(tracker(1), 8, b"other", None);
        assert_eq!(table.figures(), (2, 4));
        table.writer = Some(Writer { holder: tracker(9).holder, place: None });
        table.tell(7);
        table.tell(7);
        assert_eq!(told(&mut table), [(1, "k".into()), (2, "k".into())]);
        assert_eq!((table.figures(), told(&mut table).len()), ((1, 1), 0));
        // Its own, when its time is over.
        table.add(tracker(9), 7, b"k", Some(50));
        table.expire(49);
        assert_eq!((table.next_end(), told(&mut table).len()), (Some(50), 0));
        table.expire(50);
        assert_eq!((table.next_end(), told(&mut table)), (None, vec![(9, "k".into())]));
    }

    #[test]
    fn what_has_no_room_is_told_and_so_is_a_key_whose_hash_another_has() {
        let mut table = Table::new(1, 3, 1 << 20);
        for hash in 0..5 {
            table.add(tracker(1), hash, format!("k{hash}").as_bytes(), None);
        }
        assert_eq!((table.figures(), table.forced), ((3, 3), 2));
        assert_eq!(told(&mut table), [(1, "k0".into()), (1, "k1".into())]);
        table.add(tracker(2), 4, b"twin", None);
        assert_eq!(told(&mut table), [(1, "k4".into())]);
        let mut small = Table::new(1, 100, 3 * ENTRY_BYTES);
        for hash in 0..5 {
            small.add(tracker(1), hash, b"key", None);
        }
        assert_eq!((small.figures().0, small.forced), (2, 3));
        assert!(small.bytes_held() < 4 * ENTRY_BYTES);
    }

    #[test]
    fn who_is_gone_is_taken_out_bit_by_bit_and_the_order_stays_short() {
        let mut table = Table::new(1, 1000, 1 << 20);
        for hash in 0..100 {
            table.add(tracker(1), hash, b"k", Some(9));
            if hash % 2 == 0 {
                table.add(tracker(2), hash, b"k", Some(9));
            }
        }
        table.leave(tracker(1).holder);
        let mut steps = 1;
        while table.go_on_leaving(30) {
            steps += 1;
        }
        assert_eq!((steps, table.figures()), (4, (50, 50)));
        table.leave(tracker(2).holder);
        while table.go_on_leaving(30) {}
        assert_eq!((table.figures(), table.bytes, table.ends.len()), ((0, 0), 0, 0));
        for _ in 0..1000 {
            table.add(tracker(1), 5, b"k", None);
            table.tell(5);
        }
        assert!(table.order.len() <= 2 * ORDER_SPARE, "{}", table.order.len());
    }
}
