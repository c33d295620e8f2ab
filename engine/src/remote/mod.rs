//! Reading a shard from another machine, by nothing but RDMA READ.
//!
//! The rules are those of [`crate::reader`], and its code judges what was read: here it is words that have landed, a READ's at a time. What
//! differs is that a round to the shard takes as long as a thousand loads, so nothing is read twice that a single word can vouch for.
//!
//! ```text
//!   reader                                                owner
//!   F1  head, thrice: the words of the second hold        O1, T1 and T3, and those of a flush: a sequence is odd while the
//!       if the sequences of all three are even and        words behind it change
//!       the same. Kept, until one of them is another
//!   F2  the buckets of the home, as far as items reach    O2, O4
//!   F3  a slot names an item                              L1  a freed segment rests until those leases have ended that were
//!                                                             given before it was freed
//!   F4  the item, by the length that the slot gives       O3  dead, before it can be missed, or another one seen
//!   F5  the head, once: epoch, clock, sequences           L2  the clock's word rises here before a time is shown that goes by it
//!   F6  the lease that ran before F2 runs still           L3  if that takes too long, nobody reads any more, and then L1 ends
//!   F7  key, dead, flushed, expired
//! ```
//!
//! F4 and F5 are posted behind one doorbell, on one queue pair, which executes READs one behind the other; it may read the words of
//! each in any order, and others may be written meanwhile. Why that is enough:
//!
//! - *The item is whole, and the slot's.* The slot named it at F3, so its segment was freed later, if at all, and the lease had been
//!   given before: by L1 no byte but its state changes before the lease ends, and F6 says that all was read before that. No slot is looked at again.
//! - *It is the key's.* It was not dead at F4. As O3 comes before anything that shows otherwise, it was the key's value then, and F4 lies
//!   between the start and the end of the read. That holds wherever the slot was found: a hit does not need the geometry to have stayed.
//! - *It is not flushed, and of the database.* Flushes and spaces were read at F1, and at F5 their sequences are what they were. So
//!   they were so at F4, too.
//! - *It is not expired.* The reader knows how long the server's clock has run, at the most, when the read begins; when that clock began is
//!   a word at F5. Whatever time was shown before the read, the word is that, or a later one (L2). What may be over by that time is not
//!   called a miss, as it may not be: it is doubt.
//! - *A miss* is true at some moment between F1 and F5, as the sequence of the geometry, and so all of its words, were at F5 what they were
//!   at F1: whatever lay in memory all that time had one slot, in reach of its home. The home itself is not read again: a reach
//!   falls only when nothing of its home lies elsewhere (O2).
//!
//! A *remembered place* does without F2 and F3, as long as the lease runs under which its item was last seen alive: its segment was freed
//! after that lease was given, if at all, so by L1 the item is the one that was there. F4, F5 and F7, and F6 for that lease; if it is alive the
//! place holds until the lease ends that ran when this read began. An index that has grown since voids it: a step of growth may lose an
//! item first.
//!
//! The epoch is the owner's word that what it has told of its memory is over, by which keys it is read above all. It protects no read: keys
//! that have ended end the queue pair. But a reader learns by it that he has to say hello again, before they do.
//!
//! Nobody knows in whose hands the memory is: every number is taken once, from where it has landed, and bounded; no look takes more than
//! [`ROUNDS_MAX`] rounds. A check that fails is tried a second time, from F1 or F2 on. After that, and whatever a reader cannot decide, is
//! [doubt](crate::reader::Doubt): the owner is asked.
//!
//! | file | holds |
//! |---|---|
//! | `remote/read.rs` | a read, round by round |
//! | `remote/shard.rs` | what is kept of a shard between reads |
//! | `remote/list.rs` | READs and where they land |
//! | `remote/image.rs` | what has landed, as buckets and items |
//! | `remote/head.rs` | the head, F1 and F5 |
//! | `remote/places.rs` | remembered places |
//! | `remote/pieces.rs` | the owner's side: memory to be registered |
//!
//! Leases are in `segments/leases.rs`. Non-goals: queue pairs, keys of memory, which shard a key belongs to, when to ask for a lease.

mod head;
mod image;
mod list;
mod pieces;
mod places;
mod read;
mod shard;

pub use list::{LANDING_WORDS, ReadList, RemotePiece};
pub use pieces::{MemoryPiece, RemoteMemory};
pub use read::{Query, ROUNDS_MAX, RemoteRead, Step, Times};
pub use shard::{RemoteCounts, RemoteOptions, RemoteShard};
