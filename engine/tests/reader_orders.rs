//! The memory orders of reading a shard without asking it, in miniature: all interleavings, and all stale values that weak
//! memory may show.
//!
//! Each model has the steps of `src/reader.rs` by their names, R1 to R9 of the reader and O1 to O8 of the owner, on as few words
//! as show them. Each must hold as it is, and break when any one of its orders, fences or checks is left out. Memory of the shard
//! itself is mapped, and loom cannot look into it; so whoever changes an order there changes it here, too.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use std::ops::Deref;

/// What is left out, for a test that wants to see it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// O1: the geometry is odd, and then changes.
    GeometryOddFirst,
    /// O1: what has moved comes before the even sequence.
    GeometryEvenLast,
    /// R1: the sequence comes before the geometry.
    GeometryFirst,
    /// R1: the geometry is looked at twice, the words between.
    GeometryTwice,
    /// O4: the item comes before its slot.
    SlotLast,
    /// O5: the generation comes after the index has forgotten the items.
    RaisedAfterSlot,
    /// O6: the bytes come after the generation.
    RaisedBeforeBytes,
    /// R4: the generation comes before the slot.
    GenerationFirst,
    /// R5: the slot is looked at again.
    SlotAgain,
    /// R5: it comes before the bytes.
    SlotFirst,
    /// R7: the bytes come before the generation.
    GenerationLast,
    /// R7: the generation is looked at again.
    GenerationAgain,
    /// O7: the geometry says that something is elsewhere, and then the slot goes.
    ElsewhereFirst,
    /// O7: a slot comes, and then the geometry says that nothing is elsewhere.
    ElsewhereLast,
    /// R9: the slots come before the geometry.
    SlotsBeforeAgain,
    /// R9: nothing may be elsewhere.
    ElsewhereSeen,
    /// R9: the geometry is looked at again.
    GeometryAgain,
    /// O8: the zeros come before the geometry that has homes there.
    ZerosBeforeGeometry,
    /// O8: where the chunk lies comes before it, too.
    ChunkBeforeGeometry,
    /// R1a: the chunk is looked up after the geometry.
    ChunkAfterGeometry,
}

/// What a model has left out.
#[derive(Debug, Clone, Copy)]
struct Orders(Option<Fault>);

impl Orders {
    fn has(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }

    fn acquire(self, fault: Fault) -> Ordering {
        if self.has(fault) { Ordering::Relaxed } else { Ordering::Acquire }
    }

    fn release(self, fault: Fault) -> Ordering {
        if self.has(fault) { Ordering::Relaxed } else { Ordering::Release }
    }

    fn fence(self, fault: Fault, order: Ordering) {
        if !self.has(fault) {
            fence(order);
        }
    }
}

/// An owner and a reader, who may see each other's stores as late as weak memory allows. `read` panics if it sees what it must not.
fn model<W: Default + Send + Sync + 'static>(
    fault: Option<Fault>,
    own: fn(&W, Orders),
    read: fn(&W, Orders),
) -> std::thread::Result<()> {
    // A thread of its own: what loom keeps of a model that fails ends with it.
    std::thread::spawn(move || {
        loom::model(move || {
            let words = Arc::new(W::default());
            let owner = words.clone();
            let owner = loom::thread::spawn(move || own(owner.deref(), Orders(fault)));
            read(&words, Orders(fault));
            owner.join().unwrap();
        });
    })
    .join()
}

fn check<W: Default + Send + Sync + 'static>(own: fn(&W, Orders), read: fn(&W, Orders), faults: &[Fault]) {
    model(None, own, read).expect("the orders as they are");
    for &fault in faults {
        assert!(model(Some(fault), own, read).is_err(), "nobody misses {fault:?}");
    }
}

/// One key, whose item is written three times, the third time to the segment of the first.
struct Items {
    slot: AtomicU64,
    generations: [AtomicU64; 2],
    /// By segment: the two words of the one item that it has room for. Both are its number.
    items: [[AtomicU64; 2]; 2],
    /// The last write that was answered.
    answered: AtomicU64,
}

impl Default for Items {
    fn default() -> Items {
        let zero = || AtomicU64::new(0);
        Items {
            slot: zero(),
            generations: [zero(), zero()],
            items: [[AtomicU64::new(1), AtomicU64::new(1)], [zero(), zero()]],
            answered: AtomicU64::new(1),
        }
    }
}

