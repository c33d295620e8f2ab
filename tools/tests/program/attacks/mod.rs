//! Clients that try to take all memory or all time: the process keeps to its memory, a neighbour is served, and nothing is
//! left when they are gone.

mod bulk;
mod crowds;
mod floods;
mod messages;
mod watch;

use crate::harness::{Server, sum_of};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use watch::{Waited, neighbour, resident_bytes, residents};

/// Most of `--memory` that may be resident at any moment, in percent.
const RESIDENT_MAX: f64 = 105.0;
/// And so many bytes: what a crowd brings between two looks at what is resident, a tenth of a second apart; as much again in each tenth
/// that the server waits for a CPU to look.
const BETWEEN_LOOKS: f64 = (512 << 10) as f64;
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// MiB told, and how many percent of them a full and quiet server has resident at least.
const FULL: &[(usize, f64)] = &[(64, 95.0), (16, 90.0)];
/// MiB of a shard: `--shards auto` gives none less.
const SHARD_LEAST: usize = 16;
/// A neighbour never waits so long for the server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a hundred of its requests 99 are answered within this.
const P99_MAX: Duration = Duration::from_secs(2);
/// What may be left of attackers in no account: tables for thousands of connections, and a share of the memory, in percent, that
/// the allocator keeps.
const TABLES_BYTES: f64 = (5 << 20) as f64;
const KEPT_MAX: f64 = 5.0;
/// After this nothing is left of clients that are gone.
const SETTLED: Duration = Duration::from_secs(30);
/// Share of a shard's memory that clients may hold beyond their bound for a moment: what a turn of its loop has received
/// before the shard knows that it must not take more, and as much again, as buffers double when they grow.
const TURN_SHARE: f64 = 16.0;
/// Clients of a shard hold more than the bound of the moment no longer than this.
const OVERDRAWN_MAX: Duration = Duration::from_secs(1);
/// What a shard keeps for clients to come: 2 MiB of buffers and what lies around them, and the batches of its mail, which
/// may take a share of its memory.
const STOCK_BYTES: f64 = (3 << 20) as f64;
const MAIL_SHARE: f64 = 32.0;

const EVERYWHERE: &[(&str, u64)] = &[("uring", 1), ("uring", 2), ("epoll", 1), ("epoll", 2)];
/// For attacks that take long.
const EACH_ONCE: &[(&str, u64)] = &[("uring", 2), ("epoll", 1)];

/// What clients are charged with in an attack.
#[derive(Clone, Copy, PartialEq)]
enum Charge {
    Memory,
    /// Mostly answers that are not there yet.
    Promised,
}

type Flood = fn(SocketAddr) -> Vec<TcpStream>;

/// One attack at a time: two would fight for the processors, not for the server.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn unfinished_setranges_keep_to_memory() {
    withstand(EACH_ONCE, 256, Charge::Memory, floods::unfinished_setranges);
}

#[test]
fn long_values_of_other_shards_keep_to_memory() {
    // Each of them has its longest answer set aside at the shard that asked.
    withstand(EVERYWHERE, 64, Charge::Promised, floods::long_values_of_other_shards);
}

#[test]
fn long_gets_that_nobody_reads_keep_to_memory() {
    // Answers that the other shard owes are charged before they take any memory.
    withstand(EVERYWHERE, 256, Charge::Promised, floods::long_gets_unread);
}

#[test]
fn a_scan_of_everything_at_once_keeps_to_memory() {
    withstand(EVERYWHERE, 64, Charge::Memory, floods::endless_scan);
}

#[test]
fn single_bytes_that_nobody_reads_pin_few_segments() {
    withstand(EVERYWHERE, 64, Charge::Memory, floods::single_bytes_unread);
}

#[test]
fn messages_that_nobody_reads_keep_to_memory() {
    withstand(EVERYWHERE, 64, Charge::Memory, messages::unread_messages);
}

#[test]
fn a_million_subscriptions_keep_to_memory() {
    withstand(EACH_ONCE, 256, Charge::Memory, messages::a_million_subscriptions);
}

#[test]
fn small_gets_of_waves_of_clients_keep_to_memory() {
    withstand(EVERYWHERE, 256, Charge::Promised, crowds::small_gets_in_waves);
}

#[test]
fn half_sent_values_of_thousands_keep_to_memory() {
    withstand(EVERYWHERE, 256, Charge::Memory, crowds::half_sent_sets);
}

