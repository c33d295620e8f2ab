//! `torc tier reset`: makes a tier hold nothing.

use crate::exit::{self, Failure};
use std::path::PathBuf;
use torc_pmem::format::superblock::Refused;
use torc_pmem::tier::{OpenError, Tier};

pub(super) fn run(paths: &[PathBuf], is_agreed: bool) -> Result<(), Failure> {
    let names = super::names(paths);
    let medium = super::medium(paths)?;
    match Tier::superblock(&*medium) {
        Err(error @ OpenError::Media(_)) => return Err(Failure::failed(error)),
        Err(OpenError::Refused { source: Refused::Empty, .. }) => {
            return exit::print(&format!("{names} holds nothing\n"));
        }
        Err(error @ OpenError::Refused { source: Refused::Foreign, .. }) => {
            return Err(Failure::Failed(format!("{error}, and is left as it is")));
        }
        Err(error @ OpenError::Refused { source: Refused::Member { .. }, .. }) => {
            return Err(Failure::failed(error));
        }
        // What is damaged or of another format is a tier all the same.
        Ok(_) | Err(OpenError::Refused { .. }) => {}
    }
    if !is_agreed {
        return Err(Failure::Usage(format!(
            "everything that {names} holds would be lost: to agree, say --yes"
        )));
    }
    Tier::erase(&*medium).map_err(Failure::failed)?;
    exit::print(&format!("{names} holds nothing any more\n"))
}
