//! What happens to a server with a tier: it stops or crashes and another one begins, its medium fails, bits flip.

use super::Simulation;
use super::action::parts;
use super::client::Client;
use super::tier::{Incident, TierWorld};
use crate::transport::sim::Network;
use std::sync::atomic::Ordering::Relaxed;
use torc_engine::command::Millis;
use torc_proto::slot::slot_of;

/// Steps of an orderly end, a millisecond each.
const STOP_STEPS: u64 = 1_500;
/// So long what is in memory alone is handed over then, milliseconds: a share of the drain's time.
const REST_MS_MAX: Millis = super::world::DRAIN_MS * 3 / 4;
/// Shards of a server, at most.
const SHARDS_MAX: usize = 4;

impl Simulation {
    /// Lets something happen.
    ///
    /// # Errors
    /// What is wrong then, in words.
    pub(super) fn meet(&mut self, incident: Incident) -> Result<(), String> {
        let wrong = match incident {
            Incident::Crash => self.crash(),
            Incident::Stop => self.stop(),
            Incident::Fails(call, number) => {
                self.backing.iter().for_each(|backing| backing.medium.fail(call, number, libc::EIO));
                let excuses = &mut self.model.excuses;
                (excuses.misses, excuses.refusals, self.world.may_close) = (true, true, true);
                Ok(())
            }
            Incident::Rots => {
                self.backing.iter().for_each(|backing| backing.rot(&mut self.random));
                self.model.excuses.misses = true;
                Ok(())
            }
        };
        wrong.map_err(|wrong| format!("{incident:?} after {} steps: {wrong}", self.steps))
    }

    /// The storage side takes its steps.
    ///
    /// # Errors
    /// The tier cannot be taken into use again.
    pub(super) fn turn_tier(&mut self, now: Millis) -> Result<(), String> {
        let Some((backing, tier)) = self.backing.as_mut().zip(self.world.tier.as_ref()) else {
            return Ok(());
        };
        backing.step(tier, &mut self.random, now)?;
        self.look_at_tier();
        Ok(())
    }

    /// What the tier does not keep may be missed.
    pub(super) fn look_at_tier(&mut self) {
        let Some(backing) = &self.backing else { return };
        self.model.excuses.misses |= backing.makes_room();
        if !(0..self.world.shards).any(|shard| self.shared.is_recovering(shard)) {
            self.model.has_learnt();
        }
    }

    /// All ends at once.
    fn crash(&mut self) -> Result<(), String> {
        let now = self.clock.get();
        self.lose_clients(now);
        let Some((backing, tier)) = self.backing.take().zip(self.world.tier.as_ref()) else { return Ok(()) };
        let safe: Vec<Millis> = self.workers.iter_mut().map(|sleeper| sleeper.safe_up_to(now)).collect();
        let slots = &self.world.slots;
        let is_always = TierWorld::is_always(tier);
        let safe_up_to = |key: &str| match is_always {
            true => Millis::MAX,
            false => safe[usize::from(slots.owner(slot_of(parts(key).1.as_bytes())))],
        };
        let is_void = !tier.makes_durable() || backing.figures.is_latched();
        self.model.crash((!is_void).then_some(&safe_up_to));
        let image = backing.crash(&mut self.random);
        self.begin_again(image)
    }

    /// The server ends in order, though clients may ask on.
    fn stop(&mut self) -> Result<(), String> {
        self.shared.draining.store(true, Relaxed);
        self.wakers.iter().for_each(|waker| waker.wake());
        self.clients.iter_mut().for_each(Client::stand_still);
        let (begun, makes_durable) =
            (self.clock.get(), self.world.tier.as_ref().is_some_and(TierWorld::makes_durable));
        for _ in 0..STOP_STEPS {
            self.steps += 1;
            self.clock.set(self.clock.get() + 1);
            let now = self.clock.get();
            self.turn_clients(now)?;
            self.turn_tier(now)?;
            self.workers.iter_mut().try_for_each(|sleeper| sleeper.look(now))?;
            if self.workers.iter().all(|sleeper| sleeper.worker.may_end()) {
                // Of what was not handed over in time, what is coldest is lost.
                self.model.excuses.misses |= !makes_durable && now >= begun + REST_MS_MAX;
                return self.begin_after_stop(now);
            }
        }
        Err("the server never ends".into())
    }

    fn begin_after_stop(&mut self, now: Millis) -> Result<(), String> {
        self.lose_clients(now);
        self.workers.drain(..).for_each(|mut sleeper| sleeper.worker.state().end_tier());
        let Some(backing) = self.backing.take() else { return Ok(()) };
        if self.world.tier.as_ref().is_some_and(|tier| !tier.makes_durable()) {
            // Such a tier takes no value that came in slices.
            self.model.forgets_above = Some(self.plan.settings.limits.value_bytes_inline);
        }
        let was_latched = backing.figures.is_latched();
        let image = backing.end();
        if was_latched {
            self.model.crash(None);
        } else {
            self.model.restart();
        }
        self.begin_again(image)
    }

    fn lose_clients(&mut self, now: Millis) {
        self.clients.iter_mut().for_each(|client| client.lose(&mut self.model, now));
    }

    /// Another server, over what is on the medium.
    fn begin_again(&mut self, image: Vec<u8>) -> Result<(), String> {
        self.count();
        self.workers.clear();
        if self.random.chance(60) {
            self.world.divide(1 + self.random.below(SHARDS_MAX) as u16);
        }
        self.network = Network::new(self.random.number(), self.plan.faults, self.plan.window_bytes);
        self.clock.set(self.clock.get() + self.random.number() % 1000);
        self.serve(Some(image))
    }
}
