//! The native session before the plain model and before a real shard: the same cases hold for both.

#![allow(clippy::duplicate_mod, reason = "the cases are compiled over each store")]

#[path = "../support/mod.rs"]
mod support;

mod over_model;
mod over_shard;
