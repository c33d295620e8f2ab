//! The flags of a meta command: one letter each, some with a token right behind it.

use super::bounds::OPAQUE_BYTES_MAX;
use super::invalid::Invalid;
use super::number::{signed, unsigned};
use super::words::Words;

/// The flags of one meta command, read. Times are seconds as the client wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaFlags {
    /// One bit a letter: `A` to `Z`, then `a` to `z`.
    present: u64,
    /// The letters that stand before `T`.
    before_ttl: u64,
    /// The letter behind `M`; 0 without the flag.
    mode: u8,
    client_flags: u32,
    ttl: i64,
    vivify: i64,
    recache: i64,
    compare: u64,
    token: u64,
    delta: u64,
    initial: u64,
}

impl MetaFlags {
    const NONE: MetaFlags = MetaFlags {
        present: 0,
        before_ttl: 0,
        mode: 0,
        client_flags: 0,
        ttl: 0,
        vivify: 0,
        recache: 0,
        compare: 0,
        token: 0,
        delta: 1,
        initial: 0,
    };

    /// Reads the flags section. Any flag may stand with any command, as in memcached; those that mean nothing
    /// to it are ignored, and so is what stands behind a flag that takes no token.
    #[inline]
    pub(super) fn parse(section: &[u8]) -> Result<MetaFlags, Invalid> {
        let mut flags = MetaFlags::NONE;
        for word in Words::new(section) {
            let [letter, token @ ..] = word else { continue };
            let bit = bit(*letter).ok_or(Invalid::Flag)?;
            if flags.present & bit != 0 {
                return Err(Invalid::DuplicateFlag);
            }
            if *letter == b'T' {
                flags.before_ttl = flags.present;
            }
            flags.present |= bit;
            flags.take(*letter, token)?;
        }
        Ok(flags)
    }

    #[inline]
    fn take(&mut self, letter: u8, token: &[u8]) -> Result<(), Invalid> {
        match letter {
            b'T' => self.ttl = signed(token).ok_or(Invalid::Token)?,
            b'N' => self.vivify = signed(token).ok_or(Invalid::Token)?,
            b'R' => self.recache = signed(token).ok_or(Invalid::Token)?,
            b'C' => self.compare = unsigned(token).ok_or(Invalid::Token)?,
            b'E' => self.token = unsigned(token).ok_or(Invalid::Token)?,
            b'J' => self.initial = unsigned(token).ok_or(Invalid::Initial)?,
            b'D' => self.delta = unsigned(token).ok_or(Invalid::DeltaFlag)?,
            b'F' => {
                self.client_flags =
                    unsigned(token).and_then(|flags| u32::try_from(flags).ok()).ok_or(Invalid::Format)?;
            }
            b'M' => match token {
                [mode] => self.mode = *mode,
                _ => return Err(Invalid::ModeLength),
            },
            b'O' if token.len() >= OPAQUE_BYTES_MAX => return Err(Invalid::OpaqueTooLong),
            // P and L are proxies' own and mean nothing to a server.
            b'O' | b'P' | b'L' | b'I' | b'b' | b'c' | b'f' | b'h' | b'k' | b'l' | b'q' | b's' | b't'
            | b'u' | b'v' | b'x' => {}
            _ => return Err(Invalid::Flag),
        }
        Ok(())
    }

    #[inline]
    pub fn has(&self, letter: u8) -> bool {
        bit(letter).is_some_and(|bit| self.present & bit != 0)
    }

    /// Whether a flag stands before `T`: flags take effect in their order.
    pub fn is_before_ttl(&self, letter: u8) -> bool {
        bit(letter).is_some_and(|bit| self.before_ttl & bit != 0)
    }

    /// `T`: time to live.
    pub fn ttl(&self) -> Option<i64> {
        self.has(b'T').then_some(self.ttl)
    }

    /// `N`: make an item on a miss, with this time to live.
    pub fn vivify(&self) -> Option<i64> {
        self.has(b'N').then_some(self.vivify)
    }

