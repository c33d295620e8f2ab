//! `torc tier rearm`: a tier whose medium has failed is taken into use again while clients go on, empty; what memory holds is told
//! to it, and nothing that lay there comes back.
//!
//! The medium is made to fail by a limit of file sizes that is set for the running server, and is well again when that is
//! lifted.

use super::redis::{Answer, Redis};
use super::{count_all, key, kill, set_all, start, stop, tier_file, wait_until_saved};
use crate::harness::{Server, finish, stderr_of, torc};
use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Superblocks can be written, and nothing else.
pub(super) const SUPERBLOCKS: u64 = 8 << 10;

/// Sets how long the files may be that a server writes.
pub(super) fn limit(server: &Server, bytes: u64) {
    let pid = server.ready["pid"].as_u64().expect("a process") as i32;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live `rlimit` that the call only reads; the process is our child.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn rearm(server: &Server) -> Output {
    let admin = server.ready["admin"].as_str().expect("an admin address");
    finish(torc().args(["tier", "rearm", "--admin", admin]))
}

pub(super) fn rearms(server: &Server) {
    let output = rearm(server);
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.contains("in use again"), "{words}{}", stderr_of(&output));
}

fn refuses(server: &Server, why: &str) {
    let output = rearm(server);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr_of(&output).contains(why), "{}", stderr_of(&output));
}

/// Changes keys until the tier is out of use: so much that it is handed over however long the interval is.
pub(super) fn latch(server: &Server, bytes: u64) {
    limit(server, bytes);
    let end = Instant::now() + PATIENCE;
    for number in (0..1000).cycle() {
        if server.metric("torc_tier_latched", "") > 0.0 {
            return;
        }
        // Under `always` it is cut off.
        let set = vec![b"SET".to_vec(), format!("latch {number}").into_bytes(), vec![b'x'; 4096]];
        let _ = Redis::connect(server).try_all(&[set]);
        assert!(Instant::now() < end, "it is noticed");
    }
}

fn wait_until_refilled(server: &Server) {
    let end = Instant::now() + PATIENCE;
    while server.metric("torc_tier_refilling", "") > 0.0 {
        let (status, words) = server.admin("/readyz");
        assert!(status == 200 && words.starts_with("ready"), "{status} {words}");
        assert!(Instant::now() < end, "memory is told in time");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.admin("/readyz"), (200, "ready\n".into()));
}

#[test]
fn a_tier_is_taken_into_use_again_and_is_told_what_memory_holds() {
    const KEYS: usize = 20_000;
    for (transport, shards, durability) in [
        ("uring", "--shards=2", "interval:100ms"),
        ("epoll", "--shards=1", "interval:1h"),
        ("uring", "--shards=3", "always"),
    ] {
        let (_folder, path) = tier_file();
        let arguments = [
            &format!("--transport={transport}"),
            shards,
            "--memory=96m",
            "--tier-size=64m",
            &format!("--durability={durability}"),
        ];
        let server = start(&path, &arguments);
        let mut redis = Redis::connect(&server);
        set_all(&mut redis, 0..KEYS);
        for number in 0..100 {
            redis.run(&["SET", &format!("old {number}"), "old"]);
        }
        refuses(&server, "the tier is in use");
        latch(&server, SUPERBLOCKS);
        assert_eq!(server.metric("torc_tier_latched", ""), 1.0);
        let mut redis = Redis::connect(&server);
        if durability != "always" {
            // Nobody tells the old tier of these, and the new one must not know what they were.
            for number in 0..100 {
                redis.run(&["DEL", &format!("old {number}")]);
            }
            redis.run(&["SET", "since", "without"]);
        }
        refuses(&server, "stays out of use");
        assert_eq!(count_all(&mut redis, 0..KEYS), KEYS, "memory serves meanwhile");
        limit(&server, libc::RLIM_INFINITY);
        rearms(&server);
        assert_eq!(server.metric("torc_tier_latched", ""), 0.0);
        assert_eq!(server.metric("torc_tier_rearms_total", ""), 1.0);
        assert_eq!(redis.run(&["SET", "after", "again"]), Answer::Ok);
        wait_until_refilled(&server);
        if durability == "interval:1h" {
            // What has changed since is saved as ever; a kill would lose it.
            assert!(server.metric("torc_tier_unsaved", "") < 10.0);
        } else {
            wait_until_saved(&server);
        }
        kill(server);
        let server = start(&path, &arguments);
        let mut redis = Redis::connect(&server);
        assert_eq!(count_all(&mut redis, 0..KEYS), KEYS, "{durability}");
        if durability != "always" {
            let old = (0..100).filter(|number| redis.run(&["GET", &format!("old {number}")]) != Answer::Nil);
            assert_eq!(old.count(), 0, "{durability}");
            assert_eq!(redis.run(&["GET", "since"]), Answer::Bulk(b"without".to_vec()));
        }
        if durability != "interval:1h" {
            assert_eq!(redis.run(&["GET", "after"]), Answer::Bulk(b"again".to_vec()));
        }
    }
}

