//! Clients that are slow, leave, or keep to nothing: they cost nobody else anything, and leave nothing.

use crate::raw::{BYTES, LENT, Raw, ask, offer};
use crate::wire::{
    Devices, Wire, address, local, nothing_is_left, pattern, request, sample, start, sum, wait_until,
};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use torc_net::metrics::CloseReason;
use torc_proto::native::pair::Window;
use torc_proto::native::{Op, Options, ReadsGiven, Status};
use torc_rdma::reads::ReadEnd;

/// Far beyond what one answer takes in the guest.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A neighbour is served, soon.
fn is_served(neighbour: &mut Wire) {
    let since = Instant::now();
    let value = pattern(9000, 5);
    neighbour.set(b"neighbour", &value);
    assert!(neighbour.get(b"neighbour") == value);
    assert!(since.elapsed() < AT_ONCE, "it waited {:?}", since.elapsed());
}

/// What a client does.
type Attack = fn(&mut Raw);

pub(crate) fn a_client_that_never_reads_is_ended_and_its_neighbour_is_served(devices: &Devices) {
    let server = start(devices, |config| config.slow_client_timeout = Some(Duration::from_secs(2)));
    let local = local(devices);
    let mut neighbour = Wire::new(&server, &local);
    neighbour.set(b"long", &pattern(1 << 20, 1));
    let mut slow = Wire::new(&server, &local);
    let asked: Vec<u8> = (0..200).flat_map(|id| request(Op::Get, id, &Options::NONE, b"long", b"")).collect();
    let written = slow.write_blindly(&asked, Duration::from_millis(200)).expect("it goes on");
    println!("{written} bytes of {} were taken", asked.len());
    let since = Instant::now();
    while sum(&server, |stats| stats.closes(CloseReason::Slow)) == 0 {
        is_served(&mut neighbour);
        assert!(since.elapsed() < Duration::from_secs(15), "it is there yet");
    }
    assert!(sum(&server, |stats| stats.client_bytes.read()) < 16 << 20);
    drop((slow, neighbour));
    nothing_is_left(&server);
}

pub(crate) fn a_client_that_leaves_half_way_through_a_value_gives_its_room_back(devices: &Devices) {
    let server = start(devices, |_| {});
    let local = local(devices);
    let mut neighbour = Wire::new(&server, &local);
    let request = request(Op::Set, 1, &Options::NONE, b"long", &pattern(12 << 20, 1));
    // More than there would be room for if it did not come back.
    for round in 1..=10 {
        let mut leaver = Wire::new(&server, &local);
        let most = request.len() - 1 - round * 1000;
        leaver.write_blindly(&request[..most], Duration::from_secs(2)).expect("it goes on");
        drop(leaver);
        wait_until("it is gone", || sum(&server, |stats| stats.pairs.read()) == 1);
        is_served(&mut neighbour);
    }
    let (_, status, _) = neighbour.try_do(Op::Get, b"long", b"").expect("it goes on");
    assert_eq!(status, Status::Miss as u8);
    let value = pattern(12 << 20, 2);
    neighbour.set(b"long", &value);
    assert!(neighbour.get(b"long") == value, "there is room for it");
    drop(neighbour);
    nothing_is_left(&server);
}

pub(crate) fn garbage_ends_its_connection_alone(devices: &Devices) {
    let server = start(devices, |_| {});
    let (local, address) = (local(devices), address(&server));
    let mut neighbour = Wire::new(&server, &local);
    let nothing = Window::default();
    let cases: [(&str, Attack); 9] = [
        ("no immediate", |raw| raw.send(None, b"bytes")),
        ("a kind that is none", |raw| raw.send(Some(7 << 29), b"bytes")),
        ("a number out of order", |raw| raw.send(Some(3 << 25), b"bytes")),
        ("no bytes", |raw| raw.say(BYTES, b"")),
        ("credits that are not ours to give", |raw| raw.send(Some(255 << 17), b"x")),
        ("room of a landing that is not used", |raw| raw.send(Some(9), b"x")),
        ("lent, and no length", |raw| raw.say(LENT, b"x")),
        ("lent, and no lending", |raw| raw.say(LENT, &4096_u32.to_le_bytes())),
        ("a flood", |raw| (0..100).for_each(|_| raw.say(BYTES, &[0xc7; 4000]))),
    ];
    let before = sum(&server, |stats| stats.pairs_failed());
    for (at, (what, garbage)) in cases.iter().enumerate() {
        let mut raw = Raw::new(address, &local, nothing, nothing);
        garbage(&mut raw);
        raw.ends(what);
        is_served(&mut neighbour);
        drop(raw);
        wait_until("it is gone", || sum(&server, |stats| stats.pairs.read()) == 1);
        println!("{at} {what}: {}", sum(&server, |stats| stats.pairs_failed()) - before);
    }
    // Bytes over the socket that carries nothing.
    let mut raw = Raw::new(address, &local, nothing, nothing);
    std::io::Write::write_all(&mut raw.socket, b"x").expect("sent");
    raw.ends("bytes over the socket");
    // Bytes of no protocol, in good messages.
    let mut raw = Raw::new(address, &local, nothing, nothing);
    raw.say(BYTES, &pattern(4000, 9));
    raw.ends("bytes of no protocol");
    is_served(&mut neighbour);
    // But for the number, by which messages may have been lost, and the flood, whose bytes are of no protocol either.
    assert!(sample(&server, "rdma_failures", "protocol") >= 8);
    drop(neighbour);
    nothing_is_left(&server);
}

