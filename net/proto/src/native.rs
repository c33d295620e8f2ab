//! Torc's own binary protocol.

/// First byte of every native frame: no ASCII, and none of 0x80, 0x81 (memcached binary) and 0x16 (TLS).
pub const MAGIC: u8 = 0xC7;
