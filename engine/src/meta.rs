//! What is known of an item beside its key and its value.

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// What an item is, apart from key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// The server's own order of changes (hybrid logical clock, see [`crate::version`]).
    pub version: u64,
    /// What clients see as CAS.
    pub token: u64,
    pub flags: u32,
    /// `None`: never expires.
    pub expiry: Option<Millis>,
    pub value_bytes: u64,
    pub stale: bool,
    /// It had been read before this command.
    pub fetched: bool,
    pub lease: Lease,
}

/// The lease as this reader finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lease {
    #[default]
    None,
    /// This reader shall fetch the new value (meta `W`).
    Won,
    /// Another reader has been asked to (meta `Z`).
    Given,
}

/// A value under way into the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(pub u64);
