//! Who may come in: users and their passwords.
//!
//! A password is compared in the same time whatever it is and whatever was given, so that the time of a refusal tells nothing of it: both
//! are padded to [`PASSWORD_BYTES_MAX`], and all users are looked at. What is compared are the words themselves, not hashes of them:
//! the server has to be given the password in the clear at each start anyway.

use std::fmt;
use subtle::{Choice, ConstantTimeEq};

/// Longest user name and longest password, bytes.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Most users.
pub const USERS_MAX: usize = 64;
/// Who a client is that names nobody.
pub const DEFAULT_USER: &str = "default";

/// Users and their passwords; none: whoever reaches the server is let in.
#[derive(Clone, Default)]
pub struct Users(Vec<User>);

#[derive(Clone)]
struct User {
    user: Padded,
    password: Padded,
}

/// Why a user cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    #[error("the password is empty")]
    Empty,
    #[error("a user or password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    #[error("there are more than {USERS_MAX} users")]
    TooMany,
}

impl Users {
    /// Adds one. A user may have several passwords.
    ///
    /// # Errors
    /// See [`BadUser`].
    pub fn add(&mut self, user: &[u8], password: &[u8]) -> Result<(), BadUser> {
        if password.is_empty() {
            return Err(BadUser::Empty);
        }
        if self.0.len() >= USERS_MAX {
            return Err(BadUser::TooMany);
        }
        let [user, password] = [user, password].map(|word| Padded::new(word).ok_or(BadUser::TooLong));
        self.0.push(User { user: user?, password: password? });
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of them is this.
    pub fn admit(&self, user: &[u8], password: &[u8]) -> bool {
        let [Some(user), Some(password)] = [user, password].map(Padded::new) else { return false };
        let is = |known: &User| known.user.ct_eq(&user) & known.password.ct_eq(&password);
        self.0.iter().fold(Choice::from(0), |found, known| found | is(known)).into()
    }
}

/// Nothing of it belongs into a log.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.0.len())
    }
}

/// A word, and zeros behind it.
#[derive(Clone)]
struct Padded {
    bytes: [u8; PASSWORD_BYTES_MAX],
    len: u64,
}

impl Padded {
    /// `None`: it is too long.
    fn new(word: &[u8]) -> Option<Padded> {
        let mut bytes = [0; PASSWORD_BYTES_MAX];
        bytes.get_mut(..word.len())?.copy_from_slice(word);
        Some(Padded { bytes, len: word.len() as u64 })
    }

    fn ct_eq(&self, other: &Padded) -> Choice {
        self.bytes.as_slice().ct_eq(&other.bytes) & self.len.ct_eq(&other.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_let_in_with_a_password_of_its_own_and_no_other() {
        let mut users = Users::default();
        assert!(users.is_empty() && !users.admit(b"default", b""));
        for (user, password) in [(&b"default"[..], &b"secret"[..]), (b"app", b"other"), (b"app", b"next\0")] {
            users.add(user, password).unwrap();
        }
        for (user, password, admitted) in [
            (&b"default"[..], &b"secret"[..], true),
            (b"app", b"other", true),
            (b"app", b"next\0", true),
            (b"app", b"next", false),
            (b"app", b"secret", false),
            (b"default", b"secre", false),
            (b"default", b"secret\0", false),
            (b"default\0", b"secret", false),
            (b"default", b"", false),
            (b"default", &[b'x'; PASSWORD_BYTES_MAX + 1], false),
        ] {
            assert_eq!(users.admit(user, password), admitted, "{}", password.escape_ascii());
        }
    }

    #[test]
    fn what_can_be_no_user_is_refused_and_none_is_shown() {
        let mut users = Users::default();
        assert_eq!(users.add(b"default", b""), Err(BadUser::Empty));
        assert_eq!(users.add(b"default", &[b'x'; PASSWORD_BYTES_MAX + 1]), Err(BadUser::TooLong));
        for _ in 0..USERS_MAX {
            users.add(b"default", &[b'x'; PASSWORD_BYTES_MAX]).unwrap();
        }
        assert_eq!(users.add(b"default", b"x"), Err(BadUser::TooMany));
        assert_eq!(format!("{users:?}"), "64 users");
    }
}
