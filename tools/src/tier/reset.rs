//! `torc tier reset`: makes a tier hold nothing.

use crate::exit::{self, Failure};
use std::path::Path;
use torc_pmem::format::superblock::Refused;
use torc_pmem::tier::{OpenError, Tier};

pub(super) fn run(path: &Path, is_agreed: bool) -> Result<(), Failure> {
    let medium = super::medium(path)?;
    match Tier::superblock(&*medium) {
        Err(error @ OpenError::Media(_)) => return Err(Failure::failed(error)),
        Err(OpenError::Refused { source: Refused::Empty, .. }) => {
            return exit::print(&format!("{} holds nothing\n", path.display()));
        }
        Err(error @ OpenError::Refused { source: Refused::Foreign, .. }) => {
            return Err(Failure::Failed(format!("{error}, and is left as it is")));
        }
        // What is damaged or of another format is a tier all the same.
        Ok(_) | Err(OpenError::Refused { .. }) => {}
    }
    if !is_agreed {
        let path = path.display();
        return Err(Failure::Usage(format!(
            "everything that {path} holds would be lost: to agree, say --yes"
        )));
    }
    Tier::erase(&*medium).map_err(Failure::failed)?;
    exit::print(&format!("{} holds nothing any more\n", path.display()))
}
