//! The device of this machine that connections go over: chosen, opened, and where its queue pairs live.

use crate::Place;
use torc_verbs::device::{Device, Domain};
use torc_verbs::error::VerbsError;
use torc_verbs::seam::{Limits, Verbs};
use torc_verbs::survey;
use torc_verbs::survey::choice::{Choice, NoChoice, Wish, choose};

/// READs that a queue pair answers at a time, and has under way: more of them would not be faster, and each costs the device memory.
const READS_MAX: u8 = 16;

/// Why no device of this machine is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("{0}")]
    NotChosen(#[from] NoChoice),
    /// It was there, and could not be opened.
    #[error("{0}")]
    Verbs(#[from] VerbsError),
}

impl Unavailable {
    /// What may help.
    pub fn cure(&self) -> Option<&'static str> {
        match self {
            Unavailable::NotChosen(NoChoice::NoLibrary(error)) => Some(error.cure()),
            Unavailable::NotChosen(NoChoice::Unusable { why, .. }) => why.cure(),
            Unavailable::NotChosen(NoChoice::NoDevice | NoChoice::NoSuchDevice) => None,
            Unavailable::Verbs(error) => error.cure(),
        }
    }

    /// Whether it stays so for as long as this process runs.
    pub fn is_final(&self) -> bool {
        matches!(self, Unavailable::NotChosen(NoChoice::NoLibrary(_)))
    }
}

/// An opened device with a protection domain. Clones are the same; it is closed with the last of them and all that was made of it.
#[derive(Debug, Clone)]
pub struct Local {
    pub device: Device,
    pub domain: Domain,
    pub place: Place,
    /// What was chosen: names for people, and the NUMA node.
    pub choice: Choice,
}

impl Local {
    /// Looks at the devices of this machine and opens the one that fits best. It takes some milliseconds.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn open(wish: &Wish, traffic_class: u8) -> Result<Local, Unavailable> {
        let choice = choose(&survey::here(), wish)?;
        let device = Device::open(&choice.device)?;
        let domain = device.domain()?;
        let place = place(&choice, &device.limits(), traffic_class);
        Ok(Local { device, domain, place, choice })
    }

    /// Whether the port still has the address that peers know.
    pub fn has_its_gid(&self) -> bool {
        self.device.gid(self.place.port, self.place.gid_index) == Ok(self.place.gid)
    }

    /// Another domain of the same device: for others than those who may use what is registered in this one.
    ///
    /// # Errors
    /// The device has no more of them, or is gone.
    pub fn with_own_domain(&self) -> Result<Local, VerbsError> {
        Ok(Local { domain: self.device.domain()?, ..self.clone() })
    }
}

fn place(choice: &Choice, limits: &Limits, traffic_class: u8) -> Place {
    Place {
        port: choice.port,
        gid_index: choice.gid.index,
        gid: choice.gid.gid,
        mtu: choice.mtu,
        reads_in: limits.reads_in.min(READS_MAX),
        reads_out: limits.reads_out.min(READS_MAX),
        traffic_class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    #[test]
    fn a_device_that_is_not_there_is_told_and_not_waited_for() {
        let wish = Wish { device: Some("no-such-device".into()), ..Wish::default() };
        let why = Local::open(&wish, 0).expect_err("there is none of that name");
        assert!(matches!(Cause::from(&why), Cause::Library | Cause::Device), "{why}");
        assert_eq!(why.is_final(), Cause::from(&why) == Cause::Library);
    }
}
