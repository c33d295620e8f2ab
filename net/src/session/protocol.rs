//! What a connection may speak, and by which port it came.

/// The protocols of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Resp,
    Memcache,
    Native,
}

/// Names of the protocols, in their order.
pub const PROTOCOLS: [&str; 3] = ["resp", "memcache", "native"];

/// By what kind of port a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// Every key is served there, by whichever shard accepts.
    #[default]
    Common,
    /// A shard's own: to a cluster client, a node that has this shard's slots and no others.
    Shard,
}
