use super::*;

fn budget() -> Budget {
    Budget::new(BudgetConfig {
        memory: 64 << 20,
        clients: 16 << 20,
        floor: 4 << 20,
        fixed: 1 << 20,
        lends: true,
    })
}

#[test]
fn less_is_received_and_parsed_the_less_is_left() {
    let mut budget = budget();
    budget.regrant(0, 0);
    let mut of = |sixteenths: usize| {
        budget.connections = budget.grant() / 16 * sixteenths;
        (budget.receive_window(), budget.turn_bytes(usize::MAX))
    };
    let grant = 16 << 20;
    assert_eq!(of(0), (grant / 8 * 7 / WINDOW_SHARE, grant / TURN_SHARE));
    assert_eq!(of(12), (grant / 8 / WINDOW_SHARE, grant / TURN_SHARE));
    assert_eq!(of(14), (1, grant / 16 * 3 / COPIED_SHARE), "what is there needs the rest");
    assert_eq!(of(16), (0, grant / 16 / COPIED_SHARE), "clients wait in their sockets");
    assert_eq!(of(17), (0, 1), "what is there goes on");
}

#[test]
fn clients_are_granted_what_the_store_leaves_up_to_their_share() {
    let mut budget = budget();
    let left = |bytes: usize| bytes / (ALLOCATOR_SHARE + 1) * ALLOCATOR_SHARE;
    budget.regrant(40 << 20, 0);
    assert_eq!(budget.grant(), 16 << 20);
    budget.regrant(55 << 20, 0);
    assert_eq!(budget.grant(), left(8 << 20));
    budget.regrant(55 << 20, 3 << 20);
    assert_eq!(budget.grant(), left(5 << 20));
    budget.regrant(64 << 20, 0);
    assert_eq!(budget.grant(), 2 << 20);
    budget.common = 1 << 20;
    budget.regrant(64 << 20, 0);
    assert_eq!(budget.grant(), 3 << 20);
}

#[test]
fn clients_may_hold_less_while_the_memory_is_lowered() {
    let mut budget = budget();
    for (less, clients) in [(32u64 << 20, 8usize << 20), (56 << 20, 4 << 20), (0, 16 << 20)] {
        budget.lower(less);
        budget.regrant(8 << 20, 0);
        assert_eq!(budget.grant(), clients, "{less}");
    }
}

/// Crowds make rounds long, whose parts stay in memory.
#[test]
fn the_parts_of_a_round_have_their_share_of_a_small_memory() {
    for memory in [1u64 << 20, 8 << 20, 16 << 20, 32 << 20] {
        let bytes = round_bytes(memory);
        assert!(bytes <= (memory / ROUND_SHARE).max(64 << 10), "{bytes} bytes of {memory}");
    }
    assert!(connection_parts(16 << 20) >= SHORT_PARTS);
    assert_eq!(connection_parts(64 << 20), CONNECTION_PARTS);
    assert_eq!(connection_parts(0), 1);
}

/// Nothing would ever be freed.
#[test]
fn what_is_overdrawn_stops_nobody_if_there_is_nobody_to_close() {
    let mut budget = budget();
    budget.regrant(0, 0);
    budget.common = 18 << 20;
    assert!(budget.takes_nothing());
    budget.closes = false;
    assert!(budget.is_overdrawn() && !budget.takes_nothing());
}

#[test]
fn who_was_looked_for_in_vain_is_not_looked_for_every_turn() {
    let mut budget = budget();
    budget.regrant(0, 0);
    budget.common = 18 << 20;
    let looks = |budget: &mut Budget, turns: u64, ms: u64| {
        (0..turns).filter(|turn| budget.looks_for_hoarders(false, 1000 + ms + turn / 10)).count()
    };
    assert_eq!(looks(&mut budget, 100, 0), 100, "somebody was there to be closed");
    budget.closes = false;
    assert_eq!(looks(&mut budget, 1000, 100), 10, "each 10 ms of 100");
    budget.connections += 1;
    assert!(budget.looks_for_hoarders(false, 1200), "something has come");
    assert!(!budget.looks_for_hoarders(false, 1200));
}

#[test]
fn memory_is_set_aside_at_once_and_given_back_after_a_while() {
    let mut budget = budget();
    let step = (64 << 20) / SPARE_SHARE + SPARE_BYTES;
    assert_eq!(budget.aside(0, 0), (1 << 20) + step);
    budget.connections = 8 << 20;
    assert_eq!(budget.aside(0, 1), (11 << 20) + step);
    assert_eq!(budget.aside(2 << 20, 2), (13 << 20) + step);
    budget.connections = 0;
    assert_eq!(budget.aside(0, 900), (13 << 20) + step);
    assert_eq!(budget.aside(0, 3000), (1 << 20) + step);
    assert_eq!(budget.aside(-(30 << 20), 9000), step);
}

/// The bound on what a store keeps of its items is about the memory that it has.
#[test]
fn no_store_is_held_to_memory_that_it_has_to_give() {
    const MEMORY: u64 = 64 << 20;
    let mut budget = budget();
    for (now, (used, beyond)) in (0..).zip([(0, 0), (16 << 20, 0), (16 << 20, 8 << 20), (16 << 20, 60 << 20)])
    {
        budget.connections = used;
        let given = budget.aside(beyond, now) + budget.floor as u64;
        let left = budget.left_to_store(beyond);
        assert!(left <= MEMORY.saturating_sub(given), "{left} bytes are left, {given} given");
        assert!(left + given + MEMORY / SURPLUS_SHARE >= MEMORY, "{left} bytes are left, {given} given");
    }
}

#[test]
fn pressure_rises_with_what_is_in_use() {
    let mut budget = budget();
    budget.regrant(0, 0);
    for (used, pressure, limit) in [
        (0, Pressure::None, 1 << 20),
        (12 << 20, Pressure::Short, SHORT_BYTES),
        (16 << 20, Pressure::Exhausted, 0),
    ] {
        budget.common = used;
        assert_eq!((budget.pressure(), budget.limit(1 << 20)), (pressure, limit));
    }
}
