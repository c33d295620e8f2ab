//! What Redis clients can change of a server that runs, over both transports: CONFIG SET, CLIENT PAUSE, CLIENT NO-TOUCH;
//! and what they bring along, DUMP and RESTORE.

mod servers;

use servers::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use torc_net::server::{Server, ServerConfig};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

fn on_each(scenario: impl Fn(&Server)) {
    for config in kinds() {
        eprintln!("{}, {} shards", config.transport, config.shards);
        let server = start(ServerConfig { connections_max: 50, ..config });
        scenario(&server);
        end(server);
    }
}

#[test]
fn fewer_clients_may_be_allowed_than_at_the_start() {
    on_each(|server| {
        let mut first = connect(address(server));
        exchange(&mut first, b"CONFIG GET maxclients\r\n", b"*2\r\n$10\r\nmaxclients\r\n$2\r\n50\r\n");
        let too_many = b"-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 \
                         and 50 inclusive\r\n";
        exchange(&mut first, b"CONFIG SET maxclients 51\r\n", too_many);
        exchange(&mut first, b"CONFIG SET maxclients 1\r\n", b"+OK\r\n");
        let mut second = connect(address(server));
        assert_eq!(read_to_close(&mut second), b"-ERR max number of clients reached\r\n");
        exchange(&mut first, b"CONFIG SET maxclients 50\r\n", b"+OK\r\n");
        exchange(&mut connect(address(server)), b"PING\r\n", b"+PONG\r\n");
    });
}

#[test]
fn silent_clients_may_be_closed_from_now_on() {
    on_each(|server| {
        let mut silent = connect(address(server));
        exchange(&mut silent, b"PING\r\n", b"+PONG\r\n");
        exchange(&mut connect(address(server)), b"CONFIG SET timeout 1\r\n", b"+OK\r\n");
        assert_eq!(silent.read(&mut [0; 8]).unwrap_or(0), 0, "it is closed");
    });
}

#[test]
fn commands_wait_while_clients_are_paused() {
    on_each(|server| {
        let mut steerer = connect(address(server));
        let mut client = connect(address(server));
        exchange(&mut client, b"SET k v\r\n", b"+OK\r\n");
        exchange(&mut steerer, b"CLIENT PAUSE 60000 WRITE\r\n", b"+OK\r\n");
        exchange(&mut client, b"GET k\r\n", b"$1\r\nv\r\n");
        client.write_all(b"SET k w\r\nGET k\r\n").unwrap();
        exchange(&mut steerer, b"GET k\r\n", b"$1\r\nv\r\n");
        std::thread::sleep(Duration::from_millis(50));
        exchange(&mut steerer, b"GET k\r\n", b"$1\r\nv\r\n");
        exchange(&mut steerer, b"CLIENT UNPAUSE\r\n", b"+OK\r\n");
        expect(&mut client, b"+OK\r\n$1\r\nw\r\n");
        let began = Instant::now();
        exchange(&mut steerer, b"CLIENT PAUSE 200\r\n", b"+OK\r\n");
        exchange(&mut client, b"GET k\r\n", b"$1\r\nw\r\n");
        assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    });
}

