//! Clients that keep to nothing: one of each kind, and two hundred at once beside one that does.

use super::client::*;
use super::raw::*;
use super::servers::*;
use std::path::Path;
use std::time::{Duration, Instant};
use torc_net::server::Server;
use torc_net::session::AttachRefusal;
use torc_proto::native::{Op, Status};

const RING: usize = 16 << 10;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn broken(server: &Server) -> u64 {
    sum(server, |stats| stats.rings_broken())
}

/// Nothing is left of the clients that were there, but for `rings` of them.
pub(super) fn is_clean(server: &Server, rings: u64) {
    wait_until("their rings are gone", || sum(server, |stats| stats.rings.read()) == rings);
    let is_ring = |name: &str| name.contains("memfd:torc-answers") || name.contains("memfd:torc-requests");
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| is_ring(line)).count() as u64
    };
    // Two mappings on either side of each, and this process is both sides.
    wait_until("their mappings are gone", || mapped() <= 4 * rings);
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let left = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    assert_eq!(left.filter(|name| is_ring(&name.to_string_lossy())).count(), 0);
}

/// [N-SHM-5]: a position that runs backwards, or is ahead of what there is, ends the connection.
#[test]
fn positions_that_cannot_be_end_the_connection() {
    on_each(RING, |server, path| {
        let mut good = Client::connect(path);
        good.set(b"key", b"value");
        let kinds: [fn(&mut Raw); 5] = [
            |raw| raw.tell(WRITTEN, raw.ring_bytes as u64 + 1),
            |raw| raw.tell(WRITTEN, u64::MAX),
            |raw| {
                raw.request(Op::Get, b"key", b"");
                raw.ring(1);
                std::thread::sleep(Duration::from_millis(50));
                raw.tell(WRITTEN, 3);
            },
            // It has taken more than there was.
            |raw| {
                raw.tell(TAKEN, 1 << 40);
                (0..2000).for_each(|_| {
                    raw.request(Op::Ping, b"", &[7; 100]);
                    raw.ring(1);
                    std::thread::sleep(Duration::from_micros(20));
                });
            },
            |raw| {
                raw.tell(WRITTEN, 1 << 63);
                raw.tell(TAKEN, 1 << 63);
                raw.tell(SLEEP, u64::MAX);
            },
        ];
        for (number, kind) in kinds.iter().enumerate() {
            let mut raw = Raw::attach(path);
            kind(&mut raw);
            // It may be cold by now.
            raw.ring(1);
            assert!(raw.is_closed(), "kind {number} goes on");
            wait_until("it is counted", || broken(server) == number as u64 + 1);
            assert_eq!(good.get(b"key"), b"value");
        }
        drop(good);
        is_clean(server, 0);
    });
}

/// [N-SHM-6]: the server's file is the client's to read alone.
#[test]
fn the_servers_file_cannot_be_written() {
    on_each(RING, |_, path| {
        let raw = Raw::attach(path);
        for (file, is_servers) in [(&raw.files[0], true), (&raw.files[1], false)] {
            use std::os::fd::AsRawFd;
            // SAFETY: a new mapping, which is not used; fallocate and ftruncate take no pointers.
            let (mapped, cut, punched) = unsafe {
                let protection = libc::PROT_READ | libc::PROT_WRITE;
                let fd = file.as_raw_fd();
                let mapped = libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, fd, 0);
                if mapped != libc::MAP_FAILED {
                    libc::munmap(mapped, 4096);
                }
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                (
                    mapped != libc::MAP_FAILED,
                    libc::ftruncate(fd, 0) == 0,
                    libc::fallocate(fd, mode, 0, 4096) == 0,
                )
            };
            assert_eq!((mapped, cut, punched), (!is_servers, false, !is_servers));
        }
    });
}

