//! The servers of `restart`, and what each keeps its items by.

use std::{thread, time::Duration};

use super::{
    args::TierArgs,
    disk::Scratch,
    servers::{redis, torc},
};
use crate::{
    error::BenchError,
    lab::{contender::Contender, info, peers},
};

/// memcached begins with nothing if its file seems to be of now, by a clock of whole seconds.
const OLD_ENOUGH: Duration = Duration::from_secs(2);

/// A server, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restarted {
    /// Torc with a tier; SIGKILL under load.
    Tier,
    /// redis-server with an append-only file that is synced every second; SIGKILL under load.
    AppendOnly,
    /// redis-server with a snapshot (RDB) of all items before the load; SIGKILL under load.
    Snapshot,
    /// memcached with its memory in a mapped file. It survives an orderly end alone, by SIGUSR1, after the load.
    MemoryFile,
}

impl Restarted {
    pub(super) const ALL: [Restarted; 4] =
        [Restarted::Tier, Restarted::AppendOnly, Restarted::Snapshot, Restarted::MemoryFile];

    /// Where its files lie in the scratch folder.
    pub(super) fn files(self) -> &'static str {
        match self {
            Restarted::Tier => "restart",
            Restarted::AppendOnly => "redis-everysec",
            Restarted::Snapshot => "redis-snapshot",
            Restarted::MemoryFile => "memcached",
        }
    }

    /// Starts it on what its files hold, if it is installed.
    pub(super) fn start(
        self,
        args: &TierArgs,
        cpu: usize,
        scratch: &Scratch,
    ) -> Result<Option<Contender>, BenchError> {
        let named = |server: Option<Contender>, name: &str| {
            server.map(|mut server| {
                server.name = name.into();
                server
            })
        };
        Ok(match self {
            Restarted::Tier => {
                let file = scratch.file(self.files());
                Some(torc(args, cpu, &file, "interval:1s", "torc, restarted")?)
            }
            Restarted::AppendOnly => named(redis(args, cpu, scratch, "everysec")?, "redis, append-only file"),
            Restarted::Snapshot => {
                let folder = scratch.folder(self.files())?;
                let arguments = ["--dir", &folder, "--appendonly", "no"].map(Into::into);
                named(peers::redis_with(cpu, args.memory_mib, &arguments)?, "redis, snapshot")
            }
            Restarted::MemoryFile => {
                let arguments = ["-e", &scratch.file(self.files())];
                let server = peers::memcached(cpu, args.memory_mib, &arguments)?;
                named(server, "memcached, memory file (ended in order)")
            }
        })
    }

    /// Has it keep what it holds, where that takes a command.
    pub(super) fn keep(self, server: &Contender) -> Result<(), BenchError> {
        if self == Restarted::Snapshot { info::save(&server.address) } else { Ok(()) }
    }

    /// Ends it.
    pub(super) fn end(self, server: Contender) -> Result<(), BenchError> {
        if self == Restarted::MemoryFile {
            server.end_by_usr1()?;
            thread::sleep(OLD_ENOUGH);
            return Ok(());
        }
        server.kill();
        Ok(())
    }
}
