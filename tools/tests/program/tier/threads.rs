//! Where the threads of a tier run, and how much they count.

use super::redis::Redis;
use super::{start, tier_file};
use crate::harness::{PATIENCE, Server};
use std::time::Instant;

/// The files of a thread: status and stat. It has its name soon after its start.
fn thread(server: &Server, name: &str) -> (String, String) {
    let end = Instant::now() + PATIENCE;
    loop {
        for task in std::fs::read_dir(format!("/proc/{}/task", server.ready["pid"])).expect("a process") {
            let task = task.expect("a thread").path();
            let read = |file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
            if read("comm").trim() == name {
                return (read("status"), read("stat"));
            }
        }
        assert!(Instant::now() < end, "a thread with the name {name}");
    }
}

/// Nice level and policy of a thread, which stand behind its name in this order.
fn weight(server: &Server, name: &str) -> (String, String) {
    let (_, stat) = thread(server, name);
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    (fields[16].into(), fields[38].into())
}

#[test]
fn the_threads_of_a_tier_run_on_the_cpus_that_they_were_given() {
    let (_folder, path) = tier_file();
    let start = |more: &str| start(&path, &["--tier-size=64m", "--storage-cpus=0", more]);
    let run_there = |server: &Server, names: &[&str]| {
        for name in names {
            let end = Instant::now() + PATIENCE;
            while !thread(server, name).0.contains("Cpus_allowed_list:\t0\n") {
                assert!(Instant::now() < end, "{name} runs elsewhere");
            }
        }
    };
    run_there(&start("--tier-reads=threads"), &["torc-storage", "torc-fetch-0", "torc-fetch-3"]);
    let server = start("--tier-reads=auto");
    run_there(&server, &["torc-storage", "torc-fetch-0"]);
    assert_eq!(weight(&server, "torc-storage"), weight(&server, "torc-shard-0"), "it has CPUs of its own");
}

#[test]
fn the_thread_that_writes_counts_less_unless_somebody_waits_for_it() {
    // SAFETY: it only asks for the identity of this process.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root may raise a thread again");
        return;
    }
    let (_folder, path) = tier_file();
    for (durability, counts_less) in [("interval:1h", true), ("always", false)] {
        let server = start(&path, &["--tier-size=64m", &format!("--durability={durability}")]);
        Redis::connect(&server).run(&["SET", "key", "value"]);
        let (end, usual) = (Instant::now() + PATIENCE, weight(&server, "torc-shard-0"));
        while (weight(&server, "torc-storage") != usual) != counts_less {
            assert!(Instant::now() < end, "{durability}: {:?}", weight(&server, "torc-storage"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(weight(&server, "torc-fetch-0"), usual, "clients wait for it");
    }
}
