//! When a request is not worth executing any more.

use torc_engine::command::Millis;

/// A deadline in milliseconds, or none. It is kept in 32 bits, since every part that waits has room for one. They are
/// enough: a deadline lies at most 2^32 us ahead, so its distance from now is far below half of 2^32 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline(u32);

impl Deadline {
    pub const NONE: Deadline = Deadline(0);

    /// The last millisecond at which the request may be executed.
    pub fn at(ms: Millis) -> Deadline {
        // 0 stands for no deadline. A deadline that would be 0, once in 50 days, becomes 1: it is kept a millisecond longer.
        Deadline((ms as u32).max(1))
    }

    /// Whether it is past.
    #[inline]
    pub fn is_past(self, now: Millis) -> bool {
        self != Deadline::NONE && (now as u32).wrapping_sub(self.0).cast_signed() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_past_a_millisecond_after_it() {
        for at in [1, 5, 1_790_000_000_000, u64::from(u32::MAX), 1 << 32, (1 << 32) + 1] {
            let deadline = Deadline::at(at);
            assert!(!deadline.is_past(at) && !deadline.is_past(at - 1), "{at}");
            assert!(deadline.is_past(at + 2) && deadline.is_past(at + 1_000_000_000), "{at}");
            assert!(!deadline.is_past(at.saturating_sub(4_294_968)), "{at}");
        }
        assert!(Deadline::at(5).is_past(6));
        assert!(!Deadline::NONE.is_past(0) && !Deadline::NONE.is_past(u64::MAX));
    }
}
