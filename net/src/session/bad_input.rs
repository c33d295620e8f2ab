//! What is wrong with what clients send, counted where the error is written.

use torc_engine::words;

/// Longest code of an error, bytes, as in Redis.
const CODE_BYTES_MAX: usize = 30;

/// Kinds of bad input, the same for all protocols. What a shard refuses (a value that is no number, memory
/// that is full) is an outcome of its request, not bad input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadInput {
    /// No frame of the protocol.
    Malformed,
    /// No such command, operation or extension.
    UnknownCommand,
    /// A known command with a wrong number of arguments, or wrong ones.
    Arguments,
    /// A key that is too long, or with bytes that the protocol does not allow.
    Key,
    /// Over `--max-value`.
    ValueTooLong,
    /// Over another limit: `--max-frame`, `--max-arguments`, the protocol's own.
    Limit,
    /// Before a password was given.
    Unauthenticated,
}

/// Names of the kinds, in their order.
pub const BAD_INPUTS: [&str; 7] =
    ["malformed", "unknown_command", "arguments", "key", "value_too_long", "limit", "unauthenticated"];

/// Errors that were answered and are not yet counted in the figures.
#[derive(Debug, Default)]
pub struct Errors {
    /// Bad input, by kind.
    pub(crate) counts: [u32; BAD_INPUTS.len()],
    /// Commands of Redis, by number, that were called and have failed: one for each call.
    pub(crate) failed: Vec<u8>,
    /// Codes of errors in RESP, as [`words`]: one for each.
    pub(crate) codes: Vec<u8>,
}

impl Errors {
    #[cold]
    pub fn add(&mut self, what: BadInput) {
        self.counts[what as usize] = self.counts[what as usize].saturating_add(1);
    }

    /// The command of this number was called, and its answer is an error. What it says was wrong is counted apart.
    #[cold]
    pub(crate) fn add_failed(&mut self, command: u8) {
        self.failed.push(command);
    }

    /// An error in RESP: the bytes of its line, behind the sign. Its code is its first word, `ERR` if that is none or longer than codes are.
    #[cold]
    pub(crate) fn add_code(&mut self, line: &[u8]) {
        let end = line.iter().take(CODE_BYTES_MAX + 1).position(|byte| *byte == b' ');
        let code = end.map_or(&b"ERR"[..], |end| &line[..end]);
        words::begin(code.len() as u32, &mut self.codes);
        self.codes.extend_from_slice(code);
    }

    /// Hands out the commands that have failed, and forgets the codes: no client has seen these errors.
    pub(crate) fn settle(&mut self) -> impl Iterator<Item = u8> + '_ {
        self.codes.clear();
        self.failed.drain(..)
    }
}
