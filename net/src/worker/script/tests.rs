//! Scripts of one other shard: what is done there, what comes back, and in which order.

use crate::observed::Sees;
use crate::session::Protocol;
use crate::transport::{ConnId, Pieces};
use crate::worker::holds::{HeldKey, Holder};
use crate::worker::state::WorkerState;
use crate::worker::testing::{
    CONN, NOW, add_client_at, execute, execute_of, key_of, pair, resp, sent, sent_to, turn,
};
use std::time::Duration;
use torc_engine::changes::{Change, Listener};
use torc_engine::command::{Command, Millis, Op, Read, Write};
use torc_engine::reader::{Doubt, ReadRoom, ShardReader};
use torc_engine::{Shard, ShardConfig};

const OTHER: ConnId = ConnId { index: 1, generation: 0 };

/// Some turns of both shards.
fn turns(first: &mut WorkerState, second: &mut WorkerState) {
    for _ in 0..8 {
        turn(first);
        turn(second);
    }
}

/// What the client of the first shard is answered.
fn ask((first, second): (&mut WorkerState, &mut WorkerState), words: &[&str]) -> String {
    execute(first, &resp(words), 10);
    turns(first, second);
    sent(first)
}

fn hold(state: &mut WorkerState, key: &str) -> Holder {
    let holder = Holder { shard: 0, conn: ConnId { index: 100, generation: 0 } };
    let mut keys = Vec::new();
    HeldKey { database: 0, is_watched: false, key: key.as_bytes() }.append(&mut keys);
    state.request_hold(holder, 1, &keys, false);
    holder
}

/// Scripts that were sent, and those of them that came back.
fn counts(state: &WorkerState) -> (u64, u64) {
    (state.stats.scripts_sent.read(), state.stats.scripts_sent_back.read())
}

fn is_nothing_left(first: &mut WorkerState, second: &mut WorkerState) {
    for state in [first, second] {
        assert!(!state.holds.is_any() && !state.holds.is_wanted());
        assert!(state.connections.find(CONN).is_none_or(|conn| conn.is_idle() && !conn.keeps_script));
        assert!(state.acquiring.is_empty() && state.stopped.iter().all(|lane| lane.is_empty()));
    }
}

const COUNT: &str = "local n = redis.call('incr', KEYS[1]) redis.call('pexpire', KEYS[1], ARGV[1]) return n";

#[test]
fn a_script_of_another_shard_is_one_request() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let key = key_of(&first, 1);
    assert_eq!(ask((&mut first, &mut second), &["EVAL", COUNT, "1", &key, "5000"]), ":1\r\n");
    let digest = "d73eac2ba72d6e2e3efa4b9d1e2a0f0d1f6f4a57";
    assert!(ask((&mut first, &mut second), &["EVALSHA", digest, "1", &key]).starts_with("-NOSCRIPT"));
    assert_eq!((first.stats.forwarded.read(), counts(&first)), (2, (2, 0)));
    assert!(first.scripts.is_none(), "who asks needs no interpreter");
    assert_eq!(ask((&mut first, &mut second), &["PTTL", &key]), ":5000\r\n");
    assert_eq!(second.stats.held_keys.read(), 0);
    is_nothing_left(&mut first, &mut second);
}

#[test]
fn it_waits_for_a_held_key_and_nobody_overtakes_it() {
    let (mut first, mut second) = pair(Protocol::Resp);
    add_client_at(&mut first, OTHER, Protocol::Resp);
    let key = key_of(&first, 1);
    let holder = hold(&mut second, &key);
    execute(&mut first, &resp(&["EVAL", COUNT, "1", &key, "5000"]), 1);
    execute_of(&mut first, OTHER, 0, (&resp(&["INCR", &key]), 1));
    turns(&mut first, &mut second);
    assert_eq!((sent(&mut first), sent_to(&mut first, OTHER)), (String::new(), String::new()));
    second.release_hold(holder);
    turns(&mut first, &mut second);
    assert_eq!((&*sent(&mut first), &*sent_to(&mut first, OTHER)), (":1\r\n", ":2\r\n"));
    assert_eq!(counts(&first), (1, 0));
    is_nothing_left(&mut first, &mut second);
}

