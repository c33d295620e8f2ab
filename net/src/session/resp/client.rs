//! What HELLO and CLIENT have settled with a client: how its answers look, and what it is called.

use crate::session::messages::Subscribed;
use crate::session::protocol::Port;
use torc_proto::resp::compose::Version;

/// A client as its answers know it.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub port: Port,
    pub version: Version,
    /// That what is answered now is about.
    pub database: u16,
    /// It has to give a password first.
    pub is_locked: bool,
    pub mute: Option<Mute>,
    /// `None`: to nothing.
    pub subscribed: Option<Box<Subscribed>>,
    /// What is answered now is part of a transaction's answer.
    pub in_transaction: bool,
    /// The answer behind that of the transaction is not wanted.
    pub skips_next: bool,
    /// It has just asked for answers, which is answered even where the answer would be skipped.
    pub is_heard: bool,
    /// A queued command is for another shard.
    pub is_spoilt: bool,
    pub name: Box<[u8]>,
    pub library_name: Box<[u8]>,
    pub library_version: Box<[u8]>,
}

/// Answers that the client does not want: CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mute {
    /// Until it is turned on again.
    Off,
    /// Of the next command.
    Skip,
}