/// Whatever the bytes are: the session answers, or the connection ends.
#[test]
fn random_bytes_lengths_and_words_harm_nobody() {
    const TRIES: u64 = 60;
    on_each(RING, |server, path| {
        let mut good = Client::connect(path);
        good.set(b"key", b"value");
        for seed in 0..TRIES {
            let mut random = Random(seed);
            let mut raw = Raw::attach(path);
            for _ in 0..30 {
                match random.next() % 6 {
                    0 => raw.tell([WRITTEN, TAKEN, SLEEP][random.next() as usize % 3], random.next()),
                    1 => raw.tell(TAKEN, random.next() % 100_000),
                    2 => raw.tell(SLEEP, random.next()),
                    3 => {
                        let bytes: Vec<u8> = (0..random.next() % 5000).map(|_| random.next() as u8).collect();
                        raw.write(&bytes);
                    }
                    // A frame whose lengths are random.
                    4 => {
                        let mut frame = vec![0xC7, (random.next() % 0x50) as u8, 0, 0];
                        (0..12).for_each(|_| frame.push((random.next() % 20) as u8));
                        raw.write(&frame);
                    }
                    _ => drop(raw.ring(1 + random.next() as usize % 300)),
                }
            }
            assert_eq!(good.get(b"key"), b"value", "seed {seed}");
        }
        wait_until("they are gone", || sum(server, |stats| stats.connections.read()) == 1);
        is_clean(server, 1);
    });
}

#[test]
fn a_client_that_takes_no_answers_is_not_served_on_and_then_closed() {
    on_each_with(
        |config| {
            shares(config, RING);
            config.slow_client_timeout = Some(Duration::from_secs(1));
        },
        |server, path| {
            let mut good = Client::connect(path);
            good.set(b"key", &[7; 60_000]);
            let mut raw = Raw::attach(path);
            // Asleep for ever, too: the bells fill its socket.
            raw.tell(SLEEP, 5);
            for _ in 0..500 {
                raw.request(Op::Get, b"key", b"");
            }
            raw.ring(1);
            assert!(raw.is_closed());
            assert_eq!(closes(server, torc_net::metrics::CloseReason::Slow), 1);
            assert_eq!(good.get(b"key").len(), 60_000);
        },
    );
}

/// [N-SHM-1], [N-SHM-7]
#[test]
fn who_may_not_attach_is_told_and_goes_on_over_its_socket() {
    use std::io::{Read, Write};
    use torc_proto::native::frame::compose_request;
    use torc_proto::native::{Answer, Attach, FrameLimits, Options, ParseError};
    fn ask(stream: &mut (impl Read + Write), op: Op, value: &[u8]) -> (Status, String) {
        let mut bytes = Vec::new();
        compose_request(&mut bytes, op, 0, 1, &Options::NONE, b"", value).unwrap();
        stream.write_all(&bytes).unwrap();
        bytes.clear();
        loop {
            match Answer::parse(&bytes, &FrameLimits { value_bytes_max: 1 << 20 }) {
                Ok((answer, _)) => {
                    return (answer.header.status(), String::from_utf8_lossy(answer.value).into_owned());
                }
                Err(ParseError::Incomplete { missing }) => {
                    let before = bytes.len();
                    bytes.resize(before + missing, 0);
                    stream.read_exact(&mut bytes[before..]).unwrap();
                }
                Err(invalid) => panic!("{invalid}"),
            }
        }
    }
    let mut value = Vec::new();
    Attach::OURS.compose(&mut value);
    let refused = |server: &Server, why| sum(server, |stats| stats.attaches_refused(why));
    on_each(RING, |server, _| {
        let mut tcp = connect(address(server));
        let (status, words) = ask(&mut tcp, Op::Attach, &value);
        assert!(status == Status::NotSupported && words.contains("Unix socket"), "{words}");
        assert_eq!(refused(server, AttachRefusal::NotLocal), 1);
        assert_eq!(ask(&mut tcp, Op::Ping, b"still here"), (Status::Ok, "still here".into()));
        let later = [2, 0, 3, 0, 0, 0, 0, 0];
        assert_eq!(ask(&mut tcp, Op::Attach, &later).0, Status::UnsupportedVersion);
        assert_eq!(ask(&mut tcp, Op::Attach, b"short").0, Status::BadArgument);
    });
    let nobody = |config: &mut torc_net::server::ServerConfig| {
        shares(config, RING);
        config.shared_memory.iter_mut().for_each(|shared| shared.users = vec![54_321]);
    };
    on_each_with(nobody, |server, path| {
        let mut unix = std::os::unix::net::UnixStream::connect(path).unwrap();
        let (status, words) = ask(&mut unix, Op::Attach, &value);
        assert!(status == Status::NotSupported && words.contains("--shared-memory-users"), "{words}");
        assert_eq!(refused(server, AttachRefusal::User), 1);
        assert_eq!(ask(&mut unix, Op::Ping, b"still here"), (Status::Ok, "still here".into()));
    });
    let little = |config: &mut torc_net::server::ServerConfig| shares(config, 4 << 20);
    on_each_with(little, |server, path| {
        let mut unix = std::os::unix::net::UnixStream::connect(path).unwrap();
        assert_eq!(ask(&mut unix, Op::Attach, &value), (Status::Busy, "client-memory".into()));
        assert_eq!(refused(server, AttachRefusal::Memory), 1);
    });
    on_each_with(
        |_| {},
        |server, path| {
            let mut unix = std::os::unix::net::UnixStream::connect(path).unwrap();
            let (status, words) = ask(&mut unix, Op::Attach, &value);
            assert!(status == Status::NotSupported && words.contains("--shared-memory"), "{words}");
            assert_eq!(refused(server, AttachRefusal::Off), 1);
        },
    );
}

