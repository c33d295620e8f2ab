//! Answers about the server: hello, topology, statistics. Never on the path of a get; these may allocate.

use super::compose;
use super::reply_kind::ReplyKind;
use super::told::{CREDIT, LimitsTold};
use crate::session::answer::{Answer, AttachRefusal, PairRefusal, Shares};
use crate::session::context::{ComposeContext, ServerView};
use crate::session::output::Output;
use std::fmt::Write;
use torc_proto::native::attach::{FEATURE_SHARED_MEMORY, LAYOUT};
use torc_proto::native::pair::FEATURE_RDMA;
use torc_proto::native::{
    Attached, Hello, HelloAnswer, PairEnd, ShardAddress, SlotRange, Status, Topology, VERSION,
};
use torc_shm::{Pair, WORDS_BYTES};

/// The figures of the section `figures`; each is a name of [`ServerView::figure`].
pub(crate) const FIGURES: [&str; 12] = [
    "requests",
    "hits",
    "misses",
    "stores",
    "deletes",
    "evictions",
    "expirations",
    "connections",
    "connections_total",
    "bytes_used",
    "bytes_limit",
    "refusals",
];

pub(super) fn hello(
    reply: &ReplyKind,
    hello: &Hello,
    limits: &LimitsTold,
    context: &ComposeContext<'_>,
    out: &mut Output,
) {
    let server = context.server;
    let path = server.shared_memory_path().filter(|_| hello.features & FEATURE_SHARED_MEMORY != 0);
    let rdma = server.has_rdma() && hello.features & FEATURE_RDMA != 0;
    let answer = HelloAnswer {
        version: VERSION,
        shard: server.shard(),
        shard_count: server.shard_count(),
        features: if path.is_some() { FEATURE_SHARED_MEMORY } else { 0 }
            | if rdma { FEATURE_RDMA } else { 0 },
        credit: CREDIT,
        session: hello.session,
        boot_id: server.boot_id(),
        epoch: server.slot_epoch(),
        key_bytes_max: limits.key_bytes_max as u32,
        frame_bytes_max: u32::try_from(limits.frame_bytes_max).unwrap_or(u32::MAX),
        value_bytes_max: limits.value_bytes_max,
        now_ms: context.now,
    };
    let mut value = Vec::with_capacity(HelloAnswer::BYTES);
    answer.compose(&mut value);
    path.iter().for_each(|path| HelloAnswer::compose_path(path, &mut value));
    compose::small(reply, Status::Ok, &value, out);
}

pub(super) fn topology(reply: &ReplyKind, server: &dyn ServerView, out: &mut Output) {
    let ranges = server
        .slot_ranges()
        .into_iter()
        .map(|(slots, shard)| SlotRange { first: *slots.start(), last: *slots.end(), shard })
        .collect();
    let shards = (0..server.shard_count())
        .map(|shard| {
            let (host, port) = server.shard_address(shard);
            ShardAddress { shard, port, host }
        })
        .collect();
    let map = Topology { epoch: server.slot_epoch(), boot_id: server.boot_id(), ranges, shards };
    let mut value = Vec::new();
    map.compose(&mut value);
    compose::small(reply, Status::Ok, &value, out);
}

/// Where the rings lie, or why there are none ([N-SHM-1], [N-SHM-2]).
pub(super) fn attach(reply: &ReplyKind, answer: &Answer<'_>, context: &ComposeContext<'_>, out: &mut Output) {
    let (status, words) = match answer {
        &Answer::Attach(Ok(Shares { ring_bytes, reads })) => {
            let server = context.server;
            let mut descriptors = Pair::descriptors(server.shard(), ring_bytes, ring_bytes);
            descriptors.extend(reads.then(|| server.readable()).into_iter().flatten());
            let attached = Attached {
                layout: LAYOUT,
                boot_id: server.boot_id(),
                words_bytes: WORDS_BYTES as u32,
                request_ring_bytes: ring_bytes as u64,
                answer_ring_bytes: ring_bytes as u64,
                descriptors,
            };
            let mut value = Vec::new();
            attached.compose(&mut value);
            return compose::small(reply, Status::Ok, &value, out);
        }
        Answer::Attach(Err(AttachRefusal::NotLocal)) => {
            (Status::NotSupported, "memory is shared over a Unix socket alone")
        }
        Answer::Attach(Err(AttachRefusal::User)) => {
            (Status::NotSupported, "memory is not shared with this user: see --shared-memory-users")
        }
        Answer::Attach(Err(AttachRefusal::Already)) => (Status::BadArgument, "this connection is attached"),
        // As for every limit: its name.
        Answer::Attach(Err(AttachRefusal::Memory)) => (Status::Busy, "client-memory"),
        Answer::Attach(Err(AttachRefusal::Kernel)) => {
            (Status::NotSupported, "the server's kernel refused shared memory")
        }
        Answer::DeadlineExceeded => (Status::DeadlineExceeded, ""),
        _ => (Status::NotSupported, "this server shares no memory: see --shared-memory"),
    };
    compose::small(reply, status, words.as_bytes(), out);
}

