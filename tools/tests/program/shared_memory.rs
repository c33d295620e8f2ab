//! Memory that the built `torc` shares with clients on its host: from the settings to a server that is killed under load.

use crate::harness::{PATIENCE, Server, finish, stderr_of, torc};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use torc_client::{Client, Config, Transport};

fn server(folder: &Path, more: &[&str]) -> Server {
    let socket = format!("--listen=unix:{}", folder.join("torc.sock").display());
    let arguments = ["--listen=127.0.0.1:0", &socket, "--shared-memory"];
    Server::start(&[&arguments, more].concat())
}

#[test]
fn without_a_unix_socket_it_does_not_start_and_says_what_to_add() {
    for listen in ["127.0.0.1:0", "resp+unix:/tmp/torc-resp-only.sock"] {
        let output = finish(torc().args(["serve", "--shared-memory", "--admin=off", "--listen", listen]));
        let stderr = stderr_of(&output);
        assert!(!output.status.success() && stderr.contains("--shared-memory"), "{stderr}");
        assert!(stderr.contains("--listen unix:"), "{stderr}");
    }
    let output = finish(torc().args(["serve", "--check", "--shared-memory-ring-bytes=5000"]));
    assert!(stderr_of(&output).contains("power of two"), "{}", stderr_of(&output));
    let output = finish(torc().args(["serve", "--check", "--shared-memory-users=nobody"]));
    assert!(stderr_of(&output).contains("id -u"), "{}", stderr_of(&output));
}

#[test]
fn cli_and_bench_go_through_it_and_figures_tell() {
    let directory = tempfile::tempdir().expect("a directory");
    for transport in ["--transport=auto", "--transport=epoll"] {
        let server = server(directory.path(), &[transport]);
        let tcp = server.address().to_string();
        let shm = format!("shm:{}", directory.path().join("torc.sock").display());
        for (address, by) in [(&tcp, "shm"), (&tcp, "auto"), (&shm, "auto")] {
            let mut cli = torc();
            cli.args(["cli", "--server", address, "--transport", by, "set", "key", by]);
            let output = finish(&mut cli);
            assert!(output.status.success(), "{address}: {}", stderr_of(&output));
        }
        let (heard, refused) = ("torc_bells_heard_total", "torc_attach_refusals_total");
        assert!(server.metric(heard, "") > 0.0 && server.metric(refused, "") == 0.0);
        for pace in [&[][..], &["--depth=4", "--window"], &["--rate=20000"]] {
            let mut bench = torc();
            bench.args(["bench", "--protocol=native", "--transport=shm", "--server", &tcp, "--keys=1000"]);
            bench.args(["--preload", "--connections=3", "--requests=3000", "--warmup=0"]).args(pace);
            let output = finish(&mut bench);
            assert!(output.status.success(), "{pace:?}: {}", stderr_of(&output));
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains(" 0 misses") && text.contains(" 0 refused"), "{text}");
        }
        let start = Instant::now();
        while server.metric("torc_rings", "") > 0.0 {
            assert!(start.elapsed() < PATIENCE, "rings are left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn resp_does_not_go_through_it_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = server(directory.path(), &[]);
    let address = server.address().to_string();
    let output = finish(torc().args(["cli", "-p", "resp", "--transport=shm", "-s", &address, "PING"]));
    assert!(stderr_of(&output).contains("native protocol alone"), "{}", stderr_of(&output));
    let output = finish(torc().args(["bench", "--transport=shm", "--server", &address]));
    assert!(stderr_of(&output).contains("native protocol alone"), "{}", stderr_of(&output));
}

/// Mappings of this process that are of a server's memory.
fn mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
    maps.lines().filter(|line| line.contains("memfd:torc")).count()
}

#[test]
fn cli_says_what_carried_its_requests() {
    let directory = tempfile::tempdir().expect("a directory");
    let shared = server(directory.path(), &[]);
    let plain = Server::start(&["--listen=127.0.0.1:0"]);
    let says = |server: &Server, transport: &str, lines: &str| {
        let mut cli = torc();
        cli.args(["cli", "--server", &server.address().to_string(), "--transport", transport]);
        let file = directory.path().join("lines");
        std::fs::write(&file, lines).expect("a file");
        let output = finish(cli.arg("--show-transport").stdin(File::open(&file).expect("the file")));
        assert!(output.status.success(), "{}", stderr_of(&output));
        stderr_of(&output)
    };
    let lines = "set key value\nget key\nget key\nget key\nget other\n";
    for transport in ["auto", "shm-read"] {
        let told = says(&shared, transport, lines);
        assert!(told.starts_with("over shared memory, gets read it themselves; 3 gets read"), "{told}");
        assert!(told.contains("lease 1"), "{told}");
    }
    assert_eq!(says(&shared, "shm", lines), "over shared memory\n");
    assert_eq!(says(&shared, "socket", lines), "over a socket\n");
    assert_eq!(says(&plain, "auto", lines), "over a socket\n");
    // What a client tells is told a second later at most, while it is there.
    let client = Client::new(shared.address().to_string()).expect("a thread");
    client.ping().wait().unwrap();
    for _ in 0..5 {
        client.get("key").wait().unwrap();
    }
    let start = Instant::now();
    while shared.metric("torc_one_sided_reads_total", "outcome=\"hit\"") < 5.0 {
        assert!(start.elapsed() < PATIENCE, "it is not told");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(shared.metric("torc_rings_reading", ""), 1.0);
    let info = finish(torc().args(["cli", "-p", "resp", "-s", &shared.address().to_string(), "info"]));
    let text = String::from_utf8_lossy(&info.stdout);
    assert!(text.contains("one_sided_hits:") && text.contains("shared_memory_clients_reading:1"), "{text}");
}

/// A client notices at once, and goes on with whoever listens there next.
#[test]
fn a_server_that_is_killed_under_load_is_noticed_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::new("");
    config.timeout = PATIENCE;
    let mut first = server(directory.path(), &[]);
    let address = first.address();
    config.addresses = vec![address.to_string()];
    let client = Client::with(config).expect("a thread");
    client.set("key", vec![7; 10_000]).wait().unwrap();
    assert_eq!(client.transport(), Some(Transport::SharedMemory));
    // The value is longer than what is read without asking.
    client.set("short", "value").wait().unwrap();
    for _ in 0..10 {
        assert_eq!(client.get("short").wait().unwrap().unwrap().value, b"value");
    }
    assert!(client.one_sided().active && client.one_sided().hits > 0);
    assert!(mapped() > 0);
    let running: Vec<_> = (0..2000).map(|_| client.get("key").send()).collect();
    first.signal(libc::SIGKILL);
    first.wait();
    let killed = Instant::now();
    while client.transport() == Some(Transport::SharedMemory) {
        assert!(killed.elapsed() < Duration::from_secs(10), "it does not notice");
        std::thread::sleep(Duration::from_millis(1));
    }
    while client.one_sided().active || mapped() > 0 {
        assert!(killed.elapsed() < Duration::from_secs(10), "the memory is still there");
        std::thread::sleep(Duration::from_millis(1));
    }
    let socket = format!("--listen=unix:{}", directory.path().join("torc.sock").display());
    let _second = Server::start(&[&format!("--listen={address}"), &socket, "--shared-memory"]);
    // Reads are asked again; the new server holds nothing.
    for get in running {
        get.wait().unwrap();
    }
    assert_eq!(client.get("key").wait().unwrap(), None);
    assert_eq!(client.get("short").wait().unwrap(), None);
    assert_eq!(client.transport(), Some(Transport::SharedMemory));
}
