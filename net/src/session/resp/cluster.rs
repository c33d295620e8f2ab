//! CLUSTER: each shard is what Redis Cluster calls a node.

use super::call::Call;
use super::client::Client;
use super::error::Error;
use super::keyspace;
use super::local::{LocalCall, Subcommand};
use crate::session::context::ServerView;
use crate::session::part::Part;
use crate::session::walk::Over;
use std::fmt::Write;
use torc_proto::resp::compose::{self, Version};
use torc_proto::slot::{SLOTS, slot_of};

pub(super) fn cluster(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if !call.is_cluster() {
        return compose::error(out, DISABLED);
    }
    if let Some(run) = call.subcommand(CLUSTER, out) {
        run(client, call, out);
    }
}

const DISABLED: &[u8] = b"ERR This instance has cluster support disabled";

/// READONLY and its like: every shard is a primary, and no slot is on the move.
pub(super) fn accepted(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    match call.is_cluster() {
        true => compose::simple(out, "OK"),
        false => compose::error(out, DISABLED),
    }
}

const CLUSTER: &[Subcommand] = &[
    Subcommand { name: "slots", run: slot_ranges },
    Subcommand { name: "shards", run: shards },
    Subcommand { name: "nodes", run: nodes },
    Subcommand { name: "info", run: info },
    Subcommand { name: "myid", run: my_id },
    Subcommand { name: "keyslot", run: key_slot },
    Subcommand { name: "myshardid", run: my_id },
    Subcommand { name: "links", run: |_, _, out| compose::array(out, 0) },
];

fn bulk(out: &mut Vec<u8>, text: &str) {
    compose::bulk(out, text.as_bytes());
}

/// An array of first slot, last slot, and the node: host, port, name, nothing more to tell.
fn slot_ranges(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let server = call.context.server;
    let ranges = server.slot_ranges();
    compose::array(out, ranges.len());
    for (range, shard) in ranges {
        let (host, port) = server.shard_address(shard);
        compose::array(out, 3);
        compose::integer(out, (*range.start()).into());
        compose::integer(out, (*range.end()).into());
        compose::array(out, 4);
        bulk(out, &host);
        compose::integer(out, port.into());
        bulk(out, &server.node_id(shard));
        compose::map(out, 0, client.version);
    }
}

fn shards(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let server = call.context.server;
    compose::array(out, server.shard_count().into());
    for shard in 0..server.shard_count() {
        compose::map(out, 2, client.version);
        bulk(out, "slots");
        let ranges = ranges_of(server, shard);
        compose::array(out, ranges.len() * 2);
        for (first, last) in ranges {
            compose::integer(out, first.into());
            compose::integer(out, last.into());
        }
        bulk(out, "nodes");
        compose::array(out, 1);
        node(server, shard, client.version, out);
    }
}

fn node(server: &dyn ServerView, shard: u16, version: Version, out: &mut Vec<u8>) {
    let (host, port) = server.shard_address(shard);
    compose::map(out, 7, version);
    bulk(out, "id");
    bulk(out, &server.node_id(shard));
    bulk(out, "port");
    compose::integer(out, port.into());
    for (name, value) in [("ip", &*host), ("endpoint", &*host), ("role", "master")] {
        bulk(out, name);
        bulk(out, value);
    }
    bulk(out, "replication-offset");
    compose::integer(out, 0);
    bulk(out, "health");
    bulk(out, "online");
}

fn ranges_of(server: &dyn ServerView, shard: u16) -> Vec<(u16, u16)> {
    let ranges = server.slot_ranges().into_iter();
    ranges.filter(|(_, owner)| *owner == shard).map(|(range, _)| (*range.start(), *range.end())).collect()
}

/// One line a node: name, address, flags, primary, ping, pong, epoch, link, slots.
fn nodes(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let server = call.context.server;
    let mut text = String::new();
    for shard in 0..server.shard_count() {
        let (host, port) = server.shard_address(shard);
        let flags = if shard == call.node() { "myself,master" } else { "master" };
        let (id, epoch) = (server.node_id(shard), server.slot_epoch());
        // Writing to a String cannot fail.
        let _ = write!(text, "{id} {host}:{port}@0 {flags} - 0 0 {epoch} connected");
        for (first, last) in ranges_of(server, shard) {
            let _ = if first == last { write!(text, " {first}") } else { write!(text, " {first}-{last}") };
        }
        text.push('\n');
    }
    compose::verbatim(out, &text, client.version);
}

fn info(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let server = call.context.server;
    let assigned: u32 =
        server.slot_ranges().iter().map(|(range, _)| u32::from(range.end() - range.start()) + 1).sum();
    let (count, epoch) = (server.shard_count(), server.slot_epoch());
    let state = if assigned == u32::from(SLOTS) { "ok" } else { "fail" };
    let text = format!(
        "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\n\
         cluster_slots_ok:{assigned}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
         cluster_known_nodes:{count}\r\ncluster_size:{count}\r\ncluster_current_epoch:{epoch}\r\n\
         cluster_my_epoch:{epoch}\r\n"
    );
    compose::verbatim(out, &text, client.version);
}

fn my_id(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    bulk(out, &call.context.server.node_id(call.node()));
}

fn key_slot(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    compose::integer(out, slot_of(call.word(2)).into());
}

/// Subcommands that look at keys.
pub(super) fn parts<'a>(call: &Call<'_, 'a>, parts: &mut Vec<Part<'a>>) -> Result<bool, Error> {
    let is = |name: &str| call.argument(1).eq_ignore_ascii_case(name.as_bytes());
    let over = match () {
        () if is("COUNTKEYSINSLOT") => Over::SlotCount { slot: slot(call)? },
        () if is("GETKEYSINSLOT") => {
            let slot = slot(call)?;
            let keys_max = u32::try_from(call.integer(3)?).map_err(|_| Error::SlotOrCount)?;
            Over::SlotKeys { slot, keys_max }
        }
        () => return Ok(false),
    };
    keyspace::walk(over, &[], parts);
    Ok(true)
}

fn slot(call: &Call<'_, '_>) -> Result<u16, Error> {
    let slot = u16::try_from(call.integer(2)?).ok().filter(|slot| *slot < SLOTS);
    slot.ok_or(if call.len() == 3 { Error::Slot } else { Error::SlotOrCount })
}