#[test]
fn a_tier_that_could_not_be_made_void_lets_changes_in_again_when_it_is_rearmed() {
    let (_folder, path) = tier_file();
    let server = start(&path, &["--memory=64m", "--tier-size=64m"]);
    let mut redis = Redis::connect(&server);
    set_all(&mut redis, 0..1000);
    wait_until_saved(&server);
    latch(&server, 0);
    assert_eq!(server.metric("torc_tier_latched", ""), 2.0);
    assert!(
        matches!(redis.run(&["SET", "key:1", "x"]), Answer::Error(words) if words.contains("durability"))
    );
    refuses(&server, "stays out of use");
    assert_eq!(server.admin("/readyz").0, 503);
    limit(&server, libc::RLIM_INFINITY);
    rearms(&server);
    assert_eq!(redis.run(&["DEL", &key(1)]), Answer::Integer(1));
    wait_until_refilled(&server);
    wait_until_saved(&server);
    kill(server);
    let server = start(&path, &[]);
    assert_eq!(count_all(&mut Redis::connect(&server), 0..1000), 999);
}

#[test]
fn a_file_that_was_cut_or_deleted_is_made_at_its_size_again_and_a_foreign_one_is_left_alone() {
    for (size, durability) in [("--tier-size=64m", "interval:50ms"), ("", "none")] {
        let (_folder, path) = tier_file();
        if size.is_empty() {
            stop(start(&path, &["--tier-size=64m"]));
        }
        let durability = format!("--durability={durability}");
        let arguments: Vec<&str> =
            ["--memory=48m", &durability, size].into_iter().filter(|word| !word.is_empty()).collect();
        let server = start(&path, &arguments);
        let file = || std::fs::OpenOptions::new().write(true).open(&path).expect("the tier");
        file().set_len(1 << 20).expect("cut");
        let end = Instant::now() + PATIENCE;
        let mut number = 0;
        while server.metric("torc_tier_latched", "") < 1.0 {
            // Under `none` only what eviction comes to is written.
            set_all(&mut Redis::connect(&server), number..number + 2000);
            number += 2000;
            assert!(Instant::now() < end, "it is noticed");
        }
        std::fs::remove_file(&path).expect("deleted");
        std::fs::write(&path, vec![b'x'; 1 << 20]).expect("another file");
        refuses(&server, "not a tier");
        assert_eq!(std::fs::read(&path).expect("a file"), vec![b'x'; 1 << 20]);
        std::fs::remove_file(&path).expect("deleted");
        rearms(&server);
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), 64 << 20);
        wait_until_refilled(&server);
        set_all(&mut Redis::connect(&server), 0..500);
        stop(server);
        let server = start(&path, &["--memory=48m"]);
        assert_eq!(count_all(&mut Redis::connect(&server), 0..500), 500, "{durability}");
    }
}

