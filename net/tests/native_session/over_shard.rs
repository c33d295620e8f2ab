//! The cases over a real shard.

type Backing = torc_engine::Shard;

fn backing(now: u64) -> Backing {
    crate::support::shard(now)
}

#[path = "cases/mod.rs"]
mod cases;
