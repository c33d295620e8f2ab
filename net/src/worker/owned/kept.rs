//! Answers that wait for others before them.

use super::answer::OwnedAnswer;
use crate::session::{Answer, Part, ReplyKind, Work, lent_cost};
use crate::worker::mail::AskBytes;
use crate::worker::pool::Pool;
use crate::worker::queue::Asked;
use torc_engine::segments::LentChain;

/// An answer that waits for one before it: its bytes are the key, then what the client wants repeated, then the value.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) reply: ReplyKind,
    /// The connection ends with this answer.
    pub(crate) closes: bool,
    /// The turn that read the part, nanoseconds.
    pub(crate) read_ns: u64,
    answer: OwnedAnswer,
    bytes: Vec<u8>,
    key_end: usize,
    echo_end: usize,
    /// The value if it is lent, in place of bytes.
    chain: Option<Box<LentChain>>,
}

impl Kept {
    /// Whether it answers nothing.
    pub(crate) fn is_push(&self) -> bool {
        matches!(self.reply, ReplyKind::Push(_))
    }

    /// Keeps what a shard answers to a part that the turn of `read_ns` has read.
    pub(crate) fn take_over(
        part: &Part<'_>,
        read_ns: u64,
        key: &[u8],
        answer: Answer<'_>,
        pool: &mut Pool,
    ) -> Box<Kept> {
        let mut bytes = pool.copy(&[key, part.echo]);
        let (answer, chain) = OwnedAnswer::of(answer, &mut bytes, 0);
        let (key_end, echo_end) = (key.len(), key.len() + part.echo.len());
        let closes = matches!(part.work, Work::Close);
        Box::new(Kept { reply: part.reply, closes, read_ns, answer, bytes, key_end, echo_end, chain })
    }

    /// Keeps another shard's answer; `value` are its bytes.
    pub(crate) fn copy(
        asked: &Asked,
        AskBytes { key, echo, .. }: AskBytes<'_>,
        value: &[u8],
        (answer, chain): (OwnedAnswer, Option<Box<LentChain>>),
        pool: &mut Pool,
    ) -> Box<Kept> {
        let bytes = pool.copy(&[key, echo, value]);
        let (key_end, echo_end) = (key.len(), key.len() + echo.len());
        let &Asked { reply, read_ns, .. } = asked;
        Box::new(Kept { reply, closes: false, read_ns, answer, bytes, key_end, echo_end, chain })
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_end]
    }

    pub(crate) fn echo(&self) -> &[u8] {
        &self.bytes[self.key_end..self.echo_end]
    }

    pub(crate) fn answer(&self) -> Answer<'_> {
        self.answer.answer(&self.bytes[self.echo_end..], self.chain.as_deref())
    }

    /// What it counts against the limit of waiting answers, bytes.
    pub(crate) fn cost(&self) -> usize {
        let lent = self.chain.as_ref().map_or(0, |chain| lent_cost(chain.chain().len()));
        self.bytes.capacity() + size_of::<Kept>() + lent
    }

    /// Its buffer, and the lent slices that were not handed on.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Option<Box<LentChain>>) {
        (self.bytes, self.chain)
    }
}
