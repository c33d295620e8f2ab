//! SLOWLOG and LATENCY over real servers: what was slow is told, for all shards together.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use torc_net::server::{Server, ServerConfig};
use torc_net::users::Users;
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, Reply, parse};

fn on_each(scenario: impl Fn(&Server)) {
    let mut users = Users::default();
    users.add(b"default", b"s3cret").unwrap();
    on_each_kind(|config| ServerConfig { users: users.clone(), ..config }, scenario);
}

fn ask(client: &mut TcpStream, words: &[&str]) -> Reply {
    let mut request = Vec::new();
    compose::request(&mut request, words);
    client.write_all(&request).unwrap();
    let mut input = Vec::new();
    loop {
        match parse(&input) {
            Parsed::Complete { reply, .. } => return reply,
            Parsed::Invalid(invalid) => panic!("{invalid}"),
            Parsed::Incomplete => read_more(client, &mut input),
        }
    }
}

fn enter(server: &Server) -> TcpStream {
    let mut client = connect(address(server));
    exchange(&mut client, b"AUTH s3cret\r\n", b"+OK\r\n");
    client
}

/// What stands in the slow log, the newest first.
fn logged(client: &mut TcpStream) -> Vec<String> {
    let Reply::Array(entries) = ask(client, &["SLOWLOG", "GET", "-1"]) else { panic!("no array") };
    let words = |entry: Reply| match entry {
        Reply::Array(fields) => match &fields[3] {
            Reply::Array(words) => words.iter().map(shown).collect::<Vec<_>>().join(" "),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    entries.into_iter().map(words).collect()
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn requests_above_the_threshold_are_kept() {
    on_each(|server| {
        let mut client = enter(server);
        exchange(&mut client, b"SLOWLOG LEN\r\nSLOWLOG GET\r\n", b":0\r\n*0\r\n");
        exchange(&mut client, b"CONFIG SET slowlog-log-slower-than 0\r\n", b"+OK\r\n");
        exchange(
            &mut client,
            b"SET a 1\r\nGET a\r\nAUTH s3cret\r\nPING\r\n",
            b"+OK\r\n$1\r\n1\r\n+OK\r\n+PONG\r\n",
        );
        exchange(&mut client, b"CONFIG SET slowlog-log-slower-than -1\r\n", b"+OK\r\n");
        let kept = logged(&mut client);
        for words in ["set a", "get a", "AUTH (redacted)", "ping"] {
            assert!(kept.iter().any(|entry| entry == words), "{words}: {kept:?}");
        }
        assert!(!kept.iter().any(|entry| entry.contains("s3cret")), "{kept:?}");
        let before = kept.len();
        exchange(&mut client, b"GET a\r\n", b"$1\r\n1\r\n");
        assert_eq!(logged(&mut client).len(), before, "none is slow with -1");
        exchange(
            &mut client,
            b"CONFIG SET slowlog-max-len 2\r\nSLOWLOG LEN\r\nSLOWLOG RESET\r\nSLOWLOG LEN\r\n",
            b"+OK\r\n:2\r\n+OK\r\n:0\r\n",
        );
        exchange(
            &mut client,
            b"CONFIG GET slowlog*\r\n",
            b"*4\r\n$23\r\nslowlog-log-slower-than\r\n$2\r\n-1\r\n$15\r\nslowlog-max-len\r\n$1\r\n2\r\n",
        );
        let wrong = b"-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - argument must be between -1 and";
        exchange(&mut client, b"CONFIG SET slowlog-log-slower-than -2\r\n", wrong);
    });
}

/// Redis logs the commands of a transaction when they are done, not when they are queued.
#[test]
fn a_transaction_is_told_of_once_and_a_script_by_its_text() {
    on_each(|server| {
        let mut client = enter(server);
        exchange(&mut client, b"CONFIG SET slowlog-log-slower-than 0\r\n", b"+OK\r\n");
        for round in 0..8 {
            ask(&mut client, &["SLOWLOG", "RESET"]);
            let key = format!("key:{round}");
            for words in [&["MULTI"][..], &["SET", &key, "1"], &["GET", &key], &["EXEC"]] {
                ask(&mut client, words);
            }
            let kept = logged(&mut client);
            let times = |name: &str| kept.iter().filter(|entry| *entry == name).count();
            assert_eq!((times("multi"), times("queued"), times("exec")), (1, 0, 1), "{kept:?}");
            ask(&mut client, &["SLOWLOG", "RESET"]);
            let texts = ["return 1", "return redis.call('get', KEYS[1])"];
            ask(&mut client, &["EVAL", texts[0], "0"]);
            ask(&mut client, &["EVAL", texts[1], "1", &key]);
            let mut kept = logged(&mut client);
            kept.retain(|entry| entry.starts_with("eval"));
            assert_eq!(kept, [format!("eval {}", texts[1]), format!("eval {}", texts[0])]);
        }
    });
}

/// Of what waits, the time that it waited counts.
#[test]
fn a_request_that_waited_is_slow_though_little_was_done() {
    on_each(|server| {
        let mut client = enter(server);
        exchange(
            &mut client,
            b"CONFIG SET slowlog-log-slower-than 50000\r\nCONFIG SET latency-monitor-threshold 50\r\n",
            b"+OK\r\n+OK\r\n",
        );
        exchange(&mut client, b"CLIENT PAUSE 150 WRITE\r\n", b"+OK\r\n");
        exchange(&mut client, b"SET waits 1\r\n", b"+OK\r\n");
        let kept = logged(&mut client);
        assert_eq!(kept, ["set waits"], "{kept:?}");
        let Reply::Array(latest) = ask(&mut client, &["LATENCY", "LATEST"]) else { panic!("no array") };
        assert!(format!("{latest:?}").contains("Bulk([99, 111, 109, 109, 97, 110, 100])"), "{latest:?}");
        let Reply::Array(history) = ask(&mut client, &["LATENCY", "HISTORY", "command"]) else {
            panic!("no array")
        };
        assert_eq!(history.len(), 1, "{history:?}");
        assert!(shown(&ask(&mut client, &["LATENCY", "DOCTOR"])).contains("SLOWLOG GET"));
        assert!(shown(&ask(&mut client, &["LATENCY", "GRAPH", "command"])).starts_with("command - high"));
        exchange(
            &mut client,
            b"LATENCY RESET nothing\r\nLATENCY RESET command\r\nLATENCY HISTORY command\r\n",
            b":0\r\n:1\r\n*0\r\n",
        );
        exchange(
            &mut client,
            b"LATENCY GRAPH command\r\n",
            b"-ERR No samples available for event 'command'\r\n",
        );
        std::thread::sleep(Duration::from_millis(1));
    });
}

/// The time of the turn that answers counts, too, where a script with keys of several shards has taken it.
#[test]
fn a_script_whose_keys_are_held_is_slow_by_what_it_takes() {
    let text = "local n = 0 for i = 1, 1000000 do n = n + i end return redis.call('mget', unpack(KEYS))";
    on_each(|server| {
        if server.stats().len() < 2 {
            return;
        }
        let mut client = enter(server);
        exchange(&mut client, b"CONFIG SET slowlog-log-slower-than 2000\r\n", b"+OK\r\n");
        for round in 0..4 {
            let keys: Vec<String> = (0..8).map(|number| format!("key:{round}:{number}")).collect();
            let mut eval = vec!["EVAL", text, "8"];
            eval.extend(keys.iter().map(String::as_str));
            ask(&mut client, &["SLOWLOG", "RESET"]);
            for words in [&eval[..], &["MULTI"], &eval, &["EXEC"]] {
                ask(&mut client, words);
            }
            let kept = logged(&mut client);
            let times = |name: &str| kept.iter().filter(|entry| entry.starts_with(name)).count();
            assert_eq!((times("eval"), times("exec")), (2, 1), "{kept:?}");
        }
    });
}

#[test]
fn commands_are_counted_with_what_they_took() {
    on_each(|server| {
        let mut client = enter(server);
        for number in 0..10 {
            exchange(&mut client, format!("SET key:{number} v\r\n").as_bytes(), b"+OK\r\n");
        }
        let Reply::Array(all) = ask(&mut client, &["LATENCY", "HISTOGRAM", "set", "nothing"]) else {
            panic!("no map")
        };
        assert_eq!(shown(&all[0]), "set");
        let Reply::Array(facts) = &all[1] else { panic!("no map: {all:?}") };
        assert_eq!(format!("{:?}", facts[1]), "Integer(10)");
        let Reply::Array(buckets) = &facts[3] else { panic!("no map: {all:?}") };
        assert_eq!(format!("{:?}", buckets.last()), "Some(Integer(10))", "the last bucket has all");
    });
}

#[test]
fn commands_are_counted_by_name_and_by_what_became_of_them() {
    on_each(|server| {
        let mut client = enter(server);
        exchange(&mut client, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nget k\r\n", b"$-1\r\n$-1\r\n");
        exchange(&mut client, b"GET\r\n", b"-ERR wrong number of arguments for 'get' command\r\n");
        exchange(&mut client, b"SET k v EX x\r\n", b"-ERR value is not an integer or out of range\r\n");
        exchange(
            &mut client,
            b"MULTI\r\nINCR n\r\nINCR n\r\nEXEC\r\n",
            b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n",
        );
        exchange(&mut client, b"MGET k k n\r\n", b"*3\r\n$-1\r\n$-1\r\n$1\r\n2\r\n");
        let long = [&b"*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$300000\r\n"[..], &[b'x'; 300_000], b"\r\n"].concat();
        exchange(&mut client, &long, b"+OK\r\n");
        let told = shown(&ask(&mut client, &["INFO", "commandstats"]));
        for (name, calls, counts) in [
            ("get", 2, "rejected_calls=1,failed_calls=0"),
            ("set", 2, "rejected_calls=0,failed_calls=1"),
            ("incr", 2, "rejected_calls=0,failed_calls=0"),
            ("exec", 1, "rejected_calls=0,failed_calls=0"),
            ("mget", 1, "rejected_calls=0,failed_calls=0"),
        ] {
            let line =
                told.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls={calls},usec=")));
            assert!(line.is_some_and(|line| line.ends_with(counts)), "{name}: {told}");
        }
        let told = shown(&ask(&mut client, &["INFO", "latencystats", "cpu"]));
        assert!(
            told.contains("latency_percentiles_usec_get:p50=") && told.contains("used_cpu_user:"),
            "{told}"
        );
        exchange(&mut client, b"CONFIG RESETSTAT\r\n", b"+OK\r\n");
        let told = shown(&ask(&mut client, &["INFO", "commandstats"]));
        assert!(
            told.contains("cmdstat_config|resetstat:calls=1,") && !told.contains("cmdstat_get"),
            "{told}"
        );
        assert!(!shown(&ask(&mut client, &["INFO"])).contains("cmdstat"));
    });
}

#[test]
fn debug_is_there_only_where_it_is_allowed() {
    for config in kinds() {
        let server = start(config.clone());
        let mut client = connect(address(&server));
        exchange(&mut client, b"DEBUG SLEEP 0.1\r\n", b"-ERR DEBUG command not allowed.");
        end(server);
        let server = start(ServerConfig { debug_commands: true, ..config });
        let (mut client, mut other) = (connect(address(&server)), connect(address(&server)));
        exchange(&mut client, b"DEBUG OBJECT k\r\nSET k value\r\n", b"-ERR no such key\r\n+OK\r\n");
        exchange(
            &mut client,
            b"DEBUG OBJECT k\r\n",
            b"+Value at:0x0 refcount:1 encoding:embstr serializedlength:6 lru:0 lru_seconds_idle:0\r\n",
        );
        exchange(
            &mut client,
            b"DEBUG SET-ACTIVE-EXPIRE 0\r\nDEBUG SET-ACTIVE-EXPIRE 1\r\n",
            b"+OK\r\n+OK\r\n",
        );
        exchange(&mut client, b"DEBUG ERROR \"LOADING so\\r\\nit is\"\r\n", b"-LOADING so  it is\r\n");
        exchange(
            &mut client,
            b"DEBUG JMAP\r\n",
            b"-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.\r\n",
        );
        let begun = std::time::Instant::now();
        client.write_all(b"DEBUG SLEEP 0.3\r\nGET k\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        exchange(&mut other, b"PING\r\nGET k\r\n", b"+PONG\r\n$5\r\nvalue\r\n");
        assert!(begun.elapsed() >= Duration::from_millis(250), "others wait: {:?}", begun.elapsed());
        expect(&mut client, b"+OK\r\n$5\r\nvalue\r\n");
        exchange(
            &mut client,
            b"CONFIG GET enable-debug-command\r\n",
            b"*2\r\n$20\r\nenable-debug-command\r\n$3\r\nyes\r\n",
        );
        end(server);
    }
}
