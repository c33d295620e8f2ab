//! CLIENT TRACKING over real servers: what only shows where clients and keys are of several shards.

mod servers;

use servers::*;
use std::io::Write;
use std::time::{Duration, Instant};
use torc_net::server::Server;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| config, scenario);
}

/// As in Redis the keys of one MSET, and those of a transaction, are told together, to the client that has changed them, too.
#[test]
fn keys_that_change_together_are_told_in_one_push() {
    on_each(|server| {
        // Keys of either shard, by a client of either.
        for _ in 0..4 {
            let mut client = connect(address(server));
            let mut listener = connect(address(server));
            exchange(&mut listener, b"CLIENT ID\r\n", b":");
            let mut id = Vec::new();
            while !id.ends_with(b"\r\n") {
                read_more(&mut listener, &mut id);
            }
            let id = String::from_utf8(id).unwrap();
            exchange(
                &mut listener,
                b"SUBSCRIBE __redis__:invalidate\r\n",
                b"*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n",
            );
            let tracking = format!("CLIENT TRACKING ON BCAST REDIRECT {}", id);
            exchange(&mut client, tracking.as_bytes(), b"+OK\r\n");
            for tag in ["{t}", "{u}", "{1}", "{2}"] {
                exchange(&mut client, format!("MSET a{tag} 1 b{tag} 2 c{tag} 3\r\n").as_bytes(), b"+OK\r\n");
                let key = |name: &str| format!("$4\r\n{name}{tag}\r\n");
                let push = ["a", "b", "c"].map(key).concat();
                let exec = format!("MULTI\r\nINCR a{tag}\r\nINCR b{tag}\r\nINCR c{tag}\r\nEXEC\r\n");
                let queued = "+QUEUED\r\n".repeat(3);
                exchange(
                    &mut client,
                    exec.as_bytes(),
                    format!("+OK\r\n{queued}*3\r\n:2\r\n:3\r\n:4\r\n").as_bytes(),
                );
                let told = format!("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*3\r\n{push}");
                expect(&mut listener, told.repeat(2).as_bytes());
            }
        }
    });
}

/// What a client asks for in one pipeline: a value, a flush, and a value again. That all may have changed stands before any answer that
/// saw the flush, and again behind a value from before it that had to be waited for.
#[test]
fn a_flush_of_the_client_itself_is_told_before_what_saw_it() {
    on_each(|server| {
        for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"] {
            let mut client = connect(address(server));
            exchange(&mut client, b"HELLO 3\r\n", b"%7\r\n");
            let mut hello = Vec::new();
            while !hello.ends_with(b"modules\r\n*0\r\n") {
                read_more(&mut client, &mut hello);
            }
            exchange(&mut client, b"CLIENT TRACKING ON\r\n", b"+OK\r\n");
            for round in 0..20 {
                let keys = ["a", "b", "c", "d"].map(|name| format!("{name}{round}"));
                let sets: String = keys.iter().map(|key| format!("SET {key} old\r\n")).collect();
                let gets: String = keys.iter().map(|key| format!("GET {key}\r\n")).collect();
                client.write_all(format!("{sets}{gets}{flush}\r\n{gets}ECHO end\r\n").as_bytes()).unwrap();
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"$3\r\nend\r\n") {
                    read_more(&mut client, &mut bytes);
                }
                let text = String::from_utf8(bytes).unwrap();
                // Copies are what was answered and of which nothing was told since.
                let (mut copies, mut misses) = (0, 0);
                let mut lines = text.split("\r\n");
                while let Some(line) = lines.next() {
                    match line {
                        "old" => copies += 1,
                        "invalidate" if lines.next() == Some("_") => copies = 0,
                        "_" => {
                            misses += 1;
                            assert_eq!(copies, 0, "{flush}: {text}");
                        }
                        _ => {}
                    }
                }
                assert_eq!(misses, keys.len(), "{flush}: {text}");
            }
        }
    });
}

/// Whichever shard its client speaks to: items of about as long a time to live share segments, and these would stay for long.
#[test]
fn a_key_that_has_expired_is_told_of_by_its_prefix_when_it_is_asked_for() {
    on_each(|server| {
        let (mut client, mut listener) = (connect(address(server)), connect(address(server)));
        exchange(&mut listener, b"HELLO 3\r\n", b"%7\r\n");
        let mut heard = Vec::new();
        while !heard.ends_with(b"modules\r\n*0\r\n") {
            read_more(&mut listener, &mut heard);
        }
        exchange(&mut listener, b"CLIENT TRACKING ON BCAST PREFIX brief\r\n", b"+OK\r\n");
        let begun = Instant::now();
        for number in 0..200 {
            exchange(&mut client, format!("SET stays{number} v PX 14000\r\n").as_bytes(), b"+OK\r\n");
        }
        for number in 0..20 {
            exchange(&mut client, format!("SET brief{number} v PX 50\r\n").as_bytes(), b"+OK\r\n");
        }
        std::thread::sleep(Duration::from_millis(100));
        for number in 0..20 {
            exchange(&mut client, format!("GET brief{number}\r\n").as_bytes(), b"$-1\r\n");
        }
        heard.clear();
        // Each when it was set, and when it was over.
        while String::from_utf8_lossy(&heard).matches("brief").count() < 40 {
            read_more(&mut listener, &mut heard);
        }
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    });
}