#[test]
fn values_that_drip_keep_no_other_value_out() {
    withstand(EVERYWHERE, 256, Charge::Memory, crowds::dripping_uploads);
}

#[test]
fn beginnings_of_thousands_of_values_keep_to_memory() {
    withstand(EACH_ONCE, 64, Charge::Memory, crowds::beginnings);
}

#[test]
fn commands_of_many_keys_keep_to_memory() {
    withstand(EACH_ONCE, 256, Charge::Promised, crowds::commands_of_many_keys);
}

#[test]
fn long_values_that_nobody_reads_leave_room_for_others() {
    withstand(EVERYWHERE, 64, Charge::Promised, crowds::long_values_beside_writers);
}

#[test]
fn a_scan_of_everything_keeps_to_a_small_memory() {
    withstand(EVERYWHERE, 16, Charge::Memory, floods::endless_scan);
}

#[test]
fn crowds_keep_to_a_small_memory() {
    for flood in [crowds::small_gets_in_waves, crowds::half_sent_sets, crowds::beginnings] {
        withstand(EVERYWHERE, 48, Charge::Promised, flood);
        for &(transport, shards) in EVERYWHERE {
            withstand(&[(transport, shards)], SHARD_LEAST * shards as usize, Charge::Promised, flood);
        }
    }
}

