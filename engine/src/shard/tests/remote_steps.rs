//! A reader on another machine and an owner that interrupt each other at every word and every step, under seeds: as
//! `readers_steps.rs`, for [`crate::remote`].

use super::readers_steps::{KEYS, Seen, World, read};
use super::remote_wire::{Broken, Far};
use super::*;
use crate::reader::{Doubt, ReadRoom};
use crate::segments::LeaseLimits;
use crate::steps::{Fault, interrupt, put_in};
use std::cell::RefCell;
use std::rc::Rc;

const ROUNDS: u64 = 200;
/// Seeds of a run without a fault, and seeds within which each fault must show.
const SEEDS: u64 = 40;
const FAULT_SEEDS: u64 = 400;
const LEASE_MS: u64 = 40;

type Told = Result<Seen, Doubt>;

/// A world with a reader elsewhere.
fn far_world(seed: u64) -> (World, Far) {
    let (mut world, broken) = (World::new(seed, true), Broken::default());
    let limits = LeaseLimits { lease_ms: LEASE_MS, resting_percent: 40 };
    world.shard.let_read_leases(limits, Box::new(broken.clone()));
    world.clock.show_in(&world.shard);
    let far = Far::new(&world.shard, broken, seed);
    (world, far)
}

/// Some time passes, which leases count, and sometimes all that they last.
fn pass(world: &mut World, far: &mut Far) {
    far.now += if world.random.below(5) == 0 { 2 * LEASE_MS } else { world.random.below(4) };
    world.shard.pass_read_leases(far.now);
    if world.random.below(3) == 0 {
        far.ask(&mut world.shard, world.now);
    }
}

/// Some commands: often such that segments are used again.
fn commands(world: &mut World, key: &[u8]) {
    match world.random.below(7) {
        0 => world.fill(100),
        1 => world.turn_over(key),
        2 => world.swap(),
        _ => world.command(key),
    }
}

/// What a key is at the start. The owner's look would forget what a flush or its time has left in the index.
fn begin(world: &mut World, far: &mut Far, key: u64) -> Seen {
    let name = World::key(key);
    match world.random.below(12) {
        0 => world.shard.flush(None, world.now),
        1 => {
            world.write(&name, Expiry::At(world.now + 1));
            world.tick();
        }
        2 => {
            world.write(&name, Expiry::Never);
            world.shard.flush(Some(world.now + 1), world.now);
            world.tick();
        }
        3..6 => return world.look(key),
        kind => {
            world.write(&name, Expiry::Never);
            let is_known = kind < 9;
            if is_known {
                far.ask(&mut world.shard, world.now);
                let _ = far.read(key);
                far.now += world.random.below(2 * LEASE_MS);
                world.shard.pass_read_leases(far.now);
            }
            return world.look(key);
        }
    }
    None
}

/// A read in which the owner acts, between words and while it is interrupted itself. Returns whether it could tell.
fn interrupted_reader(world: &mut World, far: &Rc<RefCell<Far>>) -> Result<bool, String> {
    let key = world.random.below(KEYS);
    let mut seen = vec![begin(world, &mut far.borrow_mut(), key)];
    if world.random.below(3) > 0 {
        pass(world, &mut far.borrow_mut());
    }
    let often = [10, 40, 150, 400][world.random.below(4) as usize];
    let told: Rc<RefCell<Option<Told>>> = Rc::new(RefCell::new(far.borrow_mut().begin(key)));
    while told.borrow().is_none() {
        if world.random.below(often) > 0 {
            *told.borrow_mut() = far.borrow_mut().advance();
            continue;
        }
        pass(world, &mut far.borrow_mut());
        // The read goes on at once, or hardly at all.
        let seldom = [3, 30, 3000, 100_000][world.random.below(4) as usize];
        let other = {
            let (far, told) = (far.clone(), told.clone());
            move || {
                let (far, told) = (&mut *far.borrow_mut(), &mut *told.borrow_mut());
                if far.random.below(seldom) == 0 {
                    let words = 1 + far.random.below(40);
                    (0..words).for_each(|_| {
                        if told.is_none() {
                            *told = far.advance();
                        }
                    });
                }
            }
        };
        seen.extend(interrupt(other, || world.act_by(key, commands)));
    }
    match *told.borrow() {
        Some(Ok(value)) if !seen.contains(&value) => Err(format!("key {key}: read {value:?}, was {seen:?}")),
        told => Ok(told.is_some_and(|told| told.is_ok())),
    }
}

/// Reads one behind the other, each from its begin to its end, by steps of the owner.
#[derive(Default)]
struct Record {
    step: u64,
    begun: u64,
    told: Vec<(u64, u64, Seen)>,
}

impl Record {
    fn add(&mut self, begun: u64, told: Told) {
        if let Ok(seen) = told {
            self.told.push((begun, self.step, seen));
        }
        self.step += 1;
    }
}