/// The server's end of a queue pair, or why there is none ([N-RDMA-2], [N-RDMA-3]).
pub(super) fn pair(reply: &ReplyKind, answer: &Answer<'_>, out: &mut Output) {
    if let Answer::Pair(Ok(end)) = answer {
        let mut value = Vec::with_capacity(PairEnd::BYTES);
        end.compose(&mut value);
        return compose::small(reply, Status::Ok, &value, out);
    }
    not_paired(reply, answer, out);
}

/// What may be read of this shard, or why nothing.
pub(super) fn reads(reply: &ReplyKind, answer: &Answer<'_>, out: &mut Output) {
    match answer {
        Answer::Reads(Ok(value)) => compose::small(reply, Status::Ok, value, out),
        Answer::Reads(Err(PairRefusal::Off)) => {
            let words = b"this shard is not read by RDMA: see --rdma-reads";
            compose::small(reply, Status::NotSupported, words, out);
        }
        &Answer::Reads(Err(why)) => not_paired(reply, &Answer::Pair(Err(why)), out),
        other => not_paired(reply, other, out),
    }
}

fn not_paired(reply: &ReplyKind, answer: &Answer<'_>, out: &mut Output) {
    let (status, words) = match answer {
        Answer::Pair(Err(PairRefusal::Gone)) => {
            (Status::NotSupported, "the server's RDMA device is gone, for now")
        }
        Answer::Pair(Err(PairRefusal::Already)) => {
            (Status::BadArgument, "this connection is paired, or attached")
        }
        // As for every limit: its name.
        Answer::Pair(Err(PairRefusal::Full)) => (Status::Busy, "rdma-clients"),
        Answer::Pair(Err(PairRefusal::TooMany)) => (Status::Busy, "rdma-pairs"),
        Answer::Pair(Err(PairRefusal::TooOften)) => (Status::Busy, "rdma-pairings"),
        Answer::Pair(Err(PairRefusal::Memory)) => (Status::Busy, "client-memory"),
        Answer::Pair(Err(PairRefusal::Version)) => {
            (Status::UnsupportedVersion, "this server speaks version 1 of the messages over RDMA")
        }
        Answer::Pair(Err(PairRefusal::Peer)) => {
            (Status::BadArgument, "no queue pair can be connected with what the client tells of its own")
        }
        Answer::Pair(Err(PairRefusal::Device)) => {
            (Status::NotSupported, "the server's RDMA device refused a queue pair")
        }
        Answer::DeadlineExceeded => (Status::DeadlineExceeded, ""),
        _ => (Status::NotSupported, "this server has no RDMA: see --rdma"),
    };
    compose::small(reply, status, words.as_bytes(), out);
}

/// Writes one section of the statistics ([N-STAT-1]).
pub(super) fn statistics(reply: &ReplyKind, section: &[u8], context: &ComposeContext<'_>, out: &mut Output) {
    let mut lines = String::new();
    if matches!(section, b"" | b"server") {
        server_lines(context, &mut lines);
    }
    if matches!(section, b"" | b"figures") {
        for name in FIGURES {
            line(&mut lines, name, context.server.figure(name));
        }
    }
    if section == b"hotkeys" {
        let (keys, total) = context.server.observed().map(|observed| observed.hot_keys()).unwrap_or_default();
        line(&mut lines, "sampled", total);
        for hot in keys {
            let (key, count, database) = (hot.key.escape_ascii(), hot.count, hot.database);
            line(&mut lines, &key.to_string().replace(' ', "\\x20"), format_args!("{count} {database}"));
        }
    }
    let status = if lines.is_empty() { Status::Miss } else { Status::Ok };
    compose::small(reply, status, lines.as_bytes(), out);
}

fn server_lines(context: &ComposeContext<'_>, lines: &mut String) {
    let server = context.server;
    line(lines, "version", env!("CARGO_PKG_VERSION"));
    line(lines, "transport", server.transport());
    line(lines, "boot_id", format_args!("{:016x}", server.boot_id()));
    line(lines, "uptime_ms", context.now.saturating_sub(server.started_at()));
    line(lines, "shards", server.shard_count());
    line(lines, "shard", server.shard());
    line(lines, "epoch", server.slot_epoch());
    line(lines, "items", server.items());
}

fn line(lines: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(lines, "{name} {value}");
}
