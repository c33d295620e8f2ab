//! Commands in scripts, and scripts as commands.

use crate::client::{Client, SET_ALL, on_each};
use crate::servers::address;

#[test]
fn commands_do_in_scripts_what_they_do_elsewhere() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        let table = [
            ("return redis.call('set', 'k', 'v')", "+OK\r\n"),
            ("return redis.call('get', 'k')", "$1\r\nv\r\n"),
            ("return redis.call('append', 'k', 'w')", ":2\r\n"),
            ("return {redis.call('expire', 'k', 100), redis.call('ttl', 'k')}", "*2\r\n:1\r\n:100\r\n"),
            ("return redis.call('persist', 'k')", ":1\r\n"),
            ("return redis.call('mset', 'a', '1', 'b', '2')", "+OK\r\n"),
            ("return redis.call('mget', 'a', 'b', 'nothing')", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n"),
            ("return redis.call('msetnx', 'b', '1', 'c', '2')", ":0\r\n"),
            ("return redis.call('msetnx', 'c', '1', 'd', '2')", ":1\r\n"),
            ("return redis.call('rename', 'c', 'e')", "+OK\r\n"),
            ("return redis.call('rename', 'c', 'e')", "-ERR no such key"),
            ("return redis.call('copy', 'e', 'f')", ":1\r\n"),
            ("return redis.call('exists', 'c', 'd', 'e', 'f')", ":3\r\n"),
            ("return redis.call('del', 'e', 'f', 'c')", ":2\r\n"),
            ("return redis.call('setbit', 'bits', 7, 1)", ":0\r\n"),
            ("return redis.call('bitcount', 'bits')", ":1\r\n"),
            ("return redis.call('setrange', 'r', 3, 'x')", ":4\r\n"),
            ("return redis.call('getdel', 'r')", "$4\r\n\0\0\0x\r\n"),
            ("return redis.call('set', 'k', 'n', 'get')", "$2\r\nvw\r\n"),
            ("return redis.call('incrbyfloat', 'fl', '0.1')", "$3\r\n0.1\r\n"),
            ("return redis.call('type', 'k')", "+string\r\n"),
            (
                "redis.call('select', 3) redis.call('set', 'there', 1) return redis.call('exists', 'there')",
                ":1\r\n",
            ),
            ("return redis.call('exists', 'there')", ":0\r\n"),
            ("return redis.call('move', 'a', 3)", ":1\r\n"),
            ("redis.call('select', 3) return redis.call('get', 'a')", "$1\r\n1\r\n"),
            ("return #redis.call('keys', 'b*')", ":2\r\n"),
            ("redis.call('select', 3) return redis.call('keys', 't*')", "*1\r\n$5\r\nthere\r\n"),
            ("return redis.call('dbsize')", "-ERR This Redis command is not allowed from script"),
            ("return redis.call('flushall')", "-ERR This Redis command is not allowed from script"),
            ("return redis.call('config', 'get', '*')", "-ERR This Redis command is not allowed from script"),
            (
                "return redis.call('client', 'reply', 'off')",
                "-ERR This Redis command is not allowed from script",
            ),
            ("return redis.call('ping')", "+PONG\r\n"),
        ];
        for (script, expected) in table {
            let answer = client.eval(script, &[], &[]);
            assert!(answer.starts_with(expected), "{script}: {answer}");
        }
        let long = "x".repeat(100_000);
        assert_eq!(client.eval("return redis.call('set', KEYS[1], ARGV[1])", &["long"], &[&long]), "+OK\r\n");
        assert_eq!(client.ask(&["STRLEN", "long"]), ":100000\r\n");
        assert_eq!(client.eval("return #redis.call('get', KEYS[1])", &["long"], &[]), ":100000\r\n");
        assert_eq!(
            client.eval("return redis.call('setrange', KEYS[1], 99999, 'yz')", &["long"], &[]),
            ":100001\r\n"
        );
        assert_eq!(client.ask(&["GETRANGE", "long", "99998", "-1"]), "$3\r\nxyz\r\n");
    });
}

/// As libraries empty a namespace: they name no key.
#[test]
fn a_script_deletes_the_keys_that_match_a_pattern_beside_those_who_write_others() {
    const CLEAR: &str = "local n = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do n = n + redis.call('DEL', key) end return n";
    on_each(|server| {
        let mut client = Client::new(address(server));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut client = Client::new(address(server));
                (0..1000).for_each(|number| _ = client.ask(&["SET", &format!("other:{number}"), "v"]));
            });
            for _ in 0..3 {
                for number in 0..200 {
                    client.ask(&["SET", &format!("ns:{number}"), "v"]);
                }
                assert_eq!(client.eval(CLEAR, &[], &["ns:*"]), ":200\r\n");
            }
            writer.join().unwrap();
        });
        assert_eq!(client.ask(&["KEYS", "ns:*"]), "*0\r\n");
        assert_eq!(client.eval("return #redis.call('keys', '*')", &[], &[]), ":1000\r\n");
    });
}

