//! Time-outs of connections.

use super::*;
use crate::session::{Limits, Port, Protocol, Session};
use crate::transport::ConnId;
use crate::transport::sim::{Faults, Network, Sim};
use crate::worker::mail::Mail;
use crate::worker::{BudgetConfig, CoreParts, Settings};
use std::sync::Arc;
use torc_engine::{Shard, ShardConfig};

const NOW: u64 = 1_790_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A shard that closes clients after two silent seconds.
fn core() -> Core {
    let limits = Limits {
        key_bytes_max: 250,
        value_bytes_max: 1 << 20,
        value_bytes_inline: 1000,
        frame_bytes_max: 1000,
        arguments_max: 10,
    };
    let settings = Settings {
        limits,
        listeners: Vec::new(),
        connections_max: 1,
        output_bytes_max: 1000,
        queue_parts_max: 10,
        input_bytes_max: 1000,
        idle_ms_max: 2000,
        slow_ms_max: 2000,
        request_ms_max: 2000,
        drain_ms_max: 2000,
        outcomes_bytes_max: 0,
        budget: BudgetConfig { memory: 16 << 20, clients: 8 << 20, floor: 4 << 20, fixed: 0, lends: false },
    };
    let shard = Shard::new(ShardConfig { now: NOW, ..ShardConfig::new(16 << 20) }).expect("16 MiB");
    let shared = Arc::new(crate::simulation::shared(1));
    let mail = Mail::among(1, u64::MAX).swap_remove(0);
    Core::new(CoreParts { shard, mail, shared, number: 0, settings, now: NOW })
}

/// Once the wall clock would have closed every client that it stepped over.
#[test]
fn a_step_of_the_wall_clock_is_no_silence_of_a_client() {
    let mut core = core();
    let mut transport = Sim::new(Network::new(1, Faults::default(), 100), 0, 1, 100);
    core.begin_turn(0, NOW);
    let id = ConnId { index: 0, generation: 0 };
    core.connections.insert(Connection::new(
        id,
        1,
        Session::new(Some(Protocol::Resp), Port::Common),
        core.ticks,
    ));
    let phase = |core: &mut Core| core.connections.at(0).expect("it is there").phase;
    core.begin_turn(SECOND_NS + SECOND_NS / 2, NOW + 24 * 3600 * 1000);
    core.sweep(&mut transport);
    assert_eq!(phase(&mut core), Phase::Open);
    core.begin_turn(3 * SECOND_NS, NOW + 24 * 3600 * 1000);
    core.sweep(&mut transport);
    assert_eq!(phase(&mut core), Phase::Closing);
}