#[test]
fn a_server_without_a_tier_has_nothing_to_rearm() {
    let server = Server::start(&[]);
    refuses(&server, "no tier");
    assert_eq!(server.admin("/tier/rearm").0, 405, "it is no page to look at");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let output = finish(torc().args(["tier", "rearm", "--admin", &free.to_string()]));
    assert!(stderr_of(&output).contains("--admin of a running server"), "{}", stderr_of(&output));
}

type Stops = AtomicBool;

/// Tells writers to stop when it goes.
struct End<'s>(&'s Stops);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client that changes keys of its own, each to a number that rises.
#[derive(Default)]
struct Writer {
    client: usize,
    next: u64,
    /// By key: the last number that was sent, and the last that was answered.
    keys: Vec<(u64, u64)>,
}

impl Writer {
    const KEYS: usize = 500;

    fn key(&self, number: usize) -> String {
        format!("writer {} {number}", self.client)
    }

    /// Writes until it is told to stop; who is cut off or refused tries again.
    fn write(&mut self, server: SocketAddr, stop: &Stops) {
        let mut redis = Redis::at(server);
        while !stop.load(Ordering::Relaxed) {
            self.next += 1;
            let at = (self.next * 7919 % Self::KEYS as u64) as usize;
            let words = vec![b"SET".to_vec(), self.key(at).into(), self.next.to_string().into()];
            self.keys[at].0 = self.next;
            match redis.try_all(&[words]).as_deref() {
                Ok([Answer::Ok]) => self.keys[at].1 = self.next,
                // It was not done, but one before may have been whose client was cut off.
                Ok([Answer::Error(words)]) => assert!(words.contains("durability"), "{words}"),
                Ok(other) => panic!("{other:?}"),
                // Cut off, or the server is gone.
                Err(_) => match std::net::TcpStream::connect(server) {
                    Ok(stream) => redis = Redis::over(stream),
                    Err(_) => return,
                },
            }
        }
    }

    /// What was answered last is there, or something that was sent later.
    fn check(&self, server: &Server) {
        let mut redis = Redis::connect(server);
        for (number, &(sent, answered)) in
            self.keys.iter().enumerate().filter(|(_, (_, answered))| *answered > 0)
        {
            let Answer::Bulk(found) = redis.run(&["GET", &self.key(number)]) else {
                panic!("{number} is gone")
            };
            let found: u64 = String::from_utf8(found).expect("text").parse().expect("a number");
            assert!((answered..=sent).contains(&found), "{found} of {answered} to {sent}");
        }
    }
}

#[test]
fn what_was_answered_is_there_after_a_kill_however_often_the_tier_was_rearmed_meanwhile() {
    for shards in ["--shards=1", "--shards=2"] {
        let (_folder, path) = tier_file();
        let arguments = [shards, "--memory=96m", "--tier-size=64m", "--durability=always"];
        let mut server = start(&path, &arguments);
        let mut writers: Vec<Writer> = (0..3)
            .map(|client| Writer { client, keys: vec![(0, 0); Writer::KEYS], ..Writer::default() })
            .collect();
        set_all(&mut Redis::connect(&server), 0..10_000);
        for round in 0..4 {
            let (stops, address) = (Stops::default(), server.address());
            std::thread::scope(|scope| {
                // They end if this thread does before its time, too.
                let stops = &stops;
                let _end = End(stops);
                writers.iter_mut().for_each(|writer| _ = scope.spawn(|| writer.write(address, stops)));
                for _ in 0..2 {
                    std::thread::sleep(Duration::from_millis(100));
                    latch(&server, if round % 2 == 0 { SUPERBLOCKS } else { 0 });
                    refuses(&server, "stays out of use");
                    limit(&server, libc::RLIM_INFINITY);
                    rearms(&server);
                }
                wait_until_refilled(&server);
                std::thread::sleep(Duration::from_millis(100));
                // In the middle of their writing.
                server.signal(libc::SIGKILL);
            });
            server = {
                server.wait();
                start(&path, &arguments)
            };
            writers.iter().for_each(|writer| writer.check(&server));
            assert_eq!(count_all(&mut Redis::connect(&server), 0..10_000), 10_000);
        }
    }
}