/// An owner that readers interrupt: one elsewhere, whose reads take many steps, and one with a mapping.
fn interrupted_owner(world: &mut World, far: &Rc<RefCell<Far>>) -> Result<(), String> {
    let key = world.random.below(KEYS);
    let is_ending = world.random.below(6) == 0;
    if is_ending || world.random.below(2) == 0 {
        let expiry = if is_ending { Expiry::At(world.now + 1) } else { Expiry::Never };
        world.write(&World::key(key), expiry);
        far.borrow_mut().ask(&mut world.shard, world.now);
        let _ = far.borrow_mut().read(key);
    }
    let before = world.look(key);
    pass(world, &mut far.borrow_mut());
    let record: Rc<RefCell<Record>> = Rc::default();
    let other = {
        let (far, record, reader) = (far.clone(), record.clone(), world.reader.clone());
        let (hash, now) = (world.shard.hash(0, &World::key(key)), world.now);
        let mut room = ReadRoom::new();
        move || {
            let (far, record) = (&mut *far.borrow_mut(), &mut *record.borrow_mut());
            record.step += 1;
            match far.random.below(6) {
                0 if far.is_idle() => {
                    record.add(record.step, read(&reader, (key, hash), now, &mut room, false));
                    record.add(record.step, far.read(key));
                }
                1 if far.is_idle() => {
                    record.begun = record.step;
                    if let Some(told) = far.begin(key) {
                        record.add(record.begun, told);
                    }
                }
                0..3 => {
                    let most = 1 + far.random.below(700);
                    if let Some(told) = (0..most).find_map(|_| far.advance()) {
                        record.add(record.begun, told);
                    }
                }
                _ => {}
            }
        }
    };
    let mut seen = vec![before];
    seen.extend(interrupt(other, || {
        if is_ending {
            world.tick();
            return vec![world.look(key)];
        }
        world.act(key)
    }));
    let Record { told, begun, .. } = &mut *record.borrow_mut();
    if !far.borrow().is_idle()
        && let Ok(last) = far.borrow_mut().finish()
    {
        told.push((*begun, u64::MAX, last));
    }
    let is_gone = |value: &Seen| *value == before && seen.last() != Some(&before);
    for (begun, _, value) in &*told {
        if !seen.contains(value) {
            return Err(format!("key {key}: read {value:?}, was {seen:?}"));
        }
        // What was shown as gone does not come back.
        if is_gone(value) && told.iter().any(|(_, end, other)| end < begun && *other != before) {
            return Err(format!("key {key}: read {told:?}, was {seen:?}"));
        }
    }
    Ok(())
}

/// Runs a seed; returns how many of its reads could tell, and the reader.
fn run(seed: u64) -> Result<(u64, Far), String> {
    let (mut world, far) = far_world(seed);
    let far = Rc::new(RefCell::new(far));
    let mut told = 0;
    for _ in 0..ROUNDS {
        told += u64::from(interrupted_reader(&mut world, &far)?);
        interrupted_owner(&mut world, &far)?;
        let key = world.random.below(KEYS);
        world.act(key);
    }
    world.shard.audit()?;
    let Ok(far) = Rc::try_unwrap(far) else { unreachable!("nobody else has it") };
    Ok((told, far.into_inner()))
}

#[test]
fn a_reader_elsewhere_sees_what_was_there_at_some_moment_of_its_look() {
    let (mut told, mut remembered, mut failed, mut late) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let (known, far) = run(seed).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        let counts = far.shard.counts();
        told += known;
        remembered += counts.remembered;
        failed += counts.failed;
        late += counts.looks.doubts[Doubt::Late as usize];
    }
    eprintln!(
        "{told} of {} told, {remembered} remembered, {failed} checks failed, {late} late",
        SEEDS * ROUNDS
    );
    assert!(told > SEEDS * ROUNDS / 4, "most reads are answered: {told}");
    assert!(remembered > SEEDS && failed > SEEDS && late > SEEDS);
}

/// The checker is checked: without any one of the checks, or of the owner's steps, some seed must show it.
#[test]
fn every_check_of_a_reader_elsewhere_is_needed() {
    let mut faults = vec![Fault::DeadIsMiss, Fault::ElsewhereUnseen];
    faults.extend([Fault::BuryLate, Fault::ClockLate]);
    faults.extend([Fault::RestNot, Fault::RevokeNot, Fault::FarHeads, Fault::FarSpaces, Fault::FarFlushes]);
    faults.extend([Fault::FarGeometry, Fault::FarFlushDue, Fault::FarClock, Fault::FarLease]);
    faults.extend([Fault::FarLeaseAnew, Fault::FarPlace]);
    let mut unseen = Vec::new();
    for fault in faults {
        put_in(Some(fault));
        let shows = |seed| std::panic::catch_unwind(|| run(seed)).map_or(true, |run| run.is_err());
        let shown = (0..FAULT_SEEDS).find(|&seed| shows(seed));
        put_in(None);
        eprintln!("{fault:?}: seed {shown:?}");
        unseen.extend(shown.is_none().then_some(fault));
    }
    assert!(unseen.is_empty(), "{unseen:?} were not seen");
}