    /// `R`: a reader that finds less than this to live gets the lease.
    pub fn recache(&self) -> Option<i64> {
        self.has(b'R').then_some(self.recache)
    }

    /// `C`: the token that the item must have.
    pub fn compare(&self) -> Option<u64> {
        self.has(b'C').then_some(self.compare)
    }

    /// `E`: the token that the item shall have.
    pub fn token(&self) -> Option<u64> {
        self.has(b'E').then_some(self.token)
    }

    /// `M`: the mode's letter.
    pub fn mode(&self) -> Option<u8> {
        self.has(b'M').then_some(self.mode)
    }

    /// `F`: the client's own 32 bits, 0 if not given.
    pub fn client_flags(&self) -> u32 {
        self.client_flags
    }

    /// `D`: the step, 1 if not given.
    pub fn delta(&self) -> u64 {
        self.delta
    }

    /// `J`: a new counter's number, 0 if not given.
    pub fn initial(&self) -> u64 {
        self.initial
    }
}

#[inline]
fn bit(letter: u8) -> Option<u64> {
    match letter {
        b'A'..=b'Z' => Some(1 << (letter - b'A')),
        b'a'..=b'z' => Some(1 << (letter - b'a' + 26)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_read() {
        let flags = MetaFlags::parse(
            b"T60 N-1 R30 C5 E18446744073709551615 F4294967295 MI J7 D9 Oab I b c f h k l q s t u v x P1 L2",
        )
        .unwrap();
        assert_eq!((flags.ttl(), flags.vivify(), flags.recache()), (Some(60), Some(-1), Some(30)));
        assert_eq!((flags.compare(), flags.token()), (Some(5), Some(u64::MAX)));
        assert_eq!((flags.client_flags(), flags.mode()), (u32::MAX, Some(b'I')));
        assert_eq!((flags.initial(), flags.delta()), (7, 9));
        assert!(b"TNRCEFMJDOIbcfhklqstuvxPL".iter().all(|letter| flags.has(*letter)));
        assert!(!flags.has(b'Z') && !flags.has(b' '));
    }

    #[test]
    fn flags_before_and_behind_the_time_to_live() {
        let flags = MetaFlags::parse(b"N5 t T60 R30").unwrap();
        assert!(flags.is_before_ttl(b'N') && flags.is_before_ttl(b't'));
        assert!(!flags.is_before_ttl(b'R') && !flags.is_before_ttl(b'T'));
        assert!(!MetaFlags::parse(b"N5 R30").unwrap().is_before_ttl(b'N'));
    }

    #[test]
    fn defaults_without_flags() {
        let flags = MetaFlags::parse(b"  ").unwrap();
        assert_eq!((flags.delta(), flags.initial(), flags.client_flags()), (1, 0, 0));
        assert_eq!((flags.ttl(), flags.mode(), flags.compare()), (None, None, None));
    }

    #[test]
    fn wrong_flags_are_refused_by_name() {
        for (section, error) in [
            ("v v", Invalid::DuplicateFlag),
            ("Z", Invalid::Flag),
            ("1", Invalid::Flag),
            ("\x7f", Invalid::Flag),
            ("T", Invalid::Token),
            ("Nx", Invalid::Token),
            ("R1.5", Invalid::Token),
            ("C-1", Invalid::Token),
            ("E18446744073709551616", Invalid::Token),
            ("F4294967296", Invalid::Format),
            ("M", Invalid::ModeLength),
            ("Mset", Invalid::ModeLength),
            ("J-1", Invalid::Initial),
            ("Dx", Invalid::DeltaFlag),
            ("O01234567890123456789012345678901", Invalid::OpaqueTooLong),
        ] {
            assert_eq!(MetaFlags::parse(section.as_bytes()), Err(error), "{section}");
        }
        assert!(MetaFlags::parse(b"O0123456789012345678901234567890").is_ok());
    }
}