/// Each script sets or counts its key once, whoever runs it.
#[test]
fn what_cannot_be_done_at_once_is_done_by_the_asker() {
    struct Case {
        script: &'static str,
        answer: &'static str,
        /// By clients of these shards.
        heard: &'static [u16],
        comes_back: bool,
    }
    let case = |script, answer, heard, comes_back| Case { script, answer, heard, comes_back };
    let cases = [
        case("redis.call('incr', KEYS[1]) return redis.call('incr', ARGV[1])", ":1\r\n", &[][..], true),
        case("redis.call('incr', KEYS[1]) return redis.call('incr', ARGV[2])", ":1\r\n", &[], false),
        case(
            "redis.call('incr', KEYS[1]) redis.call('set', KEYS[1] .. 'x', string.rep('v', 2000)) return 7",
            ":7\r\n",
            &[],
            true,
        ),
        case("redis.call('incr', KEYS[1]) return string.rep('x', 70000)", "$70000\r\n", &[], true),
        case("redis.call('incr', KEYS[1]) return redis.call('publish', 'c', 'm')", ":0\r\n", &[], false),
        case("redis.call('incr', KEYS[1]) return redis.call('publish', 'c', 'm')", ":0\r\n", &[1], false),
        case("redis.call('incr', KEYS[1]) return redis.call('publish', 'c', 'm')", ":0\r\n", &[0], true),
        case("redis.call('incr', KEYS[1]) return redis.call('publish', 'c', 'm')", ":0\r\n", &[0, 1], true),
    ];
    for Case { script, answer, heard, comes_back } in cases {
        let (mut first, mut second) = pair(Protocol::Resp);
        let (own, key) = (key_of(&first, 0), format!("{{{}}}", key_of(&first, 1)));
        for state in [&mut first, &mut second].into_iter().filter(|state| heard.contains(&state.number)) {
            add_client_at(state, OTHER, Protocol::Resp);
            execute_of(state, OTHER, 0, (&resp(&["SUBSCRIBE", "c"]), 1));
            sent_to(state, OTHER);
        }
        let named = format!("{key}named");
        let told = ask((&mut first, &mut second), &["EVAL", script, "1", &key, &own, &named]);
        assert!(told.starts_with(answer), "{script}: {told}");
        assert_eq!(counts(&first), (1, comes_back.into()), "{script}");
        assert_eq!(ask((&mut first, &mut second), &["GET", &key]), "$1\r\n1\r\n", "{script}");
        for state in [&mut first, &mut second].into_iter().filter(|state| heard.contains(&state.number)) {
            assert_eq!(sent_to(state, OTHER), "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", "{script}");
        }
        is_nothing_left(&mut first, &mut second);
    }
}

#[test]
fn long_words_and_what_is_more_than_a_turn_of_scripts_are_run_by_the_asker() {
    let (mut first, mut second) = pair(Protocol::Resp);
    first.settings.limits.frame_bytes_max = 64 << 10;
    let key = key_of(&first, 1);
    let long = "v".repeat(17 << 10);
    let script = "redis.call('incr', KEYS[1]) return #ARGV[1]";
    assert_eq!(ask((&mut first, &mut second), &["EVAL", script, "1", &key, &long]), ":17408\r\n");
    assert_eq!(counts(&first), (0, 0));
    execute(&mut first, &resp(&["EVAL", script, "1", &key, "v"]), 1);
    first.publish_mail();
    second.scripts_served = Duration::from_secs(1);
    second.read_mail();
    second.publish_mail();
    turns(&mut first, &mut second);
    assert_eq!((&*sent(&mut first), counts(&first)), (":1\r\n", (1, 1)));
    // The next one stays here, the one behind it is tried there again.
    for sent in [1, 2] {
        assert_eq!(ask((&mut first, &mut second), &["EVAL", script, "1", &key, "v"]), ":1\r\n");
        assert_eq!(counts(&first), (sent, 1));
    }
    assert_eq!(ask((&mut first, &mut second), &["GET", &key]), "$1\r\n4\r\n");
    is_nothing_left(&mut first, &mut second);
}

