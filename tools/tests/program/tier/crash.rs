//! A server under load is killed at random moments, again and again. What clients were told before must agree with what they
//! are told after it: within the interval of durability a change may be undone, nothing older may come back, and no value
//! that was never written.

use super::redis::{Answer, Redis};
use super::{kill, start, stop, tier_file};
use crate::harness::Server;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Kills of each durability together; `TORC_TEST_KILLS` asks for more.
const KILLS: u64 = 20;
const CLIENTS: usize = 4;
/// Keys of a client: few, so that most changes meet an older copy.
const KEYS: usize = 300;
/// A durability, the time after which a change may not come undone, and its share of the kills in percent. The interval is
/// 100 ms; the rest of the bound is what a busy machine needs to keep to it.
const INTERVAL: (&str, Duration, u64) = ("interval:100ms", Duration::from_secs(3), 60);
/// What was answered is saved.
const ALWAYS: (&str, Duration, u64) = ("always", Duration::ZERO, 40);
/// One key of so many has long values, in chunks.
const LONG_SHARE: usize = 60;
/// Of a hundred keys that should be there, so many may be lost to the tier's index or its oldest batches.
const LOST_PERCENT_MAX: usize = 2;

/// What a key had at a time: the number of its value, or nothing.
#[derive(Debug, Clone, Copy)]
struct Change {
    number: Option<u64>,
    /// When the answer had come; `None`: it never came.
    answered: Option<Instant>,
}

/// A client with keys of its own, and all that it has done to them since it last knew what they have.
struct Model {
    client: usize,
    random: u64,
    next: u64,
    keys: Vec<Vec<Change>>,
}

impl Model {
    fn new(client: usize) -> Model {
        let nothing = Change { number: None, answered: Some(Instant::now()) };
        Model { client, random: client as u64 + 1, next: 0, keys: vec![vec![nothing]; KEYS] }
    }

    fn below(&mut self, end: u64) -> u64 {
        // Xorshift (Marsaglia, 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn key(&self, number: usize) -> Vec<u8> {
        format!("client {} key {number}", self.client).into_bytes()
    }

    fn value(&self, key: usize, number: u64) -> Vec<u8> {
        let line = format!("{}/{key}/{number};", self.client);
        let length = match key % LONG_SHARE {
            0 => 270_000 + (number * 37_013 % 200_000) as usize,
            _ => line.len() + (number * 37 % 600) as usize,
        };
        line.bytes().cycle().take(length).collect()
    }

    /// Changes keys until the server is gone.
    fn load(&mut self, server: SocketAddr, stop: &AtomicBool) {
        let mut redis = Redis::at(server);
        while !stop.load(Ordering::Relaxed) {
            let key = self.below(KEYS as u64) as usize;
            let number = (self.below(5) > 0).then_some(self.next);
            self.next += 1;
            let command = match number {
                Some(number) => vec![b"SET".to_vec(), self.key(key), self.value(key, number)],
                None => vec![b"DEL".to_vec(), self.key(key)],
            };
            self.keys[key].push(Change { number, answered: None });
            let Ok(answers) = redis.try_all(&[command]) else { return };
            assert!(matches!(answers[0], Answer::Ok | Answer::Integer(_)), "{answers:?}");
            self.keys[key].last_mut().expect("just made").answered = Some(Instant::now());
        }
    }

    /// Compares what all keys have with what they may have, and begins anew from that. Returns how many should have something,
    /// and how many of those have nothing.
    fn check(&mut self, server: &Server, killed: Instant, bound: Duration) -> (usize, usize) {
        let mut redis = Redis::connect(server);
        let (mut wanted, mut lost) = (0, 0);
        for key in 0..KEYS {
            let found = match redis.run(&["GET", &String::from_utf8(self.key(key)).expect("text")]) {
                Answer::Nil => None,
                Answer::Bulk(value) => Some(self.number_of(key, &value)),
                other => panic!("{other:?}"),
            };
            let changes = &self.keys[key];
            // The last that was answered longer ago than the bound: nothing before it may come back.
            let is_old = |change: &Change| change.answered.is_some_and(|at| at + bound <= killed);
            let first = changes.iter().rposition(is_old).unwrap_or(0);
            let allowed: Vec<Option<u64>> = changes[first..].iter().map(|change| change.number).collect();
            if allowed.iter().all(Option::is_some) {
                wanted += 1;
                lost += usize::from(found.is_none());
            }
            assert!(
                found.is_none() || allowed.contains(&found),
                "client {} key {key} has {found:?}, may have {allowed:?}; {changes:?}",
                self.client
            );
            self.keys[key] = vec![Change { number: found, answered: Some(Instant::now()) }];
        }
        (wanted, lost)
    }