/// As in Redis: what may change something waits, with what sends messages, and those who wait are counted.
#[test]
fn clients_that_a_pause_holds_are_told_of_as_blocked() {
    on_each(|server| {
        let mut steerer = connect(address(server));
        let blocked = |steerer: &mut TcpStream, count: u32| {
            let line = format!("blocked_clients:{count}\r\n");
            wait_until("so many are blocked", || {
                steerer.write_all(b"INFO clients\r\n").unwrap();
                let mut told = Vec::new();
                while !told.ends_with(b"\r\n\r\n")
                    && !String::from_utf8_lossy(&told).contains("blocked_clients:")
                {
                    read_more(steerer, &mut told);
                }
                while !told.ends_with(b"\r\n") {
                    read_more(steerer, &mut told);
                }
                String::from_utf8_lossy(&told).contains(&line)
            });
        };
        exchange(&mut steerer, b"SET k v\r\nCLIENT PAUSE 60000 WRITE\r\n", b"+OK\r\n+OK\r\n");
        for reads in
            [&b"EVAL_RO \"return redis.call('get', KEYS[1])\" 1 k\r\n"[..], b"MULTI\r\nGET k\r\nEXEC\r\n"]
        {
            let mut client = connect(address(server));
            client.write_all(reads).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"$1\r\nv\r\n") {
                read_more(&mut client, &mut answer);
            }
        }
        blocked(&mut steerer, 0);
        let mut waiting = Vec::new();
        for (number, request) in [
            &b"SET k w\r\n"[..],
            b"PUBLISH c m\r\n",
            b"EVAL \"return 1\" 0\r\n",
            b"MULTI\r\nSET k x\r\nEXEC\r\n",
        ]
        .into_iter()
        .enumerate()
        {
            let mut client = connect(address(server));
            client.write_all(request).unwrap();
            waiting.push(client);
            blocked(&mut steerer, number as u32 + 1);
        }
        waiting.pop();
        blocked(&mut steerer, 3);
        exchange(&mut steerer, b"CLIENT UNPAUSE\r\n", b"+OK\r\n");
        for (client, answer) in waiting.iter_mut().zip([&b"+OK\r\n"[..], b":0\r\n", b":1\r\n"]) {
            expect(client, answer);
        }
        blocked(&mut steerer, 0);
    });
}

#[test]
fn accesses_of_a_client_that_says_so_do_not_count() {
    on_each(|server| {
        let (mut redis, mut memcache) = (connect(address(server)), connect(address(server)));
        exchange(&mut redis, b"SET k v\r\n", b"+OK\r\n");
        exchange(&mut redis, b"CLIENT NO-TOUCH on\r\nGET k\r\n", b"+OK\r\n$1\r\nv\r\n");
        std::thread::sleep(Duration::from_millis(20));
        assert!(told(&mut memcache).contains("fetch=no"));
        exchange(&mut redis, b"CLIENT NO-TOUCH off\r\nGET k\r\n", b"+OK\r\n$1\r\nv\r\n");
        // A shard learns late of what another one has read.
        wait_until("the access counts", || told(&mut memcache).contains("fetch=yes"));
    });
}

/// What memcached's `me` tells of the key, without an access of its own.
fn told(memcache: &mut TcpStream) -> String {
    memcache.write_all(b"me k\r\n").unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        read_more(memcache, &mut line);
    }
    String::from_utf8_lossy(&line).into_owned()
}

#[test]
fn values_are_dumped_and_restored_packed_ones_of_redis_too() {
    on_each(|server| {
        let mut stream = connect(address(server));
        let mut request = |words: &[&[u8]]| {
            let mut bytes = Vec::new();
            compose::request(&mut bytes, words);
            stream.write_all(&bytes).unwrap();
            let mut input = Vec::new();
            loop {
                match parse(&input) {
                    Parsed::Complete { .. } => return input,
                    _ => read_more(&mut stream, &mut input),
                }
            }
        };
        let packed = b"\x00\xc3\x0fA\x90\x04abcda\xe0\xff\x03\xe1x\x07\x01cd\n\x00\xb3O\x17cB]\xd3S";
        assert_eq!(request(&[b"RESTORE", b"packed", b"0", packed]), b"+OK\r\n");
        assert_eq!(request(&[b"GET", b"packed"]), [&b"$400\r\n"[..], &b"abcd".repeat(100), b"\r\n"].concat());
        // Of one piece, received in slices, and of many pieces; from whichever shard.
        for len in [0, 5, 20_000, 900_000] {
            for number in 0..4 {
                let value: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251 + number) as u8).collect();
                let (from, to) = (format!("from{number}"), format!("to{number}"));
                assert_eq!(request(&[b"SET", from.as_bytes(), &value]), b"+OK\r\n");
                let answer = request(&[b"DUMP", from.as_bytes()]);
                let payload =
                    &answer[answer.iter().position(|byte| *byte == b'\n').unwrap() + 1..answer.len() - 2];
                assert_eq!(request(&[b"RESTORE", to.as_bytes(), b"0", payload, b"REPLACE"]), b"+OK\r\n");
                assert!(request(&[b"GET", to.as_bytes()]) == request(&[b"GET", from.as_bytes()]), "{len}");
            }
        }
    });
}
