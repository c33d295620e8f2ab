//! Bits that flip under a running server, and a file that shrinks.

use super::redis::{Answer, Redis};
use super::{count_all, key, kill, set_all, start, tier_file, value, wait_until_saved};
use crate::harness::{finish, serve, stderr_of};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

#[test]
fn flipped_bits_are_misses_and_every_hit_stays_right() {
    const KEYS: usize = 40_000;
    let (_folder, path) = tier_file();
    let arguments = ["--memory=24m", "--tier-size=48m"];
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    // Older copies of all keys, which must not come back.
    for number in 0..1000 {
        redis.run(&["SET", &key(number), "old"]);
    }
    wait_until_saved(&server);
    set_all(&mut redis, 0..KEYS);
    wait_until_saved(&server);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("the tier");
    let length = file.metadata().expect("a file").len();
    for number in 0..400 {
        let at = (64 << 10) + number * 7_919_317 % (length - (64 << 10));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte");
        file.write_all_at(&[byte[0] ^ 1 << (number % 8)], at).expect("a byte");
    }
    file.sync_all().expect("it is written");
    let found = count_all(&mut redis, 0..KEYS);
    assert!(found < KEYS && found > KEYS / 2, "{found}");
    assert!(server.metric("torc_tier_corrupt_total", "") > 0.0);
    kill(server);
    let server = start(&path, &arguments);
    let mut redis = Redis::connect(&server);
    assert!(count_all(&mut redis, 0..KEYS) <= found);
}

#[test]
fn changes_that_must_be_saved_are_refused_when_they_can_not_be() {
    for shards in ["--shards=1", "--shards=2"] {
        let (_folder, path) = tier_file();
        let server = start(&path, &[shards, "--durability=always", "--memory=64m", "--tier-size=64m"]);
        let mut redis = Redis::connect(&server);
        set_all(&mut redis, 0..100);
        std::fs::OpenOptions::new().write(true).open(&path).expect("the tier").set_len(1 << 20).expect("cut");
        // The first change that cannot be saved costs its client the connection, as it may have happened.
        let mut cut_off = 0;
        for number in 100..140 {
            let command = vec![b"SET".to_vec(), key(number).into(), value(number)];
            match redis.try_all(&[command]) {
                Ok(answers) => {
                    let Answer::Error(words) = &answers[0] else { panic!("{answers:?} to key {number}") };
                    assert!(words.contains("durability"), "{words}");
                }
                Err(_) => {
                    cut_off += 1;
                    redis = Redis::connect(&server);
                }
            }
        }
        assert!((1..10).contains(&cut_off), "{cut_off}");
        assert!(server.metric("torc_connections_closed_total", "storage") >= 1.0);
        assert_eq!(count_all(&mut redis, 0..100), 100, "reads go on");
        assert_eq!(server.admin("/readyz").0, 503);
    }
}

#[test]
fn a_file_that_shrinks_latches_the_tier_and_serving_goes_on() {
    let (_folder, path) = tier_file();
    let server = start(&path, &["--memory=64m", "--tier-size=64m"]);
    let mut redis = Redis::connect(&server);
    set_all(&mut redis, 0..1000);
    wait_until_saved(&server);
    std::fs::OpenOptions::new().write(true).open(&path).expect("the tier").set_len(1 << 20).expect("cut");
    let end = Instant::now() + crate::harness::PATIENCE;
    let mut number = 1000;
    while server.metric("torc_tier_latched", "") < 1.0 {
        set_all(&mut redis, number..number + 1);
        number += 1;
        assert!(Instant::now() < end, "it is noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(count_all(&mut redis, 0..number), number, "everything is in memory");
    set_all(&mut redis, number..number + 1000);
    assert_eq!(redis.run(&["DEL", &key(0)]), Answer::Integer(1));
    assert_eq!(redis.run(&["GET", &key(1)]), Answer::Bulk(value(1)));
    let (status, words) = server.admin("/readyz");
    assert!(status == 200 && words.contains("tier"), "{status} {words}");
}

#[test]
fn a_tier_beyond_the_limit_of_file_sizes_is_refused_with_words() {
    use std::os::unix::process::CommandExt;
    let (_folder, path) = tier_file();
    let mut command = serve(&[&format!("--tier={}", path.display()), "--tier-size=64m"]);
    // SAFETY: between fork and exec it makes one system call, with a pointer to a value that lives as long.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 8 << 20, rlim_max: 8 << 20 };
            match libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let output = finish(&mut command);
    assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
    assert!(stderr_of(&output).contains("--tier: "), "{}", stderr_of(&output));
}
