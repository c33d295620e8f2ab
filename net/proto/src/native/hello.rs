//! The values of a hello and of its answer (`docs/protocol.md`, section 6).

use super::Invalid;
use super::topology::Reader;

/// What a client says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello {
    pub version_min: u16,
    pub version_max: u16,
    pub features: u32,
    /// 64 random bits of the client's; 0: no session.
    pub session: u64,
    /// The server's boot id when the session began; 0: it begins here.
    pub boot_id: u64,
}

impl Hello {
    /// Bytes that are read and written; a longer value is of a later version ([N-HELLO-2]).
    pub const BYTES: usize = 24;

    pub fn parse(value: &[u8]) -> Result<Hello, Invalid> {
        let mut reader = Reader(value);
        Ok(Hello {
            version_min: reader.u16()?,
            version_max: reader.u16()?,
            features: reader.u32()?,
            session: reader.u64()?,
            boot_id: reader.u64()?,
        })
    }

    /// What the client proves itself by, if the value says so behind the other fields: user and password ([N-AUTH-1]).
    pub fn credentials(value: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut reader = Reader(value.get(Hello::BYTES..)?);
        let (user, password) = (reader.u16().ok()?, reader.u16().ok()?);
        reader.u32().ok()?;
        Some((reader.bytes(user.into()).ok()?, reader.bytes(password.into()).ok()?))
    }

    /// Appends them; what is longer than 65,535 bytes is cut there.
    pub fn compose_credentials(user: &[u8], password: &[u8], out: &mut Vec<u8>) {
        let [user, password] = [user, password].map(|word| &word[..word.len().min(usize::from(u16::MAX))]);
        out.extend_from_slice(&(user.len() as u16).to_le_bytes());
        out.extend_from_slice(&(password.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(user);
        out.extend_from_slice(password);
    }

    pub fn compose(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.session.to_le_bytes());
        out.extend_from_slice(&self.boot_id.to_le_bytes());
    }
}

/// What the server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HelloAnswer {
    pub version: u16,
    /// The shard that serves the connection.
    pub shard: u16,
    pub shard_count: u16,
    pub features: u32,
    /// Changes of a session that may be unanswered: W.
    pub credit: u32,
    pub session: u64,
    pub boot_id: u64,
    pub epoch: u64,
    pub key_bytes_max: u32,
    /// Longest frame without its value, and longest value of a multi-get.
    pub frame_bytes_max: u32,
    pub value_bytes_max: u64,
    /// The server's clock, milliseconds of the Unix epoch.
    pub now_ms: u64,
}

impl HelloAnswer {
    /// Bytes that are read and written.
    pub const BYTES: usize = 64;

    pub fn parse(value: &[u8]) -> Result<HelloAnswer, Invalid> {
        let mut reader = Reader(value);
        let version = reader.u16()?;
        let shard = reader.u16()?;
        let shard_count = reader.u16()?;
        reader.u16()?;
        Ok(HelloAnswer {
            version,
            shard,
            shard_count,
            features: reader.u32()?,
            credit: reader.u32()?,
            session: reader.u64()?,
            boot_id: reader.u64()?,
            epoch: reader.u64()?,
            key_bytes_max: reader.u32()?,
            frame_bytes_max: reader.u32()?,
            value_bytes_max: reader.u64()?,
            now_ms: reader.u64()?,
        })
    }

    /// Where the server's memory is shared, if the answer says so: the path of a Unix socket ([N-SHM-8]).
    pub fn shared_memory_path(value: &[u8]) -> Option<&str> {
        let mut reader = Reader(value.get(HelloAnswer::BYTES..)?);
        let bytes = usize::from(reader.u16().ok()?);
        reader.bytes(6).ok()?;
        std::str::from_utf8(reader.bytes(bytes).ok()?).ok().filter(|path| !path.is_empty())
    }

    /// Appends that path behind the other fields; one over 65,535 bytes is left out.
    pub fn compose_path(path: &str, out: &mut Vec<u8>) {
        let path = if path.len() <= usize::from(u16::MAX) { path.as_bytes() } else { b"" };
        out.extend_from_slice(&(path.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(path);
        out.resize(out.len() + path.len().next_multiple_of(8) - path.len(), 0);
    }

    pub fn compose(&self, out: &mut Vec<u8>) {
        for short in [self.version, self.shard, self.shard_count, 0] {
            out.extend_from_slice(&short.to_le_bytes());
        }
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.credit.to_le_bytes());
        out.extend_from_slice(&self.session.to_le_bytes());
        out.extend_from_slice(&self.boot_id.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.key_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.frame_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.value_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.now_ms.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [N-HELLO-2]
    #[test]
    fn a_longer_value_is_read_and_a_shorter_one_refused() {
        let hello = Hello { version_min: 1, version_max: 3, features: 9, session: 77, boot_id: 5 };
        let mut bytes = Vec::new();
        hello.compose(&mut bytes);
        assert_eq!(bytes.len(), Hello::BYTES);
        assert_eq!(Hello::parse(&bytes[..Hello::BYTES - 1]), Err(Invalid::Layout));
        bytes.extend_from_slice(b"of a later version");
        assert_eq!(Hello::parse(&bytes), Ok(hello));
    }

    /// [N-AUTH-1]
    #[test]
    fn credentials_stand_behind_the_fields_or_are_none() {
        let mut bytes = Vec::new();
        Hello::default().compose(&mut bytes);
        assert_eq!(Hello::credentials(&bytes), None);
        Hello::compose_credentials(b"app", b"a secret", &mut bytes);
        assert_eq!(Hello::parse(&bytes), Ok(Hello::default()));
        assert_eq!(Hello::credentials(&bytes), Some((&b"app"[..], &b"a secret"[..])));
        assert!((0..bytes.len()).all(|end| Hello::credentials(&bytes[..end]).is_none()));
    }

    #[test]
    fn an_answer_has_its_length_and_survives_the_wire() {
        let answer = HelloAnswer {
            version: 1,
            shard: 2,
            shard_count: 4,
            features: 0,
            credit: 256,
            session: u64::MAX,
            boot_id: 6,
            epoch: 7,
            key_bytes_max: 250,
            frame_bytes_max: 1 << 16,
            value_bytes_max: 64 << 20,
            now_ms: 1_790_000_000_000,
        };
        let mut bytes = Vec::new();
        answer.compose(&mut bytes);
        assert_eq!(bytes.len(), HelloAnswer::BYTES);
        assert_eq!(HelloAnswer::parse(&bytes), Ok(answer));
        assert_eq!(HelloAnswer::parse(&bytes[..63]), Err(Invalid::Layout));
        assert_eq!(HelloAnswer::shared_memory_path(&bytes), None);
        HelloAnswer::compose_path("/run/torc.sock", &mut bytes);
        assert_eq!(HelloAnswer::parse(&bytes), Ok(answer));
        assert_eq!(HelloAnswer::shared_memory_path(&bytes), Some("/run/torc.sock"));
        let whole = HelloAnswer::BYTES + 8 + "/run/torc.sock".len();
        assert!((0..whole).all(|end| HelloAnswer::shared_memory_path(&bytes[..end]).is_none()));
    }
}
