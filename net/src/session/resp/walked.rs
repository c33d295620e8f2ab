//! What was found in all shards, in the words of the command that asked.

use super::reply_kind::Kind;
use crate::session::walk::{OfClients, Over};
use torc_engine::words;
use torc_proto::resp::compose::{self, Version};

pub(super) fn write(kind: Kind, (count, found): (u64, &[u8]), version: Version, out: &mut Vec<u8>) {
    let Kind::Walked(over) = kind else { return };
    match over {
        Over::Keys | Over::SlotKeys { .. } | Over::Dump(_) => {
            compose::array(out, words::each(found).count());
            words::each(found).for_each(|key| compose::bulk(out, key));
        }
        Over::AnyKey => match words::each(found).next() {
            Some(key) => compose::bulk(out, key),
            None => compose::null(out, version),
        },
        Over::Clients(OfClients::Own | OfClients::List | OfClients::Stats) => {
            compose::verbatim(out, &String::from_utf8_lossy(found), version);
        }
        Over::Clients(OfClients::KillOne) if count == 0 => compose::error(out, b"ERR No such client"),
        Over::Clients(OfClients::KillOne) => compose::simple(out, "OK"),
        Over::Count | Over::SlotCount { .. } | Over::Clients(OfClients::Kill) => {
            compose::integer(out, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
