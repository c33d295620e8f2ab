//! Segments that are frames of a file which other processes read.
//!
//! No memory goes back to the machine: what the store is to have less of stays in the file, as a frame that is retired. The index
//! takes its memory from those first, and then from frames that the file does not have yet.

use super::arena::Arena;
use super::generations::Generations;
use super::{Phase, SegmentHeader, Segments};
use crate::shared::file::ShardFile;
use std::sync::Arc;

/// Bytes of a frame that become zeros at once.
const ZEROED_BYTES: usize = 256 << 10;

/// The file, and what is known of its frames.
#[derive(Debug)]
pub(super) struct Frames {
    file: Arc<ShardFile>,
    /// Frames that there can be: fewer than there are addresses for, if the machine has no more memory.
    reserved: usize,
    /// The frame that the index gets next, and how many of its bytes are zeros.
    next: Option<(u32, usize)>,
}

impl Frames {
    pub(super) fn head_bytes(&self) -> usize {
        self.file.head_bytes()
    }

    /// Frames that there can be beside those that an index of so many bytes has.
    pub(super) fn reserved_beside(&self, index_bytes: usize) -> usize {
        self.reserved.saturating_sub(index_bytes.div_ceil(self.file.frame_bytes()))
    }
}

impl Segments {
    /// Segments in the frames of a file, behind those that the index has taken.
    pub(crate) fn in_file(file: &Arc<ShardFile>, count_max: usize, shard: u16) -> Segments {
        let (frames, taken) = (file.file().frames_max(), file.file().frames());
        let mut headers = Vec::with_capacity(frames);
        headers.resize_with(taken, || SegmentHeader { phase: Phase::Retired, ..SegmentHeader::new(0) });
        let generations = Generations::new(file.generations());
        let arena = Arena::of_file(file);
        let mut segments = Segments::of(arena, headers, generations, file.frame_bytes(), count_max, shard);
        segments.frames = Some(Box::new(Frames { file: file.clone(), reserved: frames, next: None }));
        segments
    }

    /// The file, if segments are frames of one.
    pub(crate) fn file(&self) -> Option<&Arc<ShardFile>> {
        self.frames.as_ref().map(|frames| &frames.file)
    }

    /// A frame that the file did not have.
    #[cold]
    pub(super) fn take_new_frame(&mut self) -> Option<u32> {
        let frames = self.frames.as_mut().filter(|frames| self.headers.len() < frames.reserved)?;
        match frames.file.file().take_frame() {
            Ok(Some(frame)) => {
                let segment = self.push_header();
                debug_assert_eq!(frame, segment as usize, "a header for each frame");
                Some(segment)
            }
            // It is not asked for again and again: the store goes on with what it has.
            Ok(None) | Err(_) => {
                frames.reserved = self.headers.len();
                self.count_max = self.count_max.min(self.count);
                None
            }
        }
    }

    /// Takes back a frame that the index could not have.
    pub(crate) fn take_frame_back(&mut self, frame: u32) {
        self.retired.push_back(&mut self.headers, frame);
    }

    /// Makes a frame ready for the index, a part at each call; `None`: not yet, or there is none. It is no segment any more:
    /// its generation rose when it became free (O5), and its bytes become zeros here (O6).
    pub(crate) fn frame_for_index(&mut self) -> Option<u32> {
        let next = self.frames.as_mut()?.next.take();
        let (frame, zeroed) = match next {
            Some(next) => next,
            None => match self.retired.pop_front(&mut self.headers) {
                Some(frame) => (frame, 0),
                // It comes as zeros.
                None => (self.take_new_frame()?, self.segment_bytes),
            },
        };
        self.headers[frame as usize].phase = Phase::Retired;
        let end = (zeroed + ZEROED_BYTES).min(self.segment_bytes);
        if zeroed < end {
            self.bytes_mut(self.start(frame) + zeroed as u64, end - zeroed).zero();
        }
        if end == self.segment_bytes {
            return Some(frame);
        }
        self.frames.as_mut()?.next = Some((frame, end));
        None
    }
}
