//! Answers whose words depend on no other answer of their connection.
//!
//! Such an answer may be written before its turn. The shard that has the key may write it, so that only the words travel.

use super::answer::Answer;
use super::context::ComposeContext;
use super::output::Output;
use super::protocol::Protocol;
use super::{memcache, native, resp};

/// How such an answer is written. Requests that are answered alike have equal ones, but for the tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FreeReply {
    Resp(resp::Free),
    Memcache(memcache::ReplyKind),
    Native(native::ReplyKind),
}

impl FreeReply {
    /// Takes the tag out, so that equal kinds compare equal.
    #[inline]
    pub fn untagged(self) -> (FreeReply, u32) {
        match self {
            FreeReply::Native(reply) => (FreeReply::Native(reply.with_id(0)), reply.id()),
            other => (other, 0),
        }
    }

    pub fn protocol(self) -> Protocol {
        match self {
            FreeReply::Resp(_) => Protocol::Resp,
            FreeReply::Memcache(_) => Protocol::Memcache,
            FreeReply::Native(_) => Protocol::Native,
        }
    }

    /// Writes the answer to a request with this tag; see [`super::Session::compose`]. It ignores the fields of `context` that
    /// belong to one connection.
    #[inline]
    pub fn compose(
        self,
        tag: u32,
        (key, echo): (&[u8], &[u8]),
        answer: &Answer<'_>,
        context: &ComposeContext<'_>,
        out: &mut Output,
    ) {
        match self {
            FreeReply::Resp(reply) => reply.compose(echo, answer, context, out),
            FreeReply::Memcache(reply) => reply.compose(key, echo, answer, context, out),
            FreeReply::Native(reply) => reply.with_id(tag).compose(key, echo, answer, context.now, out),
        }
    }
}
