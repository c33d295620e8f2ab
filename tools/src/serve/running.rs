//! The server, as `torc serve` sees it: the one place that knows `torc-net`.

use crate::admin::Family;
use crate::config::Config;
use crate::exit::Failure;

/// A server that has bound everything.
pub(super) struct Running {
    listen: Vec<String>,
}

impl Running {
    pub(super) fn start(config: &Config) -> Result<Running, Failure> {
        let listen = config.listen.iter().map(ToString::to_string).collect();
        Ok(Running { listen })
    }

    pub(super) fn listen(&self) -> &[String] {
        &self.listen
    }

    pub(super) fn shard_listen(&self) -> &[String] {
        &[]
    }

    pub(super) fn shards(&self) -> u16 {
        0
    }

    pub(super) fn transport(&self) -> &'static str {
        "none"
    }

    pub(super) fn transport_and_why(&self) -> String {
        String::new()
    }

    pub(super) fn families(&self) -> Vec<Family> {
        Vec::new()
    }

    pub(super) fn drain_and_join(&self) {}
}