#[test]
fn scripts_are_known_to_all_shards_until_they_are_flushed() {
    on_each(|server| {
        let address = address(server);
        let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let mut clients: Vec<Client> = (0..8).map(|_| Client::new(address)).collect();
        assert_eq!(
            clients[0].ask(&["EVALSHA", digest, "0"]),
            "-NOSCRIPT No matching script. Please use EVAL.\r\n"
        );
        assert_eq!(clients[0].ask(&["SCRIPT", "LOAD", "return 1"]), format!("$40\r\n{digest}\r\n"));
        for client in &mut clients {
            assert_eq!(client.ask(&["EVALSHA", digest, "0"]), ":1\r\n");
            assert_eq!(client.ask(&["EVALSHA_RO", &digest.to_uppercase(), "0"]), ":1\r\n");
        }
        assert_eq!(clients[1].ask(&["SCRIPT", "SHOW", digest]), "$8\r\nreturn 1\r\n");
        assert_eq!(clients[1].ask(&["SCRIPT", "EXISTS", digest, "x"]), "*2\r\n:1\r\n:0\r\n");
        assert_eq!(clients[2].ask(&["SCRIPT", "FLUSH"]), "+OK\r\n");
        for client in &mut clients {
            assert!(client.ask(&["EVALSHA", digest, "0"]).starts_with("-NOSCRIPT"));
        }
        let refused = [
            (
                &["EVAL_RO", "return redis.call('set', 'k', 1)", "0"][..],
                "-ERR Write commands are not allowed from read-only scripts.",
            ),
            (
                &["EVAL", "#!lua flags=no-writes\nreturn redis.call('set', 'k', 1)", "0"],
                "-ERR Write commands are not allowed from read-only scripts.",
            ),
            (
                &["EVAL_RO", "#!lua\nreturn 1", "0"],
                "-ERR Can not execute a script with write flag using *_ro command.",
            ),
            (&["EVAL", "#!lua flags=x\nreturn 1", "0"], "-ERR Unexpected flag in script shebang: x"),
            (&["EVAL", "return 1", "x"], "-ERR value is not an integer or out of range"),
            (&["EVAL", "return 1", "1"], "-ERR Number of keys can't be greater than number of args"),
            (&["EVAL", "return 1", "-1"], "-ERR Number of keys can't be negative"),
            (&["EVAL", "return +", "0"], "-ERR Error compiling script (new function): user_script:1:"),
            (&["SCRIPT", "KILL"], "-NOTBUSY No scripts in execution right now."),
        ];
        for (words, expected) in refused {
            let answer = clients[3].ask(words);
            assert!(answer.starts_with(expected), "{words:?}: {answer}");
        }
        // Texts that are all different take no more than they may.
        for number in 0..4000 {
            assert_eq!(
                clients[4].eval(&format!("return {number} -- {}", "x".repeat(500)), &[], &[]),
                format!(":{number}\r\n")
            );
        }
        let info = clients[5].ask(&["INFO", "memory"]);
        let known =
            info.lines().find_map(|line| line.strip_prefix("used_memory_scripts_eval:")).expect("a figure");
        assert!(known.trim().parse::<u64>().expect("a number") <= 4 << 20, "{known}");
    });
}

#[test]
fn messages_go_when_their_script_has_ended() {
    on_each(|server| {
        let address = address(server);
        let (mut client, mut subscriber) = (Client::new(address), Client::new(address));
        subscriber.ask(&["SUBSCRIBE", "news"]);
        client.eval("redis.call('publish', 'news', 'never') while true do end", &[], &[]);
        let refused = client.ask(&["EVAL_RO", "return redis.call('publish', 'news', 'x')", "0"]);
        assert!(refused.starts_with("-ERR Write commands are not allowed"), "{refused}");
        let script = "redis.call('publish', 'news', 'one') redis.call('set', KEYS[1], 'v') redis.call('set', KEYS[2], 'v')
            redis.call('publish', 'news', ARGV[1]) return 1";
        let long = "x".repeat(50_000);
        assert_eq!(client.eval(script, &["key1", "key2"], &[&long]), ":1\r\n");
        let message =
            |text: &str| format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${}\r\n{text}\r\n", text.len());
        assert_eq!(subscriber.receive(), message("one"));
        assert_eq!(client.ask(&["MGET", "key1", "key2"]), "*2\r\n$1\r\nv\r\n$1\r\nv\r\n");
        assert_eq!(subscriber.receive(), message(&long));
    });
}

#[test]
fn scripts_are_commands_of_transactions() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        client.send(&["MULTI"]);
        client.send(&["EVAL", SET_ALL, "2", "key1", "key2", "7"]);
        client.send(&["INCR", "key1"]);
        client.send(&["EVAL", "return redis.call('get', KEYS[1])", "1", "key1"]);
        client.send(&["EVAL", "return redis.call('get', 'elsewhere')", "0"]);
        client.send(&["EXEC"]);
        (0..5).for_each(|_| drop(client.receive()));
        let expected = "*4\r\n:1\r\n:8\r\n$1\r\n8\r\n-ERR in a transaction a script may use those keys alone that it is given\r\n";
        assert_eq!(client.receive(), expected);
    });
}
