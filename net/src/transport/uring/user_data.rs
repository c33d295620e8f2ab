//! What a completion is about, in the 64 bits that the ring carries along.
//!
//! ```text
//!  63            32 31              8 7        0
//! +----------------+-----------------+----------+
//! | place          | generation      | operation|
//! +----------------+-----------------+----------+
//! ```
//!
//! The place is a connection's or a listener's. A completion whose generation is not its place's own is about
//! a connection that is gone, and is dropped.

use crate::transport::{ConnId, GENERATIONS};

/// The operation that a completion ends or continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    Receive = 2,
    Send = 3,
    Cancel = 4,
    Wake = 5,
    QuickSend = 6,
    Watch = 7,
    Notice = 8,
    End = 9,
}

const OPERATIONS: [Operation; 9] = [
    Operation::Accept,
    Operation::Receive,
    Operation::Send,
    Operation::Cancel,
    Operation::Wake,
    Operation::QuickSend,
    Operation::Watch,
    Operation::Notice,
    Operation::End,
];

/// For an operation whose completion is ignored.
pub(super) const NONE: u64 = 0;

pub(super) fn encode(operation: Operation, conn: ConnId) -> u64 {
    debug_assert!(conn.generation < GENERATIONS);
    u64::from(conn.index) << 32 | u64::from(conn.generation) << 8 | operation as u64
}

/// `None`: not written by [`encode`].
pub(super) fn decode(user_data: u64) -> Option<(Operation, ConnId)> {
    let operation = *OPERATIONS.get((user_data as u8).wrapping_sub(1) as usize)?;
    let conn = ConnId { index: (user_data >> 32) as u32, generation: (user_data as u32) >> 8 };
    Some((operation, conn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_gives_back_what_was_encoded() {
        for operation in OPERATIONS {
            for index in [0, 1, u32::MAX] {
                for generation in [0, 1, GENERATIONS - 1] {
                    let conn = ConnId { index, generation };
                    assert_eq!(decode(encode(operation, conn)), Some((operation, conn)));
                }
            }
        }
        assert_eq!(decode(NONE), None);
        assert_eq!(decode(10), None);
    }
}
