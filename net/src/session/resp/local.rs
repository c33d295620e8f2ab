//! Commands that need no shard: run when their answer is due.

use super::client::Client;
use super::errors;
use super::row::Row;
use super::subcommands::subcommands;
use crate::session::context::ComposeContext;
use crate::session::protocol::Port;
use torc_engine::stats::DatabaseFigures;
use torc_proto::resp::compose;

/// One such command.
pub(super) struct LocalCall<'c> {
    pub row: &'static Row,
    /// The arguments, the name first.
    pub words: Vec<Vec<u8>>,
    pub context: &'c ComposeContext<'c>,
    /// The port by which the client came: it decides whether one shard or the whole server is asked.
    pub port: Port,
    /// Whether the password that the request names was right, if somebody has looked at it.
    pub entered: Option<bool>,
}

impl LocalCall<'_> {
    /// A figure of the shard or server that is asked. Cluster clients add up the shards' figures themselves.
    pub(super) fn figure(&self, name: &str) -> u64 {
        match self.port {
            Port::Common => self.context.server.figure(name),
            Port::Shard => self.context.server.own_figure(name),
        }
    }

    /// The figures of a database, of the shard or server that is asked.
    pub(super) fn database(&self, number: u16) -> DatabaseFigures {
        self.context.server.database(number, self.port == Port::Shard)
    }

    /// The node that is asked. The common port is always node 0, whichever shard has accepted the client.
    pub(super) fn node(&self) -> u16 {
        match self.port {
            Port::Common => 0,
            Port::Shard => self.context.server.shard(),
        }
    }

    /// Whether what is asked is a node of a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.port == Port::Shard || self.context.server.is_cluster()
    }

    /// How HELLO and INFO name that.
    pub(super) fn mode(&self) -> &'static str {
        if self.is_cluster() { "cluster" } else { "standalone" }
    }

    /// An argument; empty beyond the last.
    pub(super) fn word(&self, index: usize) -> &[u8] {
        self.words.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn is(&self, index: usize, name: &str) -> bool {
        self.word(index).eq_ignore_ascii_case(name.as_bytes())
    }

    /// Names the subcommands.
    fn help(&self, out: &mut Vec<u8>) {
        let command = self.row.name.to_uppercase();
        let names = subcommands(self.row.name);
        compose::array(out, names.len() + 2);
        let first = format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        compose::simple(out, &first);
        names.iter().for_each(|name| compose::simple(out, &name.to_uppercase()));
        compose::simple(out, "    HELP prints this help.");
    }

    /// The function of the subcommand that is asked for, if there is one; else its help or the error is written.
    pub(super) fn subcommand(
        &self,
        subcommands: &'static [Subcommand],
        out: &mut Vec<u8>,
    ) -> Option<fn(&mut Client, &LocalCall<'_>, &mut Vec<u8>)> {
        if self.is(1, "help") {
            self.help(out);
            return None;
        }
        let found = subcommands.iter().find(|subcommand| self.is(1, subcommand.name));
        if found.is_none() {
            errors::unknown_subcommand(self.row.name, self.word(1), out);
        }
        found.map(|subcommand| subcommand.run)
    }
}

/// A command within a command. How many arguments it takes is looked at before it is run.
pub(super) struct Subcommand {
    pub name: &'static str,
    pub run: fn(&mut Client, &LocalCall<'_>, &mut Vec<u8>),
}