pub(crate) fn keys_that_are_wrong_end_their_connection_alone(devices: &Devices) {
    let server = start(devices, |_| {});
    let (local, address) = (local(devices), address(&server));
    let mut neighbour = Wire::new(&server, &local);
    neighbour.set(b"long", &pattern(2 << 20, 1));
    let wrong = Window { address: 0x7777_0000, key: 0x1234_5678, bytes: 1 << 20 };
    // The server reads what is lent.
    let mut raw = Raw::new(address, &local, wrong, wrong);
    let head = request(Op::Set, 1, &Options::NONE, b"other", &pattern(100_000, 1));
    raw.say(BYTES, &head[..4000]);
    raw.say(LENT, &65_536_u32.to_le_bytes());
    raw.ends("a lending with a wrong key");
    is_served(&mut neighbour);
    // And writes to the landing, where values are registered.
    let mut raw = Raw::new(address, &local, wrong, wrong);
    raw.say(BYTES, &request(Op::Get, 1, &Options::NONE, b"long", b""));
    std::thread::sleep(Duration::from_millis(200));
    is_served(&mut neighbour);
    drop(raw);
    wait_until("they are gone", || sum(&server, |stats| stats.pairs.read()) == 1);
    assert!(sample(&server, "rdma_failures", "pair") >= 1);
    drop(neighbour);
    nothing_is_left(&server);
}

pub(crate) fn pairings_beyond_the_limit_are_refused_and_cost_nothing(devices: &Devices) {
    const LIMIT: usize = 3;
    let server = start(devices, |config| config.rdma.clients_max = LIMIT);
    let (local, address) = (local(devices), address(&server));
    let mut wires: Vec<Wire> = (0..LIMIT).map(|_| Wire::new(&server, &local)).collect();
    let mut socket = TcpStream::connect(address).expect("it accepts");
    for _ in 0..1000 {
        let (status, words) =
            ask(&mut socket, &offer(&local)).expect_err("there are as many as there may be");
        assert_eq!((status, words.as_str()), (Status::Busy as u8, "rdma-clients"));
    }
    wires.iter_mut().for_each(is_served);
    assert_eq!(sum(&server, |stats| stats.pairs.read()), LIMIT as u64);
    assert_eq!(sample(&server, "rdma_refusals", "full"), 1000);
    // One goes, another comes; and what cannot be a queue pair takes no place.
    drop(wires.pop());
    wait_until("it is gone", || sum(&server, |stats| stats.pairs.read()) == LIMIT as u64 - 1);
    for _ in 0..50 {
        let impossible = torc_proto::native::pair::PairEnd { mtu: 3, ..offer(&local) };
        assert_eq!(ask(&mut socket, &impossible).expect_err("it cannot be").0, Status::BadArgument as u8);
    }
    let later = torc_proto::native::pair::PairEnd { version_min: 2, version_max: 9, ..offer(&local) };
    let refused = ask(&mut socket, &later).expect_err("nobody speaks that");
    assert_eq!(refused.0, Status::UnsupportedVersion as u8, "{}", refused.1);
    assert_eq!(["version", "peer", "too_often"].map(|why| sample(&server, "rdma_refusals", why)), [1, 50, 0]);
    wires.push(Wire::new(&server, &local));
    wires.iter_mut().for_each(is_served);
    drop((wires, socket));
    nothing_is_left(&server);
}

/// Each takes the place of the one before, so no other limit is met.
pub(crate) fn queue_pairs_in_a_loop_are_refused(devices: &Devices) {
    const TRIES: u64 = 40;
    let server = start(devices, |config| config.rdma.reads = true);
    let local = local(devices);
    let (mut neighbour, mut wire) = (Wire::new(&server, &local), Wire::new(&server, &local));
    neighbour.set(b"long", &pattern(2 << 20, 1));
    let (began, mut made) = (Instant::now(), 0);
    for _ in 0..TRIES {
        let end = ReadEnd::new(&local.device, &local.domain, &local.place, 7).expect("an end");
        let mut value = Vec::new();
        end.asked().compose(&mut value);
        let (_, status, words) = wire.try_do(Op::Reads, b"", &value).expect("it goes on");
        match status {
            status if status == Status::Ok as u8 => made += 1,
            status => assert_eq!((status, &words[..]), (Status::Busy as u8, &b"rdma-pairings"[..])),
        }
    }
    // The connection's own counts, too. By the seconds of the server.
    let most = 10 * (began.elapsed().as_secs() + 2);
    let refused = sample(&server, "rdma_refusals", "too_often");
    println!("{made} of {TRIES} were made in {:?}", began.elapsed());
    assert!(made >= 9 && made <= most && refused == TRIES - made, "{made} made, {refused} refused");
    assert_eq!(sum(&server, |stats| stats.read_pairs.read()), 1);
    is_served(&mut neighbour);
    wait_until("it gets another one", || {
        let mut end = ReadEnd::new(&local.device, &local.domain, &local.place, 7).expect("an end");
        let mut value = Vec::new();
        end.asked().compose(&mut value);
        let asked_at = Instant::now();
        let (_, status, value) = wire.try_do(Op::Reads, b"", &value).expect("it goes on");
        let given = ReadsGiven::parse(&value).ok().filter(|_| status == Status::Ok as u8);
        given.is_some_and(|given| end.given(&given, asked_at).is_ok())
    });
    drop((neighbour, wire));
    nothing_is_left(&server);
}
