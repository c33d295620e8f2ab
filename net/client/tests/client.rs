//! The client against a fake server that can misbehave: what a caller sees, and what was really done.

mod fake;

use fake::{Action, Fake};
use futures_executor::block_on;
use std::future::IntoFuture;
use std::time::{Duration, Instant};
use torc_client::{Client, Config, Done, Error, Transport};
use torc_proto::native::pair::FEATURE_RDMA;
use torc_proto::native::{Op, Status};
use torc_proto::slot::slot_of;

fn client(fake: &Fake) -> Client {
    with(fake, |_| {})
}

fn with(fake: &Fake, change: impl FnOnce(&mut Config)) -> Client {
    let mut config = Config::new(fake.address());
    config.timeout = Duration::from_secs(20);
    config.backoff_min = Duration::from_millis(1);
    change(&mut config);
    Client::with(config).expect("a thread")
}

/// Does `action` to the first request of this operation, and serves all others.
fn once(fake: &Fake, op: Op, action: Action) {
    let mut left = 1;
    fake.behave(move |seen| {
        if seen.op == op && left > 0 {
            left -= 1;
            return action;
        }
        Action::Serve
    });
}

#[test]
fn requests_can_be_awaited_and_waited_for() {
    let fake = Fake::start(1);
    let client = client(&fake);
    block_on(async {
        assert!(client.set("k", "value").flags(7).ttl(Duration::from_secs(9)).await.unwrap().is_done());
        assert_eq!(client.get("k").await.unwrap().unwrap().value, b"value");
    });
    assert_eq!(client.get("nothing").wait().unwrap(), None);
    assert_eq!(client.delete("k").wait().unwrap().done, Done::Done);
    assert_eq!(client.delete("k").wait().unwrap().done, Done::Missing);
    assert_eq!(client.increment("n", 1).wait().unwrap(), Some(1));
    client.ping().wait().unwrap();
    client.flush().wait().unwrap();
    let figures = client.statistics("").wait().unwrap();
    assert_eq!(figures[0], ("items".to_owned(), "3".to_owned()));
    assert_eq!(client.topology().wait().unwrap().owner(0), Some(0));
    // One connection, one hello, with a session.
    let hellos = fake.lock().hellos.clone();
    assert!(hellos.len() == 1 && hellos[0].session != 0 && hellos[0].boot_id == 0, "{hellos:?}");
}

/// This machine has no device, or the server has no queue pair to give: TCP serves, and it is said why.
#[test]
fn a_server_says_that_it_has_rdma_and_nothing_comes_of_it() {
    let fake = Fake::start(2);
    fake.lock().features = FEATURE_RDMA;
    let client = client(&fake);
    for number in 0..100 {
        client.set(format!("key-{number}"), "value").wait().expect("TCP serves");
    }
    let told = client.rdma();
    assert_eq!((client.transport(), told.connections, told.moves), (Some(Transport::Socket), 0, 0));
    assert!(!told.fallbacks.is_empty() && told.last.is_some(), "{told:?}");
    let strict = with(&fake, |config| {
        (config.transport, config.timeout) = (Transport::Rdma, Duration::from_secs(2));
    });
    let error = strict.get("key-1").wait().expect_err("nothing else will do");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(strict.rdma().last.is_some_and(|why| error.to_string().contains(&why)), "{error}");
}

/// [N-MGET-1]
#[test]
fn many_gets_share_frames_and_keep_their_order() {
    let fake = Fake::start(1);
    let client = client(&fake);
    client.set("k7", "7").wait().unwrap();
    let keys: Vec<_> = (0..300).map(|number| format!("k{number}")).collect();
    let items = client.get_many(&keys).wait().unwrap();
    assert_eq!(items.iter().filter(|item| item.is_some()).count(), 1);
    assert_eq!(items[7].as_ref().unwrap().value, b"7");
    let frames: Vec<_> = fake.seen(Op::MultiGet).iter().map(|seen| seen.keys).collect();
    assert_eq!(frames, [128, 128, 44]);
    let awaited = block_on(client.get_many(["k7", "k8"]).into_future()).unwrap();
    assert_eq!(awaited[0].as_ref().unwrap().value, b"7");
    assert_eq!(awaited[1], None);
    assert_eq!(client.get_many(Vec::<&str>::new()).wait().unwrap(), []);
}