#[test]
fn what_is_behind_a_script_that_comes_back_waits() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let (own, key) = (key_of(&first, 0), key_of(&first, 1));
    let script = "return redis.call('set', KEYS[1], string.rep('v', 2000))";
    let pipeline = [
        resp(&["INCR", &own]),
        resp(&["STRLEN", &key]),
        resp(&["EVAL", script, "1", &key]),
        resp(&["STRLEN", &key]),
        resp(&["INCR", &own]),
        resp(&["SET", &key, "w"]),
        resp(&["EVAL", "return redis.call('get', KEYS[1])", "1", &key]),
        resp(&["INCR", &own]),
    ];
    execute(&mut first, &pipeline.concat(), 10);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), ":1\r\n:0\r\n+OK\r\n:2000\r\n:2\r\n+OK\r\n$1\r\nw\r\n:3\r\n");
    assert_eq!(counts(&first), (2, 1));
    is_nothing_left(&mut first, &mut second);
}

#[test]
fn errors_are_the_same_words_there() {
    let cases: [&[&str]; 8] = [
        &["EVAL", "return +", "1", "KEY"],
        &["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "1", "KEY"],
        &["EVALSHA", "short", "1", "KEY"],
        &["EVAL_RO", "#!lua\nreturn 1", "1", "KEY"],
        &["EVAL_RO", "return redis.call('set', KEYS[1], 1)", "1", "KEY"],
        &["EVAL", "return redis.call('incrby', KEYS[1], 'x')", "1", "KEY"],
        &["EVAL", "while true do end", "1", "KEY"],
        &["EVAL", "local t = {} while true do t[#t + 1] = ('v'):rep(1000) end", "1", "KEY"],
    ];
    for words in cases {
        let (mut first, mut second) = pair(Protocol::Resp);
        let [own, other] = [0, 1].map(|shard| {
            let key = key_of(&first, shard);
            let words: Vec<&str> =
                words.iter().map(|word| if *word == "KEY" { &*key } else { word }).collect();
            ask((&mut first, &mut second), &words)
        });
        assert!(own.starts_with('-'), "{own}");
        assert_eq!(own, other);
        assert_eq!(counts(&first), (1, 0), "{own}");
        // What it has done is counted where it was done, once.
        assert_eq!(first.stats.requests_total(), second.stats.requests_total(), "{own}");
    }
}

#[test]
fn a_client_that_goes_leaves_the_script_done_or_not_begun() {
    for (script, is_done) in [(COUNT, true), ("redis.call('incr', KEYS[1]) return ('x'):rep(70000)", false)] {
        let (mut first, mut second) = pair(Protocol::Resp);
        add_client_at(&mut first, OTHER, Protocol::Resp);
        let key = key_of(&first, 1);
        execute(&mut first, &resp(&["EVAL", script, "1", &key, "5000"]), 1);
        turn(&mut first);
        first.closed(CONN, Pieces::default());
        turns(&mut first, &mut second);
        execute_of(&mut first, OTHER, 0, (&resp(&["GET", &key]), 1));
        turns(&mut first, &mut second);
        assert_eq!(sent_to(&mut first, OTHER), if is_done { "$1\r\n1\r\n" } else { "$-1\r\n" });
        is_nothing_left(&mut first, &mut second);
    }
}

#[test]
fn it_is_run_in_the_words_and_the_database_of_its_client() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let key = key_of(&first, 1);
    let script = "redis.call('incr', KEYS[1]) return {double=1.5}";
    let both = [resp(&["HELLO", "3"]), resp(&["SELECT", "3"]), resp(&["EVAL", script, "1", &key])];
    execute(&mut first, &both.concat(), 10);
    turns(&mut first, &mut second);
    assert!(sent(&mut first).ends_with("+OK\r\n,1.5\r\n"));
    for (database, value) in [("0", "_\r\n"), ("3", "$1\r\n1\r\n")] {
        let get = resp(&["EVAL", "return redis.call('get', KEYS[1])", "1", &key]);
        execute(&mut first, &[resp(&["SELECT", database]), get].concat(), 10);
        turns(&mut first, &mut second);
        assert_eq!(sent(&mut first), format!("+OK\r\n{value}"));
    }
    assert_eq!(counts(&first), (3, 0));
}

