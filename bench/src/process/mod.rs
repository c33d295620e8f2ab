//! Processes of this machine: what they cost, where they run, starting and ending them.

pub mod affinity;
pub mod child;
pub mod machine;
pub mod probe;
pub mod socket_owner;