impl Items {
    /// O4.
    fn write(&self, segment: u64, number: u64, orders: Orders) {
        for word in &self.items[segment as usize] {
            word.store(number, Ordering::Relaxed);
        }
        self.slot.store(segment, orders.release(Fault::SlotLast));
        self.answered.store(number, Ordering::Release);
    }

    /// O5.
    fn raise(&self, segment: usize, orders: Orders) {
        self.generations[segment].store(1, orders.release(Fault::RaisedAfterSlot));
        orders.fence(Fault::RaisedBeforeBytes, Ordering::Release);
    }

    fn own(&self, orders: Orders) {
        self.write(1, 2, orders);
        self.raise(0, orders);
        self.write(0, 3, orders);
    }

    fn read(&self, orders: Orders) {
        let answered = self.answered.load(Ordering::Acquire);
        // R3: no order, as R5 asks again.
        let segment = self.slot.load(Ordering::Relaxed);
        let generation = self.generations[segment as usize].load(orders.acquire(Fault::GenerationFirst));
        if !orders.has(Fault::SlotAgain) && self.slot.load(orders.acquire(Fault::SlotFirst)) != segment {
            return;
        }
        let copy = [0, 1].map(|word: usize| self.items[segment as usize][word].load(Ordering::Relaxed));
        orders.fence(Fault::GenerationLast, Ordering::Acquire);
        let again = self.generations[segment as usize].load(Ordering::Relaxed);
        if again != generation && !orders.has(Fault::GenerationAgain) {
            return;
        }
        assert_eq!(copy[0], copy[1], "a torn item");
        assert!(copy[0] >= answered, "{} was read after {answered}", copy[0]);
    }
}

#[test]
fn an_item_is_whole_and_not_older_than_what_was_answered() {
    use Fault::*;
    check(
        Items::own,
        Items::read,
        &[
            SlotLast,
            RaisedAfterSlot,
            RaisedBeforeBytes,
            GenerationFirst,
            SlotAgain,
            SlotFirst,
            GenerationLast,
            GenerationAgain,
        ],
    );
}

/// An item that is always somewhere: it goes from one slot to a tier, and comes back to another.
struct Tier {
    sequence: AtomicU64,
    elsewhere: AtomicU64,
    slots: [AtomicU64; 2],
}

impl Default for Tier {
    fn default() -> Tier {
        let zero = || AtomicU64::new(0);
        Tier { sequence: zero(), elsewhere: zero(), slots: [AtomicU64::new(1), zero()] }
    }
}

impl Tier {
    fn set_elsewhere(&self, is_something: u64, sequence: u64, orders: Orders) {
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        orders.fence(Fault::GeometryOddFirst, Ordering::Release);
        self.elsewhere.store(is_something, Ordering::Relaxed);
        self.sequence.store(sequence + 2, orders.release(Fault::GeometryEvenLast));
    }

    /// O7.
    fn own(&self, orders: Orders) {
        let goes = || self.slots[0].store(0, Ordering::Release);
        let comes = || self.slots[1].store(1, Ordering::Release);
        if orders.has(Fault::ElsewhereFirst) {
            goes();
        }
        self.set_elsewhere(1, 0, orders);
        goes();
        if !orders.has(Fault::ElsewhereLast) {
            comes();
        }
        self.set_elsewhere(0, 2, orders);
        comes();
    }

    fn read(&self, orders: Orders) {
        let sequence = self.sequence.load(orders.acquire(Fault::GeometryFirst));
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_still = self.sequence.load(Ordering::Relaxed) == sequence;
        if sequence % 2 == 1 || !is_still || self.slots.iter().any(|slot| slot.load(Ordering::Relaxed) == 1) {
            return;
        }
        orders.fence(Fault::SlotsBeforeAgain, Ordering::Acquire);
        let again = self.sequence.load(Ordering::Relaxed);
        let is_sure = again == sequence || orders.has(Fault::GeometryAgain);
        let is_there = elsewhere == 1 && !orders.has(Fault::ElsewhereSeen);
        assert!(!is_sure || is_there, "a miss of what is there");
    }
}

#[test]
fn an_item_that_goes_to_a_tier_and_comes_back_is_not_missed() {
    use Fault::*;
    check(
        Tier::own,
        Tier::read,
        &[
            GeometryOddFirst,
            GeometryEvenLast,
            GeometryFirst,
            ElsewhereFirst,
            ElsewhereLast,
            SlotsBeforeAgain,
            GeometryAgain,
            ElsewhereSeen,
        ],
    );
}

