//! Processes of this machine: what they cost, where they run, starting and ending them.

pub(crate) mod affinity;
pub(crate) mod child;
pub(crate) mod machine;
pub(crate) mod probe;
pub(crate) mod socket_owner;