#[test]
fn it_may_choose_a_database_as_on_the_port_of_its_client() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let key = key_of(&first, 1);
    let script = "redis.call('set', KEYS[1], 0) redis.call('select', 3) return redis.call('incr', KEYS[1])";
    assert_eq!(ask((&mut first, &mut second), &["EVAL", script, "1", &key]), ":1\r\n");
    assert_eq!(ask((&mut first, &mut second), &["GET", &key]), "$1\r\n0\r\n");
    assert_eq!(counts(&first), (1, 0));
}

/// Reads a key as another thread does, each time that its shard changes one.
#[derive(Debug)]
struct Onlooker {
    reader: ShardReader,
    key: String,
    hash: u64,
    now: Millis,
    /// Whether it was told to ask the shard.
    is_in_doubt: Vec<bool>,
}

impl Listener for Onlooker {
    fn changed(&mut self, _: &Change<'_>) {
        let mut room = ReadRoom::new();
        let read = Read::default();
        let look = self.reader.read((0, self.key.as_bytes()), self.hash, &read, self.now, &mut room);
        self.is_in_doubt.push(matches!(look, Err(Doubt::Flush)));
    }
}

#[test]
fn who_reads_without_asking_sees_all_that_it_changes_or_nothing() {
    let script = "for _, key in ipairs(KEYS) do redis.call('set', key, 'v') end return 1";
    for is_one in [false, true] {
        let (mut first, mut second) = pair(Protocol::Resp);
        let tag = key_of(&first, 1);
        let [a, b, other] = ["a", "b", "other"].map(|name| format!("{{{tag}}}{name}"));
        let (reader, hash, now) =
            (second.shard.reader(), second.shard.key_hash(other.as_bytes()), second.now);
        let onlooker = Onlooker { reader, key: other, hash, now, is_in_doubt: Vec::new() };
        second.shard.listen(Box::new(onlooker));
        let words: &[&str] = if is_one { &["EVAL", script, "1", &a] } else { &["EVAL", script, "2", &a, &b] };
        assert_eq!(ask((&mut first, &mut second), words), ":1\r\n");
        let onlooker = second.shard.listener_mut::<Onlooker>().unwrap();
        let expected: &[bool] = if is_one { &[false] } else { &[true, true] };
        assert_eq!(onlooker.is_in_doubt, expected);
        assert_eq!(counts(&first), (1, 0));
    }
}

/// Were it sent back, what it has called would be shown twice.
#[test]
fn it_stays_with_its_client_while_somebody_monitors() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let key = key_of(&first, 1);
    first.monitoring.is_on = true;
    assert_eq!(ask((&mut first, &mut second), &["EVAL", COUNT, "1", &key, "5000"]), ":1\r\n");
    assert_eq!(counts(&first), (0, 0));
    is_nothing_left(&mut first, &mut second);
}

