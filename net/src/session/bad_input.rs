//! What is wrong with what clients send, counted where the error is written.

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
    any: bool,
}

impl Errors {
    #[cold]
    pub fn add(&mut self, what: BadInput) {
        self.counts[what as usize] = self.counts[what as usize].saturating_add(1);
        self.any = true;
    }

    /// The command of this number was called, and its answer is an error. What it says was wrong is counted apart.
    #[cold]
    pub(crate) fn add_failed(&mut self, command: u8) {
        self.failed.push(command);
        self.any = true;
    }

    /// Gives them out, and starts anew. `None`: there are none.
    #[inline]
    pub fn take(&mut self) -> Option<Errors> {
        self.any.then(|| std::mem::take(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_given_out_once() {
        let mut errors = Errors::default();
        assert!(errors.take().is_none());
        [BadInput::Malformed, BadInput::Limit, BadInput::Limit].into_iter().for_each(|what| errors.add(what));
        errors.add_failed(7);
        let taken = errors.take().unwrap();
        assert_eq!((taken.counts, &taken.failed[..]), ([1, 0, 0, 0, 0, 2, 0], &[7][..]));
        assert!(errors.take().is_none());
    }
}