/// Once the wake-up that told the thread of it was lost in half of the cases: thread and connection stayed.
#[test]
fn a_client_that_is_dropped_ends_its_thread() {
    let fake = Fake::start(1);
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim_end() == "torc-client").count()
    };
    let before = threads();
    for _ in 0..50 {
        let client = client(&fake);
        client.ping().wait().unwrap();
    }
    let start = Instant::now();
    // Clients of tests beside this one come and go.
    while threads() > before + 10 {
        assert!(start.elapsed() < Duration::from_secs(20), "{} threads are left", threads());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// [N-GEN-5]
#[test]
fn answers_out_of_order_find_their_requests() {
    let fake = Fake::start(1);
    let client = client(&fake);
    client.set("a", "1").wait().unwrap();
    client.set("b", "2").wait().unwrap();
    once(&fake, Op::Get, Action::Later);
    let first = client.get("a").send();
    let second = client.get("b").send();
    assert_eq!(second.wait().unwrap().unwrap().value, b"2");
    assert_eq!(first.wait().unwrap().unwrap().value, b"1");
}

/// [N-ONCE-4], [N-ONCE-5]
#[test]
fn a_change_whose_connection_dies_is_done_once() {
    for action in [Action::CloseAfter, Action::CloseBefore] {
        let fake = Fake::start(1);
        let client = client(&fake);
        client.ping().wait().unwrap();
        once(&fake, Op::Increment, action);
        assert_eq!(client.increment("n", 1).wait().unwrap(), Some(1), "{action:?}");
        let changes: Vec<_> = fake.seen(Op::Increment).iter().map(|seen| seen.change.unwrap()).collect();
        assert_eq!(changes.len(), 2);
        assert!(!changes[0].repeat && changes[1].repeat && changes[0].number == changes[1].number);
        assert_eq!(client.increment("n", 1).wait().unwrap(), Some(2));
        assert_eq!(fake.lock().hellos.len(), 2);
    }
}

#[test]
fn many_pipelined_changes_survive_lost_connections() {
    let fake = Fake::start(1);
    let client = client(&fake);
    let mut count = 0;
    fake.behave(move |_| {
        count += 1;
        match count % 97 {
            50 => Action::CloseAfter,
            80 => Action::CloseBefore,
            _ => Action::Serve,
        }
    });
    let pending: Vec<_> =
        (0..1000).map(|number| client.increment(format!("n{}", number % 10), 1).send()).collect();
    for answer in pending {
        assert!(answer.wait().unwrap().is_some());
    }
    let state = fake.lock();
    assert!(state.changes.values().all(|&count| count == 100), "{:?}", state.changes);
    assert!(state.hellos.len() > 10);
}

/// [N-ONCE-3]
#[test]
fn no_more_changes_are_unanswered_than_the_credit() {
    let fake = Fake::start(1);
    fake.lock().credit = 4;
    let client = client(&fake);
    fake.behave(|seen| if seen.key == b"held" { Action::Later } else { Action::Serve });
    client.ping().wait().unwrap();
    let held = client.set("held", "x").send();
    let others: Vec<_> = (0..20).map(|_| client.set("k", "v").send()).collect();
    for answer in others {
        answer.wait().unwrap();
    }
    held.wait().unwrap();
    let mut highest_answered = 0;
    for change in fake.seen(Op::Set).iter().map(|seen| seen.change.unwrap()) {
        assert!(change.number <= highest_answered + 4 + 1);
        highest_answered = highest_answered.max(change.number);
    }
}

/// [N-ONCE-4]: the boot id tells of the restart, and the change is not repeated.
#[test]
fn after_a_restart_the_outcome_is_unknown() {
    let fake = Fake::start(1);
    let client = client(&fake);
    client.ping().wait().unwrap();
    fake.behave(|seen| if seen.key == b"lost" { Action::Ignore } else { Action::Serve });
    let lost = client.set("lost", "x").send();
    while fake.seen(Op::Set).is_empty() {
        std::thread::yield_now();
    }
    fake.restart();
    assert_eq!(lost.wait(), Err(Error::OutcomeUnknown));
    assert_eq!(fake.seen(Op::Set).len(), 1);
    // The next ones are served, on a session that begins anew with the server.
    client.set("k", "v").wait().unwrap();
    let hellos = fake.lock().hellos.clone();
    assert_eq!(hellos.iter().map(|hello| hello.boot_id).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(hellos.iter().all(|hello| hello.session == hellos[0].session));
}

#[test]
fn reads_are_repeated_after_a_restart_and_without_a_session() {
    let fake = Fake::start(1);
    let client = with(&fake, |config| config.session = false);
    client.ping().wait().unwrap();
    once(&fake, Op::Get, Action::CloseBefore);
    assert_eq!(client.get("k").wait().unwrap(), None);
    assert_eq!(fake.seen(Op::Get).len(), 2);
    once(&fake, Op::Set, Action::CloseAfter);
    assert_eq!(client.set("k", "v").wait(), Err(Error::OutcomeUnknown));
    once(&fake, Op::Flush, Action::CloseAfter);
    assert_eq!(client.flush().wait(), Err(Error::OutcomeUnknown));
    assert_eq!((fake.seen(Op::Set).len(), fake.seen(Op::Flush).len()), (1, 1));
    assert!(fake.seen(Op::Set)[0].change.is_none());
}

/// [N-TOPO-1], [N-TOPO-2]
#[test]
fn requests_go_straight_to_the_owner() {
    let fake = Fake::start(3);
    let client = client(&fake);
    for number in 0..60 {
        client.set(format!("key{number}"), "v").wait().unwrap();
    }
    client.set("a{tag}", "v").wait().unwrap();
    client.set("b{tag}", "v").wait().unwrap();
    let seen = fake.seen(Op::Set);
    for set in &seen {
        assert_eq!(set.shard, (slot_of(&set.key) / 5461).min(2), "{set:?}");
    }
    assert!((0..3).all(|shard| seen.iter().any(|set| set.shard == shard)));
    assert_eq!(
        client
            .get_many((0..60).map(|number| format!("key{number}")))
            .wait()
            .unwrap()
            .iter()
            .flatten()
            .count(),
        60
    );
    let numbers: std::collections::BTreeSet<_> = seen.iter().map(|set| set.change.unwrap().number).collect();
    assert_eq!(numbers, (1..=62).collect());
}

/// [N-TOPO-3]
#[test]
fn a_wrong_owner_is_followed_and_a_newer_map_is_fetched() {
    let fake = Fake::start(2);
    let client = client(&fake);
    client.ping().wait().unwrap();
    let of_first = |key: &String| slot_of(key.as_bytes()) < 8192;
    let key = (0..).map(|number| format!("key{number}")).find(of_first).unwrap();
    // The other shard is connected already: a call that waited for that would go where the newer map says, which is the first shard.
    let other = (0..).map(|number| format!("key{number}")).find(|key| !of_first(key)).unwrap();
    client.get(&other).wait().unwrap();
    fake.lock().epoch = 2;
    once(&fake, Op::Set, Action::WrongOwner { shard: 1, epoch: 2 });
    assert!(client.set(&key, "v").wait().unwrap().is_done());
    let shards: Vec<_> = fake.seen(Op::Set).iter().map(|set| set.shard).collect();
    assert_eq!(shards, [0, 1]);
    // A server that always names another one is given up, with the reason.
    fake.behave(|seen| match seen.op {
        Op::Set => Action::WrongOwner { shard: 1 - seen.shard, epoch: 2 },
        _ => Action::Serve,
    });
    let refused = client.set(&key, "v").wait();
    assert!(matches!(refused, Err(Error::Refused { status: Status::WrongOwner, .. })), "{refused:?}");
}

/// The common port serves every key, so it stands in.
#[test]
fn a_shard_that_cannot_be_reached_is_served_by_the_common_port() {
    let fake = Fake::start(2);
    fake.hide_last_shard();
    let client = client(&fake);
    for number in 0..20 {
        assert!(client.set(format!("key{number}"), "v").wait().unwrap().is_done());
    }
    let seen = fake.seen(Op::Set);
    assert!(seen.iter().all(|set| set.shard == 0) && seen.iter().any(|set| slot_of(&set.key) >= 8192));
}

/// Whatever happens to connections and owners: what was answered was done once, and what was not, at most once.
#[test]
fn changes_are_counted_right_in_bad_times() {
    for seed in 1..=4_u64 {
        let fake = Fake::start(2);
        let client = client(&fake);
        let mut random = seed;
        fake.behave(move |seen| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (random >> 33) % 100 {
                0 | 2 => Action::CloseAfter,
                1 => Action::CloseBefore,
                3 => Action::WrongOwner { shard: 1 - seen.shard, epoch: 1 },
                4 => Action::Say(Status::Busy),
                _ => Action::Serve,
            }
        });
        let send = |number: u32| client.increment(format!("n{}", number % 7), 1).send();
        let mut answered = [0; 7];
        let mut unanswered = [0; 7];
        for round in 0..20 {
            if round == 10 {
                fake.restart();
            }
            let pending: Vec<_> = (0..70).map(send).collect();
            for (number, answer) in pending.into_iter().enumerate() {
                match answer.wait() {
                    Ok(_) => answered[number % 7] += 1,
                    Err(Error::Busy { .. } | Error::OutcomeUnknown) => unanswered[number % 7] += 1,
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
        }
        for (number, (answered, unanswered)) in answered.into_iter().zip(unanswered).enumerate() {
            let done = fake.lock().changes[format!("n{number}").as_bytes()];
            assert!(
                done >= answered && done <= answered + unanswered,
                "seed {seed}: {done} of {answered} answered"
            );
        }
    }
}

/// [N-EXT-6]
#[test]
fn a_deadline_ends_a_request_and_is_told_to_the_server() {
    let fake = Fake::start(1);
    let client = client(&fake);
    client.ping().wait().unwrap();
    fake.behave(|seen| if seen.key == b"slow" { Action::Ignore } else { Action::Serve });
    // The client sends it before, on a busy machine, too.
    let allowed = Duration::from_secs(1);
    let begun = Instant::now();
    let set = client.set("slow", "v").deadline(allowed).wait();
    assert_eq!(set, Err(Error::Timeout { after: allowed, maybe_done: true }));
    assert!(begun.elapsed() >= allowed);
    let get = client.get("slow").deadline(allowed).wait();
    assert_eq!(get, Err(Error::Timeout { after: allowed, maybe_done: false }));
    let told = fake.seen(Op::Set)[0].deadline_us.unwrap();
    assert!(told > 0 && told <= 1_000_000);
    assert_eq!(fake.seen(Op::Set)[0].key, b"slow");
    client.set("k", "v").wait().unwrap();
    assert_eq!(fake.seen(Op::Set)[1].deadline_us, None);
    once(&fake, Op::Set, Action::Say(Status::DeadlineExceeded));
    assert_eq!(client.set("k", "v").wait(), Err(Error::DeadlineExceeded));
}

#[test]
fn refusals_are_errors_that_say_why() {
    let fake = Fake::start(1);
    let client = client(&fake);
    for (status, error) in [
        (Status::Busy, Error::Busy { limit: "words".into() }),
        (Status::OutcomeUnknown, Error::OutcomeUnknown),
        (Status::OutOfMemory, Error::Refused { status: Status::OutOfMemory, message: "words".into() }),
    ] {
        once(&fake, Op::Set, Action::Say(status));
        assert_eq!(client.set("k", "v").wait(), Err(error));
    }
    once(&fake, Op::Set, Action::Say(Status::Exists));
    assert_eq!(client.set("k", "v").compare(3).wait().unwrap().done, Done::TokenMismatch);
    once(&fake, Op::Increment, Action::Say(Status::Exists));
    assert_eq!(client.increment("k", 1).compare(3).wait(), Err(Error::TokenMismatch));
    assert!(matches!(client.get(vec![0; 70_000]).wait(), Err(Error::TooLong(_))));
}

#[test]
fn a_server_that_speaks_something_else_is_left() {
    let fake = Fake::start(1);
    let client = client(&fake);
    once(&fake, Op::Get, Action::Garbage);
    assert_eq!(client.get("k").wait().unwrap(), None);
    assert_eq!(fake.lock().hellos.len(), 2);
}

#[test]
fn an_address_where_nobody_listens_is_named_and_the_next_one_tried() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut config = Config::new(closed.clone());
    config.timeout = Duration::from_secs(1);
    let unreachable = Client::with(config.clone()).unwrap().ping().wait();
    assert!(
        matches!(&unreachable, Err(Error::Unreachable { address, .. }) if *address == closed),
        "{unreachable:?}"
    );
    let fake = Fake::start(1);
    config.addresses.push(fake.address());
    config.timeout = Duration::from_secs(20);
    Client::with(config).unwrap().ping().wait().unwrap();
}

#[test]
fn more_requests_than_allowed_are_refused_at_once() {
    let fake = Fake::start(1);
    let client = with(&fake, |config| config.requests_max = 2);
    fake.behave(|_| Action::Later);
    let held: Vec<_> = (0..3).map(|_| client.get("k").send()).collect();
    let mut results = held.into_iter().rev().map(|answer| answer.wait());
    assert_eq!(results.next(), Some(Err(Error::TooManyRequests { limit: 2 })));
    fake.behave(|_| Action::Serve);
    drop(results);
}

/// An answer that comes while the client is dropped, and one that never comes.
#[test]
fn dropping_the_client_leaves_pending_answers_whole() {
    let fake = Fake::start(1);
    let client = client(&fake);
    client.set("k", "v").wait().unwrap();
    let pending = client.get("k").send();
    drop(client);
    assert_eq!(pending.wait().unwrap().unwrap().value, b"v");
}

#[test]
fn long_values_come_and_go_whole() {
    let fake = Fake::start(1);
    let client = client(&fake);
    let long: Vec<u8> = (0..8_000_000_u32).map(|byte| (byte / 3) as u8).collect();
    client.set("long", long.clone()).wait().unwrap();
    let small = client.get("none").send();
    assert_eq!(client.get("long").wait().unwrap().unwrap().value, long);
    assert_eq!(small.wait().unwrap(), None);
}

#[test]
fn tasks_on_several_threads_share_a_client() {
    let fake = Fake::start(2);
    let client = client(&fake);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = client.clone();
            scope.spawn(move || {
                block_on(async {
                    for number in 0..200 {
                        let key = format!("{thread}-{number}");
                        client.set(&key, key.clone()).await.unwrap();
                        assert_eq!(client.get(&key).await.unwrap().unwrap().value, key.as_bytes());
                    }
                })
            });
        }
    });
    assert_eq!(fake.lock().store.len(), 800);
}

/// The program of the README is the example, which is compiled with the tests.
#[test]
fn the_readme_shows_the_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a readable file");
    let readme = read("../../README.md");
    let shown =
        readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    assert!(read("examples/hello.rs").contains(shown.trim()), "README.md and examples/hello.rs differ");
}