/// What it wrote before it had to begin again is not seen.
#[test]
fn an_attempt_that_ends_for_another_key_leaves_nothing() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let tag = key_of(&first, 1);
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("{{{tag}}}{name}"));
    let script = "redis.call('incr', KEYS[1]) redis.call('incr', ARGV[1]) redis.call('incr', ARGV[2]) \
                  return redis.call('mget', KEYS[1], ARGV[1], ARGV[2])";
    let told = ask((&mut first, &mut second), &["EVAL", script, "1", &a, &b, &c]);
    assert_eq!(told, "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n");
    // A key that it names itself is not waited for there.
    let holder = hold(&mut second, &b);
    execute(&mut first, &resp(&["EVAL", script, "1", &a, &b, &c]), 1);
    turns(&mut first, &mut second);
    assert_eq!((&*sent(&mut first), counts(&first)), ("", (2, 1)));
    second.release_hold(holder);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), "*3\r\n$1\r\n2\r\n$1\r\n2\r\n$1\r\n2\r\n");
    is_nothing_left(&mut first, &mut second);
}

#[test]
fn what_a_script_that_comes_back_has_called_is_counted_and_shown_once() {
    for (script, calls) in [
        ("redis.call('get', KEYS[1]) return ('x'):rep(70000)", 1),
        (
            "redis.call('get', KEYS[1]) redis.pcall('incr', KEYS[1], 'x') redis.call('get', ARGV[1]) return 1",
            2,
        ),
    ] {
        let (mut first, mut second) = pair(Protocol::Resp);
        let [own, key] = [0, 1].map(|shard| key_of(&first, shard));
        execute(&mut first, &resp(&["EVAL", script, "1", &key, &own]), 10);
        let _monitor = first.shared.observed.monitors.begin(Sees::Requests).expect("a place");
        turns(&mut first, &mut second);
        assert!(sent(&mut first).len() > 3);
        assert_eq!(counts(&first), (1, 1));
        let lines = [&first, &second].map(|state| &state.monitoring.lines[..]).concat();
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(lines.matches("lua] \"get\"").count(), calls, "{lines}");
        [&mut first, &mut second].into_iter().for_each(|state| state.end_turn(1));
        let misses = [&first, &second].map(|state| state.shard.stats().misses.read());
        assert_eq!(misses.iter().sum::<u64>(), calls as u64);
        let gets = [&first, &second].map(|state| {
            let times = state.stats.command_times().find(|times| times.name == "get");
            times.map_or(0, |times| times.calls)
        });
        assert_eq!(gets.iter().sum::<u64>(), calls as u64);
    }
}

#[test]
fn among_the_commands_of_a_transaction_it_is_run_by_the_asker() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let key = key_of(&first, 1);
    let words: [&[&str]; 4] = [&["MULTI"], &["EVAL", COUNT, "1", &key, "5000"], &["INCR", &key], &["EXEC"]];
    execute(&mut first, &words.map(resp).concat(), 10);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n");
    assert_eq!(counts(&first), (0, 0));
    is_nothing_left(&mut first, &mut second);
}

#[test]
fn a_change_that_is_refused_is_answered_so_there() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let key = key_of(&first, 1);
    let config = ShardConfig { shard: 1, now: NOW, value_bytes_max: 100, ..ShardConfig::new(16 << 20) };
    second.shard = Shard::new(config).expect("16 MiB");
    let script = "redis.call('set', KEYS[1], string.rep('v', tonumber(ARGV[1]))) return 1";
    assert_eq!(ask((&mut first, &mut second), &["EVAL", script, "1", &key, "100"]), ":1\r\n");
    let refused = ask((&mut first, &mut second), &["EVAL", script, "1", &key, "101"]);
    assert!(refused.contains("maximum allowed size"), "{refused}");
    assert_eq!(counts(&first), (2, 0));
}

