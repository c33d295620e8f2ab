//! What is gathered from all shards, a step at a time: keys, clients.

use torc_proto::memcache::Dump;

/// What a walk over the shards is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Keys that match the pattern in the echo (KEYS).
    Keys,
    /// How many there are (DBSIZE): nobody is asked, but what came before has been done, and what comes behind has not.
    Count,
    /// One key, whichever (RANDOMKEY).
    AnyKey,
    /// How many keys a slot has (CLUSTER COUNTKEYSINSLOT).
    SlotCount { slot: u16 },
    /// Some of them (CLUSTER GETKEYSINSLOT).
    SlotKeys { slot: u16, keys_max: u32 },
    /// All keys, with what is known of their items (`lru_crawler metadump` and its like).
    Dump(Dump),
    /// Clients; the echo is the request, which says of whom.
    Clients(OfClients),
}

/// What is done with the clients that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfClients {
    /// The one that asks is told of (CLIENT INFO).
    Own,
    /// All are told of (CLIENT LIST).
    List,
    /// So they are, in the words of `stats conns`.
    Stats,
    /// They are closed, and counted (CLIENT KILL).
    Kill,
    /// The one is closed (CLIENT KILL with nothing but an address).
    KillOne,
}

/// Why a walk has ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotWalked {
    /// More was found than is gathered.
    TooMuch,
    /// The pattern takes too many steps.
    Pattern,
}
