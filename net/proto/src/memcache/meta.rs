//! The meta commands: `mg`, `ms`, `md`, `ma`, `me`.
//!
//! ```text
//!   mg <key> <flags>*            ms <key> <bytes> <flags>*  and the value
//!   md <key> <flags>*            ma <key> <flags>*            me <key> [b]
//! ```

use super::bounds::KEY_BYTES_MAX;
use super::flags::MetaFlags;
use super::invalid::Invalid;
use super::key64;
use super::number::length;
use super::request::LineLimits;
use super::words::Words;

/// Which meta command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVerb {
    /// `mg`
    Get,
    /// `ms`
    Set,
    /// `md`
    Delete,
    /// `ma`
    Arithmetic,
    /// `me`
    Debug,
}

/// One meta command, its flags not read yet: see [`Meta::flags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta<'a> {
    pub verb: MetaVerb,
    /// As sent: in base64 with the flag `b`, see [`Meta::decoded_key`].
    pub key: &'a [u8],
    /// The flags section as sent; the answer repeats some of it in its order.
    pub section: &'a [u8],
    /// Length of the value behind an `ms`, which is to be read or skipped whatever the flags are.
    pub bytes: u64,
}

impl<'a> Meta<'a> {
    #[inline]
    pub(super) fn parse(verb: MetaVerb, mut words: Words<'a>, limits: &LineLimits) -> Result<Self, Invalid> {
        let Some((key, plain)) = words.checked() else {
            return Err(if verb == MetaVerb::Debug { Invalid::Format } else { Invalid::Command });
        };
        if !plain || key.len() > limits.key_bytes_max {
            return Err(Invalid::Key);
        }
        let bytes = match verb {
            MetaVerb::Set => words.next().and_then(length).ok_or(Invalid::Format)?,
            _ => 0,
        };
        Ok(Meta { verb, key, section: words.rest(), bytes })
    }

    /// Reads the flags.
    ///
    /// # Errors
    /// An unknown flag, a flag that stands twice, or one whose token is missing or wrong.
    #[inline]
    pub fn flags(&self) -> Result<MetaFlags, Invalid> {
        let flags = MetaFlags::parse(self.section).map_err(|error| said_by(self.verb, error))?;
        match (self.verb, flags.mode()) {
            (MetaVerb::Set, Some(mode)) if !b"EAPRS".contains(&mode) => Err(Invalid::SetMode),
            (MetaVerb::Arithmetic, Some(mode)) if !b"I+D-".contains(&mode) => Err(Invalid::ArithmeticMode),
            _ => Ok(flags),
        }
    }

    /// The key that a command with the flag `b` means, decoded into `buffer`.
    ///
    /// # Errors
    /// It is no base64.
    pub fn decoded_key<'b>(&self, buffer: &'b mut [u8; KEY_BYTES_MAX]) -> Result<&'b [u8], Invalid> {
        key64::decode(self.key, buffer).ok_or(said_by(self.verb, Invalid::Key64))
    }
}

/// memcached has one error for all wrong flags of `md` and `ma`, and one for all of `me`.
fn said_by(verb: MetaVerb, error: Invalid) -> Invalid {
    match (verb, error) {
        (_, Invalid::OpaqueTooLong) => error,
        (MetaVerb::Delete | MetaVerb::Arithmetic, _) => Invalid::FlagOrDuplicate,
        (MetaVerb::Debug, _) => Invalid::Format,
        (MetaVerb::Get | MetaVerb::Set, _) => error,
    }
}
