//! The bounds of the text protocol.

/// Longest key, bytes; in base64 the limit is on the text.
pub const KEY_BYTES_MAX: usize = 250;

/// Longest command line other than a retrieval, bytes, line end included.
pub const LINE_BYTES_MAX: usize = 2048;

/// Longest opaque token, bytes, its letter `O` included.
pub const OPAQUE_BYTES_MAX: usize = 32;

/// Longest value that a command line may announce, bytes.
pub const VALUE_BYTES_MAX: u64 = i32::MAX as u64 - 2;

/// The line end behind command lines and values. Command lines may also end with LF alone.
pub const LINE_END: &[u8; 2] = b"\r\n";