#[test]
fn what_it_reads_may_take_no_more_than_a_script_may() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let tag = key_of(&first, 1);
    let keys = ["a", "b", "c", "d"].map(|name| format!("{{{tag}}}{name}"));
    for key in &keys {
        let set = Op::Write(Write::set(&[b'v'; 1 << 20]));
        let hash = second.shard.key_hash(key.as_bytes());
        second.shard.execute(&Command { database: 0, key: key.as_bytes(), op: set }, hash, NOW);
    }
    let [a, b, c, d] = &keys;
    let script = "redis.call('set', KEYS[1], 'v') return 1";
    assert_eq!(ask((&mut first, &mut second), &["EVAL", script, "1", a]), ":1\r\n");
    assert_eq!(ask((&mut first, &mut second), &["DEL", a]), ":1\r\n");
    let told = ask((&mut first, &mut second), &["EVAL", script, "4", a, b, c, d]);
    assert!(told.starts_with("-ERR") && told.contains("script-memory-max"), "{told}");
    assert_eq!(ask((&mut first, &mut second), &["EXISTS", a]), ":0\r\n");
    assert_eq!(counts(&first), (2, 0));
    is_nothing_left(&mut first, &mut second);
}

#[test]
fn it_may_ask_for_keys_and_delete_them() {
    let (mut first, mut second) = pair(Protocol::Resp);
    first.settings.limits.arguments_max = 100;
    let keys: Vec<String> = (0..40).map(|number| format!("ns:{number}")).collect();
    for key in &keys {
        ask((&mut first, &mut second), &["SET", key, "v"]);
    }
    ask((&mut first, &mut second), &["SET", "other", "v"]);
    let script = "local n = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do n = n + redis.call('DEL', key) end \
                  return {n, redis.call('keys', '*')}";
    for (pattern, answer) in
        [("none*", "*2\r\n:0\r\n*41\r\n"), ("ns:*", "*2\r\n:40\r\n*1\r\n$5\r\nother\r\n")]
    {
        execute(&mut first, &resp(&["EVAL", script, "0", pattern]), 1);
        (0..10).for_each(|_| turns(&mut first, &mut second));
        let told = sent(&mut first);
        assert!(told.starts_with(answer), "{told}");
        is_nothing_left(&mut first, &mut second);
    }
    assert_eq!(ask((&mut first, &mut second), &["EXISTS", "other", "ns:0", "ns:39"]), ":1\r\n");
    assert_eq!(first.stats.scripts_begun_again.read(), 4);
}

#[test]
fn keys_tells_what_the_script_itself_has_changed() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let keys = [0, 1].map(|shard| key_of(&first, shard));
    for key in &keys {
        ask((&mut first, &mut second), &["SET", key, "v"]);
        let script = "redis.call('del', KEYS[1]) local a = redis.call('keys', '*') redis.call('set', KEYS[1], 'w') \
                      return {#a, #redis.call('keys', '*'), #redis.call('keys', 'nothing')}";
        execute(&mut first, &resp(&["EVAL", script, "1", key]), 1);
        (0..10).for_each(|_| turns(&mut first, &mut second));
        assert_eq!(sent(&mut first), "*3\r\n:0\r\n:1\r\n:0\r\n");
        is_nothing_left(&mut first, &mut second);
        ask((&mut first, &mut second), &["DEL", key]);
    }
    // Its keys are held already, and no others can be.
    let words: [&[&str]; 3] = [&["MULTI"], &["EVAL", "return redis.call('keys', '*')", "0"], &["EXEC"]];
    execute(&mut first, &words.map(resp).concat(), 10);
    turns(&mut first, &mut second);
    assert!(sent(&mut first).contains("*1\r\n-ERR in a transaction a script may use"));
}

#[test]
fn more_keys_than_it_could_hold_are_not_found_for_it() {
    let (mut first, mut second) = pair(Protocol::Resp);
    for number in 0..(1 << 16) + 1 {
        let key = format!("many:{number}");
        let hash = first.shard.key_hash(key.as_bytes());
        let set = Op::Write(Write::set(b"v"));
        first.shard.execute(&Command { database: 0, key: key.as_bytes(), op: set }, hash, NOW);
    }
    execute(&mut first, &resp(&["EVAL", "return #redis.call('keys', ARGV[1])", "0", "many:*"]), 1);
    (0..100).for_each(|_| turns(&mut first, &mut second));
    let told = sent(&mut first);
    assert!(told.starts_with("-ERR too much is found"), "{told}");
    is_nothing_left(&mut first, &mut second);
}
