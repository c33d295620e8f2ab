//! A medium that is made of several: one tier over two disks.
//!
//! ```text
//!   Composite   one range of bytes, by a Layout, over
//!     member 0  | label | label | superblock | superblock | extent 0, the rest of it | extent 2 | ...
//!     member 1  | label | label | extent 1                                           | extent 3 | ...
//! ```
//!
//! A stream goes over all members in turn, and so do journals, which lie close together: one shard alone has the reads of all
//! disks, and none of them gets all that must be safe at once. Each member is labelled, so that one which is missing, or another
//! tier's, is named and nothing is guessed. What fails on one member fails as a call to the whole, and says which it was.

mod make;
mod set;

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::format::label::{LABELS, Label};
use crate::media::layout::{Layout, Piece};
use crate::media::{BLOCK_BYTES, Block, MediaError, Medium, MemberFigures, check};
pub use make::{MEMBER_BYTES_MIN, layout, member_bytes};
pub use set::{Look, SetError, Verdict, judge, look};

/// Where the first extent of a member begins, bytes.
const SKIP_BYTES: u64 = LABELS * BLOCK_BYTES as u64;

/// A medium, and what messages call it.
pub type Named = (String, Arc<dyn Medium>);

/// Several media as one.
#[derive(Debug)]
pub struct Composite {
    members: Box<[Member]>,
    layout: Layout,
}

#[derive(Debug)]
struct Member {
    name: String,
    medium: Arc<dyn Medium>,
    /// It was written since it was drained.
    is_touched: AtomicBool,
    /// Held while it is drained: who finds it no more touched has to wait for whoever drains it.
    draining: Mutex<()>,
    written_bytes: AtomicU64,
    failures: AtomicU64,
}

impl Composite {
    /// The tier that lies on these members, in any order.
    ///
    /// # Errors
    /// [`SetError`]: they are not all of one set, or hold none.
    pub fn open(members: Vec<Named>) -> Result<Composite, SetError> {
        let looks = members.iter().map(|(name, medium)| Ok((name.clone(), look(name, &**medium)?)));
        let looks = looks.collect::<Result<Vec<_>, SetError>>()?;
        match judge(&looks)? {
            Verdict::Blank => Err(SetError::Blank),
            Verdict::Whole { order, extent_bytes } => {
                let ordered: Vec<Named> = order.into_iter().map(|place| members[place].clone()).collect();
                let sizes: Vec<u64> = ordered.iter().map(|(_, medium)| medium.bytes()).collect();
                Ok(Composite::new(ordered, Layout::new(&sizes, SKIP_BYTES, extent_bytes)))
            }
        }
    }

    /// By number.
    fn new(members: Vec<Named>, layout: Layout) -> Composite {
        let members = members.into_iter().map(|(name, medium)| Member {
            name,
            medium,
            is_touched: AtomicBool::new(false),
            draining: Mutex::new(()),
            written_bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        Composite { members: members.collect(), layout }
    }

    /// What a range of bytes lies in, with the blocks of each piece.
    fn pieces(&self, at: u64, blocks: usize) -> Result<impl Iterator<Item = (&Member, Piece)>, MediaError> {
        check(at, blocks, self.bytes())?;
        let pieces = self.layout.pieces(at, (blocks * BLOCK_BYTES) as u64);
        Ok(pieces.map(|piece| (&self.members[piece.member], piece)))
    }
}

impl Member {
    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        let written = self.medium.write(at, blocks);
        // After it was written, or a drain between would take what it has not drained for drained; and even if that has failed, as
        // a part may be there. Release: whoever drains for this has the write before it.
        self.is_touched.store(true, Ordering::Release);
        self.written_bytes.fetch_add(size_of_val(blocks) as u64, Ordering::Relaxed);
        self.named(written)
    }

    /// Drains what was written, if anything was.
    fn drain(&self) -> Result<(), MediaError> {
        let held = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_touched.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let drained = self.medium.drain();
        if drained.is_err() {
            self.is_touched.store(true, Ordering::Release);
        }
        drop(held);
        self.named(drained)
    }

    fn named(&self, result: Result<(), MediaError>) -> Result<(), MediaError> {
        result.map_err(|error| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            error.of_member(&self.name)
        })
    }
}

impl Medium for Composite {
    fn describe(&self) -> String {
        let members: Vec<String> = self.members.iter().map(|member| member.medium.describe()).collect();
        format!("a set of {}", members.join(" and "))
    }

    fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    fn is_persistent(&self) -> bool {
        self.members.iter().all(|member| member.medium.is_persistent())
    }

    fn resident_bytes(&self) -> u64 {
        self.members.iter().map(|member| member.medium.resident_bytes()).sum()
    }

    fn direct_files(&self) -> Option<(Vec<BorrowedFd<'_>>, &Layout)> {
        let files: Option<Vec<_>> = self.members.iter().map(|member| member.medium.direct_file()).collect();
        files.map(|files| (files, &self.layout))
    }

    fn members(&self) -> Vec<MemberFigures> {
        let figures = |member: &Member| MemberFigures {
            name: member.name.clone(),
            bytes: member.medium.bytes(),
            written_bytes: member.written_bytes.load(Ordering::Relaxed),
            failures: member.failures.load(Ordering::Relaxed),
        };
        self.members.iter().map(figures).collect()
    }

    fn is_byte_addressable(&self) -> bool {
        self.members.iter().all(|member| member.medium.is_byte_addressable())
    }

    fn write(&self, at: u64, mut blocks: &[Block]) -> Result<(), MediaError> {
        for (member, piece) in self.pieces(at, blocks.len())? {
            let (first, rest) = blocks.split_at(piece.bytes as usize / BLOCK_BYTES);
            member.write(piece.at, first)?;
            blocks = rest;
        }
        Ok(())
    }

    fn drain(&self) -> Result<(), MediaError> {
        self.members.iter().try_for_each(Member::drain)
    }

    fn drain_range(&self, at: u64, bytes: u64) -> Result<(), MediaError> {
        self.pieces(at, bytes as usize / BLOCK_BYTES)?.try_for_each(|(member, _)| member.drain())
    }

    fn read(&self, at: u64, mut out: &mut [Block]) -> Result<(), MediaError> {
        for (member, piece) in self.pieces(at, out.len())? {
            let (first, rest) = out.split_at_mut(piece.bytes as usize / BLOCK_BYTES);
            member.named(member.medium.read(piece.at, first))?;
            out = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