    fn number_of(&self, key: usize, value: &[u8]) -> u64 {
        let text = String::from_utf8_lossy(value);
        let number =
            text.split(';').next().and_then(|line| line.rsplit('/').next()).and_then(|n| n.parse().ok());
        let number = number.unwrap_or_else(|| panic!("no value of ours: {text}"));
        assert!(value == self.value(key, number), "key {key}: not a value of it: {text}");
        number
    }
}

fn server(path: &Path, durability: &str, round: u64) -> Server {
    // Two shards mostly, so that streams and shards agree; another number now and then.
    let shards = format!("--shards={}", [2, 2, 1, 2, 3][(round % 5) as usize]);
    let durability = format!("--durability={durability}");
    start(path, &[&shards, &durability, "--memory=64m", "--tier-size=256m"])
}

#[test]
fn nothing_old_and_nothing_wrong_comes_back_after_kills_under_load() {
    kill_again_and_again(INTERVAL);
}

#[test]
fn whatever_was_answered_is_there_after_kills_if_it_is_saved_always() {
    kill_again_and_again(ALWAYS);
}

#[test]
fn under_none_an_orderly_stop_keeps_the_last_change_of_all_and_a_kill_nothing() {
    let (_folder, path) = tier_file();
    let mut models: Vec<Model> = (0..CLIENTS).map(Model::new).collect();
    let (mut wanted, mut lost) = (0, 0);
    for round in 0..9 {
        let mut server = server(&path, "none", round);
        let is_over = AtomicBool::new(false);
        let is_kill = round % 3 == 2;
        std::thread::scope(|scope| {
            for model in &mut models {
                let (address, is_over) = (server.address(), &is_over);
                scope.spawn(move || model.load(address, is_over));
            }
            std::thread::sleep(Duration::from_millis(200 + round * 7919 % 1000));
            server.signal(if is_kill { libc::SIGKILL } else { libc::SIGTERM });
            is_over.store(true, Ordering::Relaxed);
        });
        let ended = Instant::now();
        let (status, stderr) = server.wait();
        assert!(is_kill || status.success(), "{stderr}");
        let server = self::server(&path, "none", round + 1);
        for model in &mut models {
            let (some_wanted, some_lost) = model.check(&server, ended, Duration::ZERO);
            if is_kill {
                assert_eq!(some_wanted, some_lost, "what is on the tier was not believed");
            } else {
                (wanted, lost) = (wanted + some_wanted, lost + some_lost);
            }
        }
        stop(server);
    }
    println!("none: {lost} of {wanted} keys that should be there are lost");
    assert!(wanted > 100 && lost == 0, "{lost} of {wanted} lost");
}

fn kill_again_and_again((durability, bound, percent): (&str, Duration, u64)) {
    let kills = std::env::var("TORC_TEST_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"))
        * percent
        / 100;
    let (_folder, path) = tier_file();
    let mut models: Vec<Model> = (0..CLIENTS).map(Model::new).collect();
    let (mut wanted, mut lost) = (0, 0);
    for round in 0..kills {
        let server = server(&path, durability, round);
        let is_over = AtomicBool::new(false);
        let run = Duration::from_millis(200 + round * 7919 % 1500);
        std::thread::scope(|scope| {
            for model in &mut models {
                let (address, is_over) = (server.address(), &is_over);
                scope.spawn(move || model.load(address, is_over));
            }
            std::thread::sleep(run);
            server.signal(libc::SIGKILL);
            is_over.store(true, Ordering::Relaxed);
        });
        let killed = Instant::now();
        kill(server);
        let server = self::server(&path, durability, round + 1);
        for model in &mut models {
            let (some_wanted, some_lost) = model.check(&server, killed, bound);
            (wanted, lost) = (wanted + some_wanted, lost + some_lost);
        }
        // The next start finds a tier that was closed, or one that was not.
        if round % 3 == 0 {
            stop(server);
        } else {
            kill(server);
        }
    }
    println!("{durability}, {kills} kills: {lost} of {wanted} keys that should be there are lost");
    assert!(wanted > 100 && lost * 100 <= wanted * LOST_PERCENT_MAX, "{lost} of {wanted} lost");
}
