//! What a client may say before it has given a password, in any protocol: little, and little of that.

/// Requests that a client is refused before it has given a password; with the next one it is closed.
pub(super) const REFUSALS_MAX: u8 = 32;
/// Longest request of such a client, bytes: user and password at their limits, and what stands around them.
pub(super) const REQUEST_BYTES_MAX: usize = 4 << 10;
/// Input that a connection keeps of such a client, bytes. Beyond that it is closed.
pub(crate) const INPUT_BYTES_MAX: usize = 32 << 10;

/// Counts a refusal. False: it was the last one.
pub(super) fn count(refused: &mut u8) -> bool {
    *refused = refused.saturating_add(1);
    *refused <= REFUSALS_MAX
}
