//! `--spin` and `--min-wait`: what the server says of them, and that it sleeps all the same when there is nothing to do.

use crate::harness::{Server, serve};
use std::time::Duration;

/// Measured time, and the share of it that an idle server may be on a CPU: its control plane takes an eighth of a percent.
const IDLE: Duration = Duration::from_secs(2);
const IDLE_SHARE_MAX: f64 = 0.02;

/// Time on a CPU of all threads of a process.
fn on_cpu(process: u64) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("threads");
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(of_task).sum())
}

#[test]
fn a_server_that_spins_and_waits_for_batches_sleeps_when_nobody_asks() {
    for transport in ["--transport=auto", "--transport=epoll"] {
        let server = Server::start(&[transport, "--shards=2", "--spin=1ms", "--min-wait=1ms"]);
        let mut clients = [server.connect(), server.connect()];
        for _ in 0..200 {
            clients.iter_mut().for_each(|client| client.ask(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"));
        }
        let process = server.ready["pid"].as_u64().expect("a process");
        std::thread::sleep(Duration::from_millis(100));
        let before = on_cpu(process);
        std::thread::sleep(IDLE);
        let share = (on_cpu(process) - before).as_secs_f64() / IDLE.as_secs_f64();
        assert!(share < IDLE_SHARE_MAX, "{transport}: {share}");
    }
}

#[test]
fn the_banner_says_that_epoll_does_not_wait_for_batches() {
    let banner = |arguments: &[&str]| {
        let mut server = Server::spawn(&mut serve(arguments));
        server.connect().ask(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
        server.signal(libc::SIGTERM);
        server.wait().1
    };
    let asked = banner(&["--transport=epoll", "--min-wait=20us", "--spin=20us"]);
    assert!(asked.contains("--min-wait is off: epoll"), "{asked}");
    let not_asked = banner(&["--transport=epoll", "--spin=20us"]);
    assert!(!not_asked.contains("--min-wait"), "{not_asked}");
}
