//! Time-outs of connections.

use super::*;
use crate::session::{Port, Protocol, Session};
use crate::transport::ConnId;
use crate::transport::sim::{Faults, Network, Sim};
use crate::worker::testing::{NOW, state_of};

const SECOND_NS: u64 = 1_000_000_000;

/// A shard that closes clients after two silent seconds.
fn state() -> WorkerState {
    let mut state = state_of(1);
    let settings = &mut state.settings;
    let times = [&mut settings.slow_ms_max, &mut settings.request_ms_max, &mut settings.drain_ms_max];
    times.into_iter().for_each(|ms| *ms = 2000);
    state.shared.tunables.set_idle_ms_max(2000);
    state
}

/// Once the wall clock would have closed every client that it stepped over.
#[test]
fn a_step_of_the_wall_clock_is_no_silence_of_a_client() {
    let mut state = state();
    let mut transport = Sim::new(Network::new(1, Faults::default(), 100), 0, 1, 100);
    state.begin_turn(0, NOW);
    let id = ConnId { index: 0, generation: 0 };
    state.connections.insert(Connection::new(
        id,
        1,
        Session::new(Some(Protocol::Resp), Port::Common),
        state.ticks,
    ));
    let phase = |state: &mut WorkerState| state.connections.at(0).expect("it is there").phase;
    state.begin_turn(SECOND_NS + SECOND_NS / 2, NOW + 24 * 3600 * 1000);
    state.sweep_on(&mut transport);
    assert_eq!(phase(&mut state), Phase::Open);
    state.begin_turn(3 * SECOND_NS, NOW + 24 * 3600 * 1000);
    state.sweep_on(&mut transport);
    assert_eq!(phase(&mut state), Phase::Closing);
}
