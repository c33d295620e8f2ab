//! `--shared-memory` and what belongs to it.

use super::{ConfigError, Reader, switch};
use torc_net::server::{Endpoint, Listen, SharedMemory};
use torc_net::session::Protocol;

/// Bytes of a ring.
const RING_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=64 << 20;

impl Reader<'_> {
    pub(super) fn shared_memory(&mut self, listen: &[Listen]) -> Result<Option<SharedMemory>, ConfigError> {
        let is_on = self.one("shared-memory", switch, bool::to_string)?;
        let users = self.users()?;
        let ring_bytes = self.size("shared-memory-ring-bytes", *RING_BYTES.start(), *RING_BYTES.end())?;
        if !ring_bytes.is_power_of_two() {
            return Err(self.error("shared-memory-ring-bytes", "is no power of two"));
        }
        let reads = self.one("shared-memory-reads", switch, bool::to_string)?;
        if !is_on {
            return Ok(None);
        }
        let serves = |entry: &Listen| {
            matches!(entry.endpoint, Endpoint::Unix(_))
                && matches!(entry.protocol, None | Some(Protocol::Native))
        };
        if !listen.iter().any(serves) {
            let reason = "needs a Unix socket that speaks the native protocol; add one, as in --listen unix:/run/torc.sock";
            return Err(self.error("shared-memory", reason));
        }
        Ok(Some(SharedMemory { users, ring_bytes: ring_bytes as usize, reads }))
    }

    fn users(&mut self) -> Result<Vec<u32>, ConfigError> {
        const NAME: &str = "shared-memory-users";
        let mut users = Vec::new();
        for text in &self.texts[NAME].texts {
            match text.trim() {
                "own" => users.extend(SharedMemory::default().users),
                number => match number.parse() {
                    Ok(user) => users.push(user),
                    Err(_) => {
                        return Err(
                            self.error(NAME, "names no user; write own, or a number as id -u prints it")
                        );
                    }
                },
            }
        }
        let shown: Vec<String> = users.iter().map(u32::to_string).collect();
        self.note(NAME, shown.join(","), "");
        Ok(users)
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{self, Size};
    use super::*;

    #[test]
    fn the_default_of_a_ring_is_allowed() {
        let setting = super::super::settings::setting("shared-memory-ring-bytes").unwrap();
        let Size(bytes) = value::size(setting.default).unwrap();
        assert!(RING_BYTES.contains(&bytes) && bytes.is_power_of_two());
        assert_eq!(bytes as usize, SharedMemory::default().ring_bytes);
    }
}
