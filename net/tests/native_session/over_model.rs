//! The cases over the plain model.

use crate::support::model::Model;

type Backing = Model;

fn backing(_now: u64) -> Backing {
    Model::default()
}

#[path = "cases/mod.rs"]
mod cases;
