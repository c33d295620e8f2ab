//! The memory of a shard that other processes read.

use super::Published;
use super::layout::{FLUSHES_WORDS, Layout};
use crate::spaces::SPACES_WORDS;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use torc_pmem::media::shared::SharedFile;

/// A file with the head of a shard. Its frames are segments, or memory of the index.
#[derive(Debug)]
pub(crate) struct ShardFile {
    file: Arc<SharedFile>,
    layout: Layout,
}

impl ShardFile {
    /// # Errors
    /// As [`SharedFile::create`].
    pub(crate) fn create(layout: Layout) -> io::Result<ShardFile> {
        let file = SharedFile::create(layout.head_bytes, layout.frame_bytes(), layout.frames_max)?;
        layout.write(file.head());
        Ok(ShardFile { file: Arc::new(file), layout })
    }

    pub(crate) fn file(&self) -> &Arc<SharedFile> {
        &self.file
    }

    pub(crate) fn frame_bytes(&self) -> usize {
        self.layout.frame_bytes()
    }

    /// Memory that the file takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.file.bytes()
    }

    pub(crate) fn head_bytes(&self) -> usize {
        self.layout.head_bytes
    }

    /// The epoch, which changes when what readers elsewhere were told of this memory is over.
    pub(crate) fn epoch(&self) -> Published<[AtomicU64; 1]> {
        self.array(self.layout.epoch())
    }

    /// When the server's clock began, as [`crate::mapped::ClockWords`] has it.
    pub(crate) fn clock(&self) -> Published<[AtomicU64; 1]> {
        self.array(self.layout.clock())
    }

    pub(crate) fn geometry(&self) -> Published<[AtomicU64; 5]> {
        self.array(self.layout.geometry())
    }

    pub(crate) fn flushes(&self) -> Published<[AtomicU64; FLUSHES_WORDS]> {
        self.array(self.layout.flushes())
    }

    pub(crate) fn spaces(&self) -> Published<[AtomicU64; SPACES_WORDS]> {
        self.array(self.layout.spaces())
    }

    pub(crate) fn generations(&self) -> Published<[AtomicU64]> {
        self.words(self.layout.generations())
    }

    pub(crate) fn chunks(&self) -> Published<[AtomicU64]> {
        self.words(self.layout.chunks())
    }

    fn array<const N: usize>(&self, range: Range<usize>) -> Published<[AtomicU64; N]> {
        let array = Published::of(&self.file, |file| file.head().get(range)?.try_into().ok());
        let Some(array) = array else { unreachable!("the head is as long as its layout says") };
        array
    }

    fn words(&self, range: Range<usize>) -> Published<[AtomicU64]> {
        let words = Published::of(&self.file, |file| file.head().get(range));
        let Some(words) = words else { unreachable!("the head is as long as its layout says") };
        words
    }

    /// A descriptor for a reader.
    ///
    /// # Errors
    /// Those of `open`.
    pub(crate) fn to_read(&self) -> io::Result<OwnedFd> {
        self.file.to_read()
    }
}