/// An attached client that attaches once more is told so through its rings.
#[test]
fn an_attached_client_cannot_attach_again() {
    on_each(RING, |_, path| {
        let mut client = Client::connect(path);
        let got = client.ask(Op::Attach, b"", &[1, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(got.status, Status::BadArgument);
        client.set(b"key", b"value");
    });
}

/// Leaves the CPUs to the server and to who is measured: two hundred threads that run all the time would keep both waiting for them.
fn yield_to_others() {
    // SAFETY: it takes no pointers; the thread is this one (Linux counts priorities by threads, setpriority(2)). If it fails, it
    // stays as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

/// One of a crowd, by its number: what it does until the time is over.
fn misbehave(path: &Path, number: u64, until: Instant) {
    yield_to_others();
    let mut random = Random(number);
    while Instant::now() < until {
        // While clients hold all that they may, there is nothing for one more.
        let Some(mut raw) = Raw::try_attach(path) else { continue };
        for _ in 0..200 {
            if Instant::now() > until {
                return;
            }
            match number % 5 {
                // Takes nothing, and asks for more and more.
                0 => (0..50).for_each(|_| raw.request(Op::Get, b"key", b"")),
                // Fills the socket with bells.
                1 => while raw.ring(4096) {},
                // Sleeps for ever, by any number.
                2 => {
                    raw.tell(SLEEP, random.next() | 1);
                    raw.request(Op::Ping, b"", b"x");
                }
                3 => {
                    let bytes: Vec<u8> = (0..3000).map(|_| random.next() as u8).collect();
                    raw.write(&bytes);
                }
                _ => raw.tell([WRITTEN, TAKEN][random.next() as usize % 2], random.next() % 200_000),
            }
            raw.ring(1);
            std::thread::sleep(Duration::from_millis(1 + random.next() % 5));
        }
    }
}

pub(super) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// Bounds are for what must never be: a good client that is not served, memory without end. Each of the crowd's clients maps its
/// files here, too.
#[test]
fn two_hundred_of_them_do_not_keep_one_from_being_served() {
    const CROWD: u64 = 200;
    const P99_MAX: Duration = Duration::from_millis(500);
    on_each_with(
        |config| {
            shares(config, RING);
            config.memory_bytes = 256 << 20;
            config.slow_client_timeout = Some(Duration::from_secs(1));
        },
        |server, path| {
            let mut good = Client::connect(path);
            good.set(b"key", &[7; 5_000]);
            let before = resident_bytes();
            let until = Instant::now() + Duration::from_secs(3);
            let (mut times, mut most) = (Vec::new(), 0);
            std::thread::scope(|scope| {
                for number in 0..CROWD {
                    scope.spawn(move || misbehave(path, number, until));
                }
                while Instant::now() < until {
                    let asked = Instant::now();
                    assert_eq!(good.get(b"key").len(), 5_000);
                    times.push(asked.elapsed());
                    most = most.max(resident_bytes());
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            times.sort_unstable();
            let p99 = times[times.len() * 99 / 100];
            eprintln!("{} answers, p99 {p99:?}, resident from {before} to {most}", times.len());
            assert!(p99 < P99_MAX, "{p99:?}");
            assert!(most < before + (128 << 20), "from {before} to {most}");
            wait_until("the crowd is gone", || sum(server, |stats| stats.connections.read()) == 1);
            is_clean(server, 1);
            assert!(broken(server) > 0);
        },
    );
}
