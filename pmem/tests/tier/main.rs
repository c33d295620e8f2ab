//! A whole tier on the simulated medium: what may be found after a crash, after damage, and after a call that failed.

mod copy;
mod crash;
mod damage;
mod dax;
mod failing;
mod journal;
mod leftover;
mod members;
mod model;
mod script;
mod snapshot;
mod spaces;
mod survey;
