//! Session of one protocol.
use crate::session::{Answer, ComposeContext, Limits, Output, Parsed, Part, Scratch};
use torc_engine::command::Millis;

/// How a part is answered.
#[derive(Debug, Clone, Copy)]
pub struct Reply;

/// State of one connection.
#[derive(Debug, Default)]
pub struct Session {}

impl Session {
    pub fn parse<'a>(
        &mut self,
        input: &'a [u8],
        _scratch: &'a Scratch,
        _now: Millis,
        _limits: &Limits,
        _parts: &mut Vec<Part<'a>>,
        _parts_max: usize,
    ) -> Parsed {
        Parsed { consumed: input.len(), missing: 0 }
    }

    pub fn compose(
        &mut self,
        _reply: Reply,
        _key: &[u8],
        _echo: &[u8],
        _answer: &Answer<'_>,
        _context: &ComposeContext<'_>,
        _out: &mut Output,
    ) {
    }
}