/// A table that grows from one home to two of one slot each. An entry that is always there moves from the first to the second.
struct Table {
    sequence: AtomicU64,
    /// Homes, and those before the growth: words that belong together.
    homes: [AtomicU64; 2],
    slots: [AtomicU64; 2],
}

impl Default for Table {
    fn default() -> Table {
        let one = || AtomicU64::new(1);
        Table { sequence: AtomicU64::new(0), homes: [one(), one()], slots: [one(), AtomicU64::new(0)] }
    }
}

impl Table {
    /// O1.
    fn own(&self, orders: Orders) {
        self.sequence.store(1, Ordering::Relaxed);
        orders.fence(Fault::GeometryOddFirst, Ordering::Release);
        self.slots[0].store(0, Ordering::Release);
        self.slots[1].store(1, Ordering::Release);
        self.homes.iter().for_each(|homes| homes.store(2, Ordering::Relaxed));
        self.sequence.store(2, orders.release(Fault::GeometryEvenLast));
    }

    fn read(&self, orders: Orders) {
        let sequence = self.sequence.load(orders.acquire(Fault::GeometryFirst));
        let homes = [0, 1].map(|word: usize| self.homes[word].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let is_still = self.sequence.load(Ordering::Relaxed) == sequence;
        if sequence % 2 == 1 || !(is_still || orders.has(Fault::GeometryTwice)) {
            return;
        }
        assert_eq!(homes[0], homes[1], "words of two geometries");
        if self.slots[homes[0] as usize - 1].load(Ordering::Relaxed) == 1 {
            return;
        }
        orders.fence(Fault::SlotsBeforeAgain, Ordering::Acquire);
        let again = self.sequence.load(Ordering::Relaxed);
        assert!(again != sequence && !orders.has(Fault::GeometryAgain), "a miss of what is there");
    }
}

#[test]
fn an_entry_is_not_missed_while_the_table_grows() {
    use Fault::*;
    check(
        Table::own,
        Table::read,
        &[GeometryOddFirst, GeometryEvenLast, GeometryFirst, GeometryTwice, SlotsBeforeAgain, GeometryAgain],
    );
}

/// A table of one home that gets a second one, in memory that was a segment's: what is found there is never the segment's.
struct Chunk {
    sequence: AtomicU64,
    homes: AtomicU64,
    /// Where the second home lies; 0: nowhere yet.
    chunk: AtomicU64,
    /// An item, then zeros, then slots.
    frame: [AtomicU64; 2],
}

const ITEM: u64 = 7;

impl Default for Chunk {
    fn default() -> Chunk {
        let (zero, item) = (|| AtomicU64::new(0), || AtomicU64::new(ITEM));
        Chunk { sequence: zero(), homes: AtomicU64::new(1), chunk: zero(), frame: [item(), item()] }
    }
}

impl Chunk {
    /// O6 of the segment, O8 and O1.
    fn own(&self, orders: Orders) {
        if !orders.has(Fault::ZerosBeforeGeometry) {
            self.frame.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        if !orders.has(Fault::ChunkBeforeGeometry) {
            self.chunk.store(1, Ordering::Relaxed);
        }
        // Either of the two release orders is enough for what comes before both.
        self.sequence.store(1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.homes.store(2, Ordering::Relaxed);
        self.sequence.store(2, Ordering::Release);
        self.frame.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.chunk.store(1, Ordering::Relaxed);
    }

    fn read(&self, orders: Orders) {
        let order = if orders.has(Fault::ChunkAfterGeometry) { Ordering::Relaxed } else { Ordering::Acquire };
        let sequence = self.sequence.load(order);
        let homes = self.homes.load(Ordering::Relaxed);
        orders.fence(Fault::ChunkAfterGeometry, Ordering::Acquire);
        let is_still = self.sequence.load(Ordering::Relaxed) == sequence;
        if sequence % 2 == 1 || homes == 1 || !(is_still || orders.has(Fault::GeometryTwice)) {
            return;
        }
        assert_eq!(self.chunk.load(Ordering::Relaxed), 1, "a home that lies nowhere");
        let words = [0, 1].map(|word: usize| self.frame[word].load(Ordering::Relaxed));
        assert!(!words.contains(&ITEM), "bytes of an item as slots: {words:?}");
    }
}

#[test]
fn memory_that_the_index_gets_is_seen_as_the_index_has_it() {
    use Fault::*;
    check(Chunk::own, Chunk::read, &[ZerosBeforeGeometry, ChunkBeforeGeometry, ChunkAfterGeometry]);
}
