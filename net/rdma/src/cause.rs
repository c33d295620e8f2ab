//! Why a connection is not, or no longer, over RDMA: in one word each, for counters.

use crate::{Broken, Refused, Unavailable};
use torc_verbs::completion::Failure;
use torc_verbs::error::VerbsError;
use torc_verbs::survey::NotOpened;
use torc_verbs::survey::choice::{NoChoice, Unusable};

/// What a connection goes over TCP for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// This machine has no libibverbs, or too old a one.
    Library,
    /// It has no device, or not the one that was asked for.
    Device,
    /// The library has no driver for it.
    Driver,
    /// It may not be opened.
    Permission,
    /// Its port is not up, or went down.
    Link,
    /// It has no GID that can be used, or lost it.
    Gid,
    Mtu,
    /// Too little memory may be locked.
    Memlock,
    /// Another call of verbs failed, or the device did.
    Verbs,
    /// The other side does not want to, or has no more queue pairs to give.
    Refused,
    /// The other side told of something that cannot be.
    Protocol,
    /// Nothing came back in time: the path carries no packets of RDMA, or the other side is gone.
    NoAnswer,
    /// The queue pair failed.
    Pair,
    /// The other side ended the connection.
    Ended,
}

impl Cause {
    pub const ALL: [Cause; 14] = [
        Cause::Library,
        Cause::Device,
        Cause::Driver,
        Cause::Permission,
        Cause::Link,
        Cause::Gid,
        Cause::Mtu,
        Cause::Memlock,
        Cause::Verbs,
        Cause::Refused,
        Cause::Protocol,
        Cause::NoAnswer,
        Cause::Pair,
        Cause::Ended,
    ];

    /// As counters have it.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Library => "library",
            Cause::Device => "device",
            Cause::Driver => "driver",
            Cause::Permission => "permission",
            Cause::Link => "link",
            Cause::Gid => "gid",
            Cause::Mtu => "mtu",
            Cause::Memlock => "memlock",
            Cause::Verbs => "verbs",
            Cause::Refused => "refused",
            Cause::Protocol => "protocol",
            Cause::NoAnswer => "no_answer",
            Cause::Pair => "pair",
            Cause::Ended => "ended",
        }
    }
}

impl From<&VerbsError> for Cause {
    fn from(error: &VerbsError) -> Cause {
        match (error.call, error.errno) {
            ("ibv_reg_mr", libc::ENOMEM) => Cause::Memlock,
            ("ibv_open_device", libc::EACCES | libc::EPERM) => Cause::Permission,
            (_, libc::ENODEV) => Cause::Device,
            _ => Cause::Verbs,
        }
    }
}

impl From<&NoChoice> for Cause {
    fn from(why: &NoChoice) -> Cause {
        let NoChoice::Unusable { why, .. } = why else {
            return if matches!(why, NoChoice::NoLibrary(_)) { Cause::Library } else { Cause::Device };
        };
        match why {
            Unusable::NotOpened(NotOpened::NoLibrary(_)) => Cause::Library,
            Unusable::NotOpened(NotOpened::NoDriver) => Cause::Driver,
            Unusable::NotOpened(NotOpened::Refused(error)) | Unusable::NotAsked(error) => error.into(),
            Unusable::LinkDown(_) | Unusable::NotEthernet(_) => Cause::Link,
            Unusable::Mtu => Cause::Mtu,
            Unusable::NoGid | Unusable::GidKind { .. } | Unusable::NoSuchGid(_) => Cause::Gid,
            Unusable::Memlock { .. } => Cause::Memlock,
        }
    }
}

impl From<&Unavailable> for Cause {
    fn from(why: &Unavailable) -> Cause {
        match why {
            Unavailable::NotChosen(why) => why.into(),
            Unavailable::Verbs(error) => error.into(),
        }
    }
}

impl From<&Refused> for Cause {
    fn from(why: &Refused) -> Cause {
        match why {
            Refused::Version | Refused::Impossible => Cause::Protocol,
            Refused::Verbs(error) => error.into(),
        }
    }
}

impl From<&Broken> for Cause {
    fn from(why: &Broken) -> Cause {
        match why {
            Broken::Failed(Failure::NoAnswer) | Broken::Silent => Cause::NoAnswer,
            Broken::Failed(_) | Broken::Lost => Cause::Pair,
            Broken::Gone => Cause::Link,
            Broken::Verbs(error) => error.into(),
            Broken::Message | Broken::Credits | Broken::Room | Broken::Flooded | Broken::Completion => {
                Cause::Protocol
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_name_of_its_own_for_a_counter() {
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, at, "counters go by the number");
            assert!(cause.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(Cause::ALL[..at].iter().all(|other| other.name() != cause.name()));
        }
    }

    #[test]
    fn what_may_be_cured_is_told_apart() {
        let error = |call, errno| VerbsError { call, errno };
        for (error, cause) in [
            (error("ibv_reg_mr", libc::ENOMEM), Cause::Memlock),
            (error("ibv_create_qp", libc::ENOMEM), Cause::Verbs),
            (error("ibv_open_device", libc::EACCES), Cause::Permission),
            (error("ibv_open_device", libc::ENODEV), Cause::Device),
        ] {
            assert_eq!(Cause::from(&Refused::Verbs(error)), cause, "{error}");
        }
        let down = Unusable::LinkDown("DOWN".into());
        let down = NoChoice::Unusable { device: "rxe_a".into(), port: 1, why: down };
        assert_eq!(Cause::from(&Unavailable::NotChosen(down)), Cause::Link);
        assert_eq!(Cause::from(&Broken::Failed(Failure::NoAnswer)), Cause::NoAnswer);
    }
}
