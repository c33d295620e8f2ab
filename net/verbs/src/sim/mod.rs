//! Simulated devices and the wires between them, in one thread and under a seed.
//!
//! Nothing happens but by [`Network::step`]: it draws one of the things that could happen next, and lets it happen. So completions
//! of different queue pairs come in any order, a message and a READ are copied bit by bit while their memory changes, and the same
//! seed gives the same run. Time is counted in steps.
//!
//! What it is stricter in than most devices: keys are never used twice; a send queue has room again only when a completion was
//! polled; a SEND or WRITE may be done before a READ that was posted before it has ended. What it is kinder in: other requests of one
//! queue pair never overlap.
//!
//! | module | holds |
//! |---|---|
//! | `state` | tables of what there is, and how a queue pair fails |
//! | `wire` | a step: requests that start, are copied, end |
//! | `access` | who may read and write which memory |
//! | `device`, `queue`, `pair`, `provider` | the interface of a provider |

mod access;
mod device;
mod pair;
mod provider;
mod queue;
mod random;
mod state;
mod wire;

pub use device::{Device, Domain, Registered};
pub use pair::Pair;
pub use queue::{Queue, Receives};

use crate::completion::Event;
use random::Random;
use state::{DeviceState, State};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// How unkind the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Steps that a request waits before it begins, and a completion before it is seen, at most.
    pub delay_max: u64,
    /// Of a thousand completions so many are never seen.
    pub lost: u32,
    /// Steps between two tries when the peer does not answer, or has no receive posted.
    pub retry_delay: u64,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { delay_max: 20, lost: 0, retry_delay: 50 }
    }
}

/// Devices that reach each other, each by its one port.
#[derive(Clone)]
pub struct Network(Rc<RefCell<State>>);

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("steps", &self.steps()).finish()
    }
}

impl Network {
    pub fn new(seed: u64, weather: Weather) -> Network {
        Network(Rc::new(RefCell::new(State::new(Random::new(seed), weather))))
    }

    /// A new device, whose port is up.
    pub fn add_device(&self) -> Device {
        let mut state = self.state();
        let number = state.devices.len();
        state.devices.push(DeviceState { is_up: true, ..DeviceState::default() });
        drop(state);
        Device::new(self.clone(), number)
    }

    /// Lets one thing happen; false: nothing is under way.
    pub fn step(&self) -> bool {
        wire::step(&mut self.state())
    }

    /// Steps since the beginning.
    pub fn steps(&self) -> u64 {
        self.state().now
    }

    /// What the weather is from here on.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Cuts the wire of a device, or mends it.
    pub fn set_link(&self, device: &Device, is_up: bool) {
        let mut state = self.state();
        let device = &mut state.devices[device.number()];
        if !device.is_removed && device.is_up != is_up {
            device.is_up = is_up;
            let port = DeviceState::PORT;
            device.events.push_back(if is_up { Event::PortUp { port } } else { Event::PortDown { port } });
        }
    }

    /// Takes a device out. Its queue pairs fail, and its calls; when all that was made of it was dropped the number of
    /// [`Device::values`] is 1.
    pub fn remove(&self, device: &Device) {
        self.state().remove(device.number());
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}
