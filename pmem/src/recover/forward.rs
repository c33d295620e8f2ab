//! Finding the end of a stream, from its checkpoint on.

use super::{Counts, StreamEnd, Walk};
use crate::format::batch::{Bounds, Head};
use crate::format::checkpoint::Checkpoint;
use crate::media::MediaError;

/// Steps 3 to 5.
pub(super) fn find_end(
    walk: &Walk<'_>,
    checkpoint: &Checkpoint,
    counts: &mut Counts,
) -> Result<StreamEnd, MediaError> {
    let heads = heads(walk, checkpoint)?;
    // Step 4: what any batch knows to be drained is drained.
    let drained = heads.iter().map(|head| head.drained).fold(checkpoint.end, u64::max);
    let (mut end, mut last, mut oldest) = (checkpoint.end, checkpoint.previous, checkpoint.oldest);
    for head in &heads {
        let bounds = head.bounds;
        let follows = bounds.start == walk.ring.next_start(end);
        // Step 5: below what was drained a gap is damage, and the stream goes on behind it. Above it is the crash, as is a
        // batch of which any byte is wrong: it was never acknowledged, and must not hide what it would have superseded.
        let is_cut = !follows && end >= drained || bounds.end() > drained && !walk.is_whole(head)?;
        if is_cut {
            counts.cut_off_bytes +=
                (heads.last().map_or(end, |last| last.bounds.end()) - end) * crate::format::UNIT_BYTES as u64;
            break;
        }
        (end, last, oldest) = (bounds.end(), bounds, oldest.max(head.oldest));
    }
    if end < drained {
        // The last batch that was drained is damaged.
        (end, last) = (drained, Bounds::default());
    }
    let oldest = oldest.min(end);
    Ok(StreamEnd { stream: checkpoint.stream, end, oldest, last, turn: checkpoint.turn })
}

/// Step 3: the heads behind the checkpoint, in order. Where one cannot be read the next is looked for, as far as the writer
/// may have come.
fn heads(walk: &Walk<'_>, checkpoint: &Checkpoint) -> Result<Vec<Head>, MediaError> {
    let limit = checkpoint.end + walk.ring.ahead();
    let mut heads: Vec<Head> = Vec::new();
    let (mut at, mut generation) = (walk.ring.next_start(checkpoint.end), checkpoint.generation);
    while at < limit {
        // What an older run has left behind the end of a younger one is no part of the stream.
        let found = walk.find_head(at, limit, &|head| {
            head.generation >= generation && head.drained <= head.bounds.start
        })?;
        let Some(head) = found else { break };
        (at, generation) = (walk.ring.next_start(head.bounds.end()), head.generation);
        heads.push(head);
    }
    Ok(heads)
}
