//! Time-outs of connections.

use super::*;
use crate::session::{Port, Protocol, Session};
use crate::transport::ConnId;
use crate::transport::sim::{Faults, Network, Sim};
use crate::worker::testing::{NOW, core_of};

const SECOND_NS: u64 = 1_000_000_000;

/// A shard that closes clients after two silent seconds.
fn core() -> Core {
    let mut core = core_of(1);
    let settings = &mut core.settings;
    let times = [
        &mut settings.idle_ms_max,
        &mut settings.slow_ms_max,
        &mut settings.request_ms_max,
        &mut settings.drain_ms_max,
    ];
    times.into_iter().for_each(|ms| *ms = 2000);
    core
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