#[test]
fn a_full_and_quiet_server_uses_its_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failures: Vec<String> = Vec::new();
    for (&(transport, shards), &(memory, least)) in
        EVERYWHERE.iter().flat_map(|server| FULL.iter().map(move |full| (server, full)))
    {
        let reached = fill_and_wait(&start(transport, shards, memory), memory, least);
        let figure = format!("{transport}, {shards} shards, told {memory} MiB: {reached:.1} % resident");
        println!("{figure}");
        if !(least..=100.0).contains(&reached) {
            failures.push(figure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How many percent of its memory a server has resident when it has been filled, and has had time to settle.
fn fill_and_wait(server: &Server, memory: usize, least: f64) -> f64 {
    floods::fill(server.address(), "fill", memory << 21);
    // What was set aside for the client that filled it goes back to the store after a while, which uses it for what
    // comes next.
    let mut reached = 0.0;
    for round in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        reached = percent(resident_bytes(process(server)), memory);
        if reached >= least {
            break;
        }
        floods::fill(server.address(), &format!("more{round}"), memory << 18);
    }
    reached
}

fn start(transport: &str, shards: u64, memory: usize) -> Server {
    raise_file_limit();
    let [transport, shards, memory] =
        [format!("--transport={transport}"), format!("--shards={shards}"), format!("--memory={memory}m")];
    Server::start(&[&transport, &shards, &memory])
}

/// An attack needs thousands of sockets. Returns how many files there may be.
fn raise_file_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live `rlimit`.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

fn process(server: &Server) -> u64 {
    server.ready["pid"].as_u64().expect("a process")
}

/// Clients that the server has closed, by the reason.
fn closed_by_reason(server: &Server) -> String {
    let metrics = server.metrics();
    let lines = metrics.lines().filter(|line| line.starts_with("torc_connections_closed_total{"));
    lines.filter(|line| !line.ends_with(" 0")).collect::<Vec<_>>().join(", ")
}

fn percent(bytes: u64, memory: usize) -> f64 {
    bytes as f64 * 100.0 / (memory << 20) as f64
}

/// Lets a flood come over full servers with each of these transports and numbers of shards.
fn withstand(servers: &[(&str, u64)], memory: usize, charge: Charge, flood: Flood) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failures = Vec::new();
    for &(transport, shards) in servers {
        let name = format!("{transport}, {shards} shards, {memory} MiB");
        let server = start(transport, shards, memory);
        for failure in attack(&name, &server, shards, memory, charge, flood) {
            failures.push(format!("{name}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the server did not hold against a flood.
fn attack(
    name: &str,
    server: &Server,
    shards: u64,
    memory: usize,
    charge: Charge,
    flood: Flood,
) -> Vec<String> {
    let address = server.address();
    floods::fill(address, "fill", memory << 20);
    let kept_before = unaccounted(server);
    let process = process(server);
    let waited = Waited { process, shards };
    let (neighbour, resident) = (neighbour(address, waited), residents(process));
    let attackers = std::thread::spawn(move || flood(address));
    let excess = watch_bound(server, waited, memory, || attackers.is_finished());
    let done = attackers.join().map(drop);
    let left = settle(
        server,
        shards as f64 * STOCK_BYTES + (memory << 20) as f64 / MAIL_SHARE,
        kept_before + (memory << 20) as f64 * KEPT_MAX / 100.0 + TABLES_BYTES,
    );
    let mut seen = neighbour.finish();
    let peak = percent(resident.finish().peak(BETWEEN_LOOKS / LOOKS_EVERY.as_secs_f64()), memory);
    let (p99, max) = seen.p99_and_max();
    let closed = server.metric("torc_connections_closed_total", "memory");
    println!(
        "{name}: at most {peak:.1} % resident, {:.0} bytes over the budget, {:.1?} over that of the moment; neighbour p99 {p99:.1?}, max {max:.1?}; {closed} closed",
        excess.bytes, excess.longest
    );
    let held = [
        (
            done.is_err(),
            format!("the attack met what it must not; closed so far: {}", closed_by_reason(server)),
        ),
        (
            peak > RESIDENT_MAX + BETWEEN_LOOKS * 100.0 / (memory << 20) as f64,
            format!("{peak:.1} % resident"),
        ),
        (
            charge == Charge::Memory && excess.bytes > 0.0,
            format!("clients of a shard held {} bytes more than they may", excess.bytes),
        ),
        (
            charge == Charge::Memory && excess.longest > OVERDRAWN_MAX,
            format!("clients of a shard held more than they may for {:?}", excess.longest),
        ),
        (seen.error.is_some(), format!("the neighbour got {:?}", seen.error)),
        (p99 > P99_MAX, format!("the neighbour's p99 was {p99:?}")),
        (max > PATIENCE, format!("the neighbour waited for {max:?}")),
        (left.is_some(), left.unwrap_or_default()),
    ];
    held.into_iter().filter_map(|(failed, text)| failed.then_some(text)).collect()
}

/// How far and how long clients of a shard held more than they may.
struct Excess {
    /// Bytes beyond the highest bound so far, at worst; fewer than none if never.
    bytes: f64,
    /// The longest time of the server's own beyond the bound of the moment. It falls when resident memory grows otherwise, so clients may be
    /// beyond it without having taken anything; but then the shard closes some at once.
    longest: Duration,
}

/// Looks at what clients hold until the attack is over.
fn watch_bound(server: &Server, waited: Waited, memory: usize, is_over: impl Fn() -> bool) -> Excess {
    let shards = waited.shards;
    let slack = (memory << 20) as f64 / shards as f64 / TURN_SHARE;
    let mut excess = Excess { bytes: f64::MIN, longest: Duration::ZERO };
    let mut highest = vec![0.0_f64; shards as usize];
    let mut within: Vec<_> = (0..shards).map(|_| waited.now()).collect();
    loop {
        let metrics = server.metrics();
        for shard in 0..shards as usize {
            let figure = |name| sum_of(&metrics, name, &format!("shard=\"{shard}\""));
            let (held, bound) = (figure("torc_client_bytes"), figure("torc_client_max_bytes"));
            highest[shard] = highest[shard].max(bound);
            excess.bytes = excess.bytes.max(held - highest[shard] - slack);
            if held <= bound + slack {
                within[shard] = waited.now();
            }
            excess.longest = excess.longest.max(waited.since(&within[shard]));
        }
        if is_over() {
            return excess;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Resident memory that no account knows of.
fn unaccounted(server: &Server) -> f64 {
    sum_of(&server.metrics(), "torc_unaccounted_bytes", "")
}

/// Waits until nothing is left of the attackers; what still is after a while.
fn settle(server: &Server, stock_bytes: f64, unaccounted_bytes: f64) -> Option<String> {
    let end = Instant::now() + SETTLED;
    loop {
        let metrics = server.metrics();
        let figure = |name| sum_of(&metrics, name, "");
        let left = ["torc_segments_pinned", "torc_uploads_bytes", "torc_connections_parked"].map(figure);
        let (connections, held) = (figure("torc_connections"), figure("torc_client_bytes"));
        let kept = unaccounted(server);
        if left == [0.0; 3] && connections == 1.0 && held <= stock_bytes && kept <= unaccounted_bytes {
            return None;
        }
        if Instant::now() > end {
            return Some(format!(
                "left are {left:?} pins, uploads, parked; {connections} connections; {held} bytes; {kept} unaccounted"
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
