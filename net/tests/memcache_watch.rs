//! `watch` over real servers: what becomes of items and connections of all shards, as lines.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;
use torc_net::observed::WATCHERS_MAX;
use torc_net::server::Server;

fn on_each(scenario: impl Fn(&Server)) {
    for config in kinds() {
        eprintln!("{}, {} shards", config.transport, config.shards);
        let server = start(config);
        scenario(&server);
        end(server);
    }
}

fn watcher(server: &Server, what: &str) -> TcpStream {
    let mut client = connect(address(server));
    exchange(&mut client, format!("watch {what}\r\n").as_bytes(), b"OK\r\n");
    client
}

/// Lines without their time, number and connection, until one has `last` in it.
fn seen(watcher: &mut TcpStream, last: &str) -> Vec<String> {
    let mut input = Vec::new();
    while !(input.ends_with(b"\n") && String::from_utf8_lossy(&input).contains(last)) {
        read_more(watcher, &mut input);
    }
    let text = String::from_utf8(input).unwrap();
    text.lines()
        .map(|line| {
            let mut words =
                line.split(' ').filter(|word| !word.starts_with("cfd=") && !word.starts_with("rport="));
            let (time, number) = (words.next().unwrap(), words.next().unwrap());
            assert!(time.starts_with("ts=") && number.starts_with("gid="), "{line}");
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Other shards begin to note with their next turn.
fn until_all_note(server: &Server, watcher: &mut TcpStream) {
    let mut client = connect(address(server));
    for key in 0..64 {
        exchange(&mut client, format!("get warm{key}\r\n").as_bytes(), b"END\r\n");
    }
    exchange(&mut client, b"mn\r\n", b"MN\r\n");
    let mut round = 0;
    wait_until("every shard notes", || {
        round += 1;
        let keys: Vec<String> = (0..64).map(|key| format!("r{round}k{key}")).collect();
        let gets: String = keys.iter().map(|key| format!("get {key}\r\n")).collect();
        exchange(
            &mut client,
            format!("{gets}mn\r\n").as_bytes(),
            format!("{}MN\r\n", "END\r\n".repeat(64)).as_bytes(),
        );
        watcher.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let mut input = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(count) = std::io::Read::read(watcher, &mut chunk) {
            input.extend_from_slice(&chunk[..count]);
        }
        watcher.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = String::from_utf8_lossy(&input).into_owned();
        keys.iter().all(|key| text.contains(&format!("key={key} ")))
    });
}

#[test]
fn items_of_all_shards_are_told_as_memcached_tells_them() {
    on_each(|server| {
        let mut all = watcher(server, "fetchers mutations deletions");
        until_all_note(server, &mut all);
        let mut client = connect(address(server));
        for (request, answer, lines) in [
            ("get a", "END", &["type=item_get key=a status=not_found clsid=0 size=0"][..]),
            (
                "set a 0 100 1\r\n5",
                "STORED",
                &[
                    "type=item_get key=a status=not_found clsid=0 size=0",
                    "type=item_store key=a status=stored cmd=set ttl=100 clsid=1 size=1",
                ],
            ),
            ("mg a v", "VA 1\r\n5", &["type=item_get key=a status=found clsid=1 size=1"]),
            (
                "add a 0 0 2\r\nhi",
                "NOT_STORED",
                &[
                    "type=item_get key=a status=found clsid=1 size=1",
                    "type=item_store key=a status=not_stored cmd=add ttl=0 clsid=1 size=2",
                ],
            ),
            (
                "append a 0 0 2\r\nhi",
                "STORED",
                &[
                    "type=item_get key=a status=found clsid=1 size=1",
                    "type=item_store key=a status=stored cmd=append ttl=100 clsid=1 size=3",
                ],
            ),
            (
                "cas a 0 0 1 1\r\nx",
                "EXISTS",
                &[
                    "type=item_get key=a status=found clsid=1 size=3",
                    "type=item_store key=a status=exists cmd=cas ttl=0 clsid=1 size=1",
                ],
            ),
            ("touch a 50", "TOUCHED", &["type=item_get key=a status=found clsid=1 size=3"]),
            (
                "delete a",
                "DELETED",
                &[
                    "type=item_get key=a status=found clsid=1 size=3",
                    "type=deleted key=a cmd=delete clsid=1 size=3",
                ],
            ),
            (
                "ma n N0 J5",
                "HD",
                &[
                    "type=item_get key=n status=not_found clsid=0 size=0",
                    "type=item_store key=n status=stored cmd=add ttl=0 clsid=1 size=1",
                ],
            ),
        ] {
            exchange(&mut client, format!("{request}\r\n").as_bytes(), format!("{answer}\r\n").as_bytes());
            assert_eq!(seen(&mut all, lines.last().unwrap().split(' ').nth(2).unwrap()), lines, "{request}");
        }
    });
}

#[test]
fn who_watches_connections_or_evictions_is_told_of_nothing_else() {
    on_each(|server| {
        let mut connections = watcher(server, "connevents");
        let mut evictions = watcher(server, "evictions");
        let mut client = connect(address(server));
        exchange(&mut client, b"set a 0 0 1\r\n5\r\nquit\r\n", b"STORED\r\n");
        let lines = seen(&mut connections, "conn_close");
        assert!(lines.contains(&"type=conn_new rip=127.0.0.1 transport=tcp".to_owned()), "{lines:?}");
        assert!(
            lines.contains(&"type=conn_close rip=127.0.0.1 transport=tcp reason=normal".to_owned()),
            "{lines:?}"
        );
        let mut client = connect(address(server));
        let value = "v".repeat(100_000);
        wait_until("something is evicted", || {
            let sets: String =
                (0..100).map(|_| format!("set k{} 0 0 {}\r\n{value}\r\n", fresh(), value.len())).collect();
            exchange(&mut client, sets.as_bytes(), "STORED\r\n".repeat(100).as_bytes());
            server.stats().iter().any(|stats| stats.shard.evictions.read() > 0)
        });
        let lines = seen(&mut evictions, "type=eviction");
        assert!(
            lines[0].starts_with("type=eviction key=k") && lines[0].contains(" fetch=no ttl=-1 la="),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| line.ends_with("clsid=1 size=100000")), "{lines:?}");
    });
}

fn fresh() -> usize {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn a_slow_watcher_loses_lines_and_stays() {
    on_each(|server| {
        let mut slow = watcher(server, "fetchers");
        until_all_note(server, &mut slow);
        let mut client = connect(address(server));
        let gets = format!("get {}\r\n", "k".repeat(240)).repeat(64);
        let answers = "END\r\n".repeat(64);
        wait_until("lines are lost", || {
            (0..50).for_each(|_| exchange(&mut client, gets.as_bytes(), answers.as_bytes()));
            sum(server, |stats| stats.watched_lines_skipped.read()) > 0
        });
        // It reads all that waits, and is told how many it has lost with the next line that fits.
        let mut input = Vec::new();
        let begun = Instant::now();
        while !String::from_utf8_lossy(&input).contains("skipped=") {
            assert!(begun.elapsed() < PATIENCE, "nothing is told of lost lines");
            client.write_all(b"get after\r\n").unwrap();
            expect(&mut client, b"END\r\n");
            read_more(&mut slow, &mut input);
        }
    });
}

#[test]
fn there_are_so_many_watchers_and_gone_ones_do_not_count() {
    on_each(|server| {
        let mut watchers: Vec<TcpStream> = (0..WATCHERS_MAX).map(|_| watcher(server, "mutations")).collect();
        let mut other = connect(address(server));
        exchange(&mut other, b"watch\r\n", b"WATCHER_TOO_MANY log watcher limit reached\r\n");
        exchange(&mut other, b"mn\r\n", b"MN\r\n");
        // One that chooses other events keeps its place.
        exchange(&mut watchers[0], b"watch evictions\r\n", b"OK\r\n");
        watchers.pop();
        wait_until("one is gone", || {
            let mut next = connect(address(server));
            next.write_all(b"watch\r\n").unwrap();
            let mut answer = Vec::new();
            read_more(&mut next, &mut answer);
            answer.starts_with(b"OK")
        });
    });
}
