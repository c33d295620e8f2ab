//! Which transport serves: what was asked for, what the kernel allows, and why.

use super::uring;
use std::fmt;
use std::str::FromStr;

/// What was asked for (`--transport`, `TORC_TRANSPORT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransportChoice {
    /// io_uring where it may be used, else epoll.
    #[default]
    Auto,
    /// io_uring or no start.
    Uring,
    Epoll,
}

impl fmt::Display for TransportChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransportChoice::Auto => "auto",
            TransportChoice::Uring => "uring",
            TransportChoice::Epoll => "epoll",
        })
    }
}

impl FromStr for TransportChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(TransportChoice::Auto),
            "uring" => Ok(TransportChoice::Uring),
            "epoll" => Ok(TransportChoice::Epoll),
            _ => Err(format!("'{text}' is no transport; write auto, uring or epoll")),
        }
    }
}

/// The transport that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    Uring,
    /// With the reason: what was asked for, or why io_uring was refused.
    Epoll(String),
}

impl Chosen {
    pub fn name(&self) -> &'static str {
        match self {
            Chosen::Uring => "uring",
            Chosen::Epoll(_) => "epoll",
        }
    }
}

/// Decides, asking the kernel if need be.
///
/// # Errors
/// io_uring was demanded and is refused: the reason, with its cure.
pub fn choose(choice: TransportChoice) -> Result<Chosen, String> {
    match choice {
        TransportChoice::Epoll => Ok(Chosen::Epoll("asked for by --transport".into())),
        TransportChoice::Uring => uring::probe().map(|()| Chosen::Uring),
        TransportChoice::Auto => Ok(match uring::probe() {
            Ok(()) => Chosen::Uring,
            Err(reason) => Chosen::Epoll(reason),
        }),
    }
}

/// Why a transport cannot wait for a small batch (`--min-wait`), if it cannot.
pub fn without_min_wait(chosen: &Chosen) -> Option<&'static str> {
    match chosen {
        Chosen::Epoll(_) => Some("epoll cannot do it"),
        Chosen::Uring if uring::has_min_wait() => None,
        Chosen::Uring => Some("it needs Linux 6.12"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_written_as_they_are_read() {
        for choice in [TransportChoice::Auto, TransportChoice::Uring, TransportChoice::Epoll] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("tcp".parse::<TransportChoice>().unwrap_err().contains("tcp"));
    }

    #[test]
    fn epoll_needs_no_probe() {
        assert!(matches!(choose(TransportChoice::Epoll), Ok(Chosen::Epoll(_))));
    }
}
