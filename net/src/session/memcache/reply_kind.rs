//! With which kind of reply a part is answered: plain data that is kept with the part.

use torc_proto::memcache::{Dump, Invalid, MetaFlags, MetaVerb};

/// How a part is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplyKind(pub(super) Kind);

impl ReplyKind {
    /// The commonest command that is answered so.
    pub(in crate::session) fn verb(&self) -> &'static str {
        match self.0 {
            Kind::Item { cas: false, .. } => "get",
            Kind::Item { .. } => "gets",
            Kind::Line(LineKind::Store | LineKind::TooLarge) => "set",
            Kind::Line(LineKind::Delete) => "delete",
            Kind::Line(LineKind::Touch) => "touch",
            Kind::Line(LineKind::Count) => "incr",
            Kind::Line(LineKind::Ok) => "flush_all",
            Kind::Line(LineKind::Version) => "version",
            Kind::Line(LineKind::MetaNoop) => "mn",
            Kind::Meta(reply) | Kind::StreamedMeta(reply) => match reply.verb {
                MetaVerb::Get => "mg",
                MetaVerb::Set => "ms",
                MetaVerb::Delete => "md",
                MetaVerb::Arithmetic => "ma",
                MetaVerb::Debug => "me",
            },
            Kind::Stats(_) | Kind::Connections | Kind::Dump(Dump::Items { .. }) => "stats",
            Kind::Dump(_) => "lru_crawler",
            Kind::MemoryLimit { .. } => "cache_memlimit",
            Kind::Watch => "watch",
            Kind::Shutdown { .. } => "shutdown",
            Kind::Silent | Kind::Invalid(_) | Kind::Denied(_) | Kind::Entered => "other",
        }
    }
}

/// How a part is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Not at all, whatever came of it.
    Silent,
    /// One key of a retrieval; the last one writes `END`.
    Item {
        cas: bool,
        last: bool,
    },
    /// One line that depends on the outcome.
    Line(LineKind),
    Invalid(Invalid),
    Meta(MetaReply),
    /// An `ms` whose value was streamed: the session kept what is to be repeated.
    StreamedMeta(MetaReply),
    Stats(Topic),
    /// `stats conns`
    Connections,
    /// Keys, as they are found.
    Dump(Dump),
    /// `cache_memlimit`
    MemoryLimit {
        megabytes: u32,
        noreply: bool,
    },
    /// `watch`
    Watch,
    /// `shutdown`
    Shutdown {
        is_known: bool,
    },
    /// The client has given no password.
    Denied(Denial),
    /// It has given one.
    Entered,
}

/// Which one-line answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum LineKind {
    Store,
    Delete,
    Touch,
    Count,
    /// `flush_all`, and what changes nothing.
    Ok,
    Version,
    MetaNoop,
    /// The value was too large; the outcome is that of the old item's removal and does not matter.
    TooLarge,
}

/// How a meta command is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MetaReply {
    pub verb: MetaVerb,
    /// `q`: the usual outcome is not said.
    pub quiet: bool,
    /// `b`: the key is given back in base64.
    pub base64: bool,
    /// `v`: with the value.
    pub value: bool,
    /// Append or prepend: a missing item is answered "not stored", not "not found".
    pub joins: bool,
}

impl MetaReply {
    pub(super) fn new(verb: MetaVerb, flags: &MetaFlags) -> MetaReply {
        MetaReply {
            verb,
            quiet: flags.has(b'q'),
            base64: flags.has(b'b'),
            value: flags.has(b'v'),
            joins: verb == MetaVerb::Set && matches!(flags.mode(), Some(b'A' | b'P')),
        }
    }
}

/// Which statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Topic {
    General,
    Settings,
    Items,
    Slabs,
    Sizes,
    Reset,
}

/// Why a client that has given no password is not even looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Denial {
    /// It has sent something else than a `set`.
    Unauthenticated,
    /// The value does not end where its line said.
    Termination,
    /// The value is no two words.
    Words,
}
