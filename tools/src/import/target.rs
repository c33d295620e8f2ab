//! Where an import goes.

use super::{Item, Told};
use crate::cli::stream;
use crate::exit::Failure;
use std::time::Duration;
use torc_bench::LoginArgs;
use torc_client::{Changed, Client, Config, Credentials, Done, Error, Expiry};

/// A server that gets items.
pub(super) struct Target {
    client: Client,
    /// What it has stays.
    keeps: bool,
}

impl Target {
    pub(super) fn connect(
        server: &str,
        login: &LoginArgs,
        keeps: bool,
        timeout: Duration,
    ) -> Result<Target, Failure> {
        // The library tries again for as long as a request may take; whoever waits wants to know at once.
        drop(stream::connect(server, timeout)?);
        let mut config = Config::new(server.strip_prefix("tcp://").unwrap_or(server));
        let login = login.read().map_err(Failure::Failed)?;
        config.credentials = login.map(|(user, password)| Credentials { user, password });
        (config.timeout, config.connect_timeout) = (timeout, timeout);
        config.name = "torc-import".into();
        let client = Client::with(config).map_err(Failure::failed)?;
        client.ping().wait().map_err(|error| Failure::Failed(format!("{server}: {error}")))?;
        Ok(Target { client, keeps })
    }

    /// Writes items, and counts what came of them. What the server does not take by its limits is counted; all else ends the import.
    pub(super) fn write(&self, items: Vec<Item>, told: &mut Told) -> Result<(), Failure> {
        let mut pending = Vec::with_capacity(items.len());
        for Item { key, value, flags, ttl_ms } in items {
            let bytes = value.len() as u64;
            let set = self.client.set(key, value).flags(flags);
            let set = set.expiry(ttl_ms.map_or(Expiry::Never, Expiry::In));
            let set = if self.keeps { set.add() } else { set };
            pending.push((set.send(), bytes));
        }
        for (answer, bytes) in pending {
            match answer.wait() {
                Ok(Changed { done: Done::NotStored, .. }) => told.kept += 1,
                Ok(_) => {
                    told.items += 1;
                    told.bytes += bytes;
                }
                Err(Error::Refused { .. } | Error::TooLong(_)) => told.refused += 1,
                Err(error) => return Err(Failure::Failed(format!("the server: {error}"))),
            }
        }
        Ok(())
    }
}
