//! The runs of every test run, and the bugs that they must catch.

use super::action::{Action, Reply};
use super::model::Excuses;
use super::*;
use std::sync::atomic::AtomicU64;

/// Steps that every test run takes.
const STEPS: u64 = 1_000_000;
/// Seeds within which a bug must show.
const SEEDS: u64 = 6000;

fn run(seed: u64, bug: Bug) -> Result<Took, String> {
    Simulation::new(seed, bug).run()
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seed after seed on all cores until so many steps are taken.
fn run_from(first: u64, steps_wanted: u64) {
    let (next, steps, requests) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let snapshots = [AtomicU64::new(0), AtomicU64::new(0)];
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while steps.load(Relaxed) < steps_wanted {
                    let seed = next.fetch_add(1, Relaxed);
                    match run(seed, Bug::None) {
                        Ok(took) => {
                            steps.fetch_add(took.steps, Relaxed);
                            requests.fetch_add(took.requests, Relaxed);
                            for (all, took) in snapshots.iter().zip(took.snapshots) {
                                all.fetch_add(took, Relaxed);
                            }
                        }
                        Err(wrong) => panic!(
                            "seed {seed}: {wrong}\nreplay: TORC_SIM_SEED={seed} cargo test -p torc-net simulation"
                        ),
                    }
                }
            });
        }
    });
    let (seeds, steps, requests) = (next.into_inner() - first, steps.into_inner(), requests.into_inner());
    let [written, read] = snapshots.map(AtomicU64::into_inner);
    eprintln!(
        "{seeds} seeds, {steps} steps, {requests} requests, {written} snapshots, of which {read} were read"
    );
    assert!(requests > 0, "nothing was asked");
    assert!(steps < STEPS || written > 50 && read > 5, "snapshots are made, and read after a start");
}

#[test]
fn no_seed_shows_a_wrong_or_missing_answer() {
    match (number_from("TORC_SIM_SEED"), number_from("TORC_SIM_STEPS")) {
        (Some(seed), None) => {
            run(seed, Bug::None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        }
        (seed, steps) => run_from(seed.unwrap_or(0), steps.unwrap_or(STEPS)),
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in [7, 8, 9, 10, 17, 19, 78, 223, 442, 724] {
        assert_eq!(run(seed, Bug::None), run(seed, Bug::None));
    }
}

/// One that spins comes to its turn when that is over.
#[test]
fn every_worker_takes_a_turn_in_an_idle_tick() {
    let turns = |simulation: &Simulation| -> u64 {
        simulation.shared.worker_stats.iter().map(|stats| stats.turns.read()).sum()
    };
    for seed in 0..20 {
        let mut simulation = Simulation::new(seed, Bug::None);
        simulation.wakers.iter().for_each(|waker| waker.wake());
        let now = simulation.clock.get();
        simulation.workers.iter_mut().try_for_each(|sleeper| sleeper.look(now)).unwrap();
        simulation.clock.set(now + LENT_AGAIN_MS);
        let before = turns(&simulation);
        simulation.workers.iter_mut().try_for_each(Sleeper::tick).unwrap();
        assert_eq!(turns(&simulation) - before, simulation.workers.len() as u64, "seed {seed}");
    }
}

/// The checker is checked: each bug must show within the usual seeds.
#[test]
fn bugs_put_in_on_purpose_are_caught() {
    std::thread::scope(|scope| {
        let wanted = std::env::var("TORC_SIM_BUG").unwrap_or_default();
        for bug in Bug::ALL.into_iter().filter(|bug| format!("{bug:?}").contains(&wanted)) {
            scope.spawn(move || {
                // Bytes that are overwritten show in assertions of the store, too.
                let wrong = |seed| {
                    std::panic::catch_unwind(|| run(seed, bug).err()).unwrap_or(Some("a panic".into()))
                };
                let seeds = number_from("TORC_SIM_SEEDS").unwrap_or(SEEDS);
                let caught = (0..seeds).find_map(|seed| wrong(seed).map(|wrong| (seed, wrong)));
                let (seed, wrong) = caught.unwrap_or_else(|| panic!("{bug:?} was not caught by any seed"));
                eprintln!("{bug:?}, seed {seed}: {}", wrong.chars().take(200).collect::<String>());
            });
        }
    });
}

/// While a tier is read, what scripts, RENAME, MSETNX and BITOP read of keys that nobody knows yet must not miss: what they write by that
/// would take the place of what the tier has.
#[test]
fn what_decides_on_a_change_waits_until_a_tier_is_known() {
    for seed in [78, 442, 1386] {
        run(seed, Bug::None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

/// Keys that a step of SCAN gets from the tier are charged to its client as they come, not in its next turn.
#[test]
fn clients_are_charged_for_keys_that_a_scan_gets_from_the_tier() {
    for seed in [724, 915] {
        run(seed, Bug::None).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

/// The last command before that moment has its place in the order, and may miss under `--tier-recovery miss`.
#[test]
fn only_reads_that_begin_when_all_is_known_must_find() {
    let (own, shared) = (String::from("own:0:1"), String::from("shared:1"));
    let writes = [
        Action::Set { key: own.clone(), value: vec![1], ttl_ms: None },
        Action::SetShared { key: shared.clone(), value: vec![1] },
    ];
    for (write, read) in writes.into_iter().zip([Action::Get { key: own }, Action::GetShared { key: shared }])
    {
        let mut model = Model::new(Excuses::default(), true);
        let write = model.begin(write, START);
        model.end(&write, &Reply::Ok, START).unwrap();
        model.is_learning();
        let early = model.begin(read.clone(), START);
        model.has_learnt();
        let late = model.begin(read, START);
        model.end(&early, &Reply::Nothing, START).unwrap();
        model.end(&late, &Reply::Nothing, START).unwrap_err();
    }
}

/// A client that had stopped within a request sent the rest of it never, if a password came behind it.
#[test]
fn clients_end_what_they_have_begun_before_they_are_let_in() {
    run(101_861, Bug::None).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// A batch that was saved was taken for one that never is while its tier made room.
#[test]
fn a_little_tier_that_makes_room_comes_to_rest() {
    run(100_786, Bug::None).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// A deletion that is answered behind a flush which is not was taken for one that is safe, though it found nothing.
#[test]
fn a_deletion_makes_safe_what_it_found_and_no_more() {
    let key = String::from("own:0:0");
    let write = Action::Set { key: key.clone(), value: vec![1], ttl_ms: None };
    for (flushes, was_there, crashes, may_return) in
        [(true, 0, true, true), (true, 0, false, false), (true, 1, true, false), (false, 1, true, false)]
    {
        let mut model = Model::new(Excuses::default(), true);
        let ask = |model: &mut Model, action, reply| {
            let mut call = model.begin(action, START);
            call.is_durable = true;
            model.end(&call, &reply, START)
        };
        ask(&mut model, write.clone(), Reply::Ok).unwrap();
        if flushes {
            model.begin(Action::Flush { everywhere: true }, START);
        }
        ask(&mut model, Action::Delete { key: key.clone() }, Reply::Number(was_there)).unwrap();
        match crashes {
            true => model.crash(Some(&|_| Millis::MAX)),
            false => model.restart(),
        }
        let read = ask(&mut model, Action::Get { key: key.clone() }, Reply::Value(vec![1]));
        assert_eq!(read.is_ok(), may_return, "{:?}", (flushes, was_there, crashes));
    }
    run(321_842, Bug::None).unwrap_or_else(|wrong| panic!("{wrong}"));
}
