//! What is told to whom, and when.

use super::table::Table;
use crate::session::Protocol;
use crate::transport::{ConnId, Pieces};
use crate::worker::state::WorkerState;
use crate::worker::testing::{
    CONN, NOW, add_client_at, exchange, execute, execute_of, key_of, pair, resp, sent, sent_to, turn,
};
use torc_engine::command::{Command, Millis, Op, Read};

const OTHER: ConnId = ConnId { index: 1, generation: 0 };

/// Two shards; the first has a client that keeps copies, and each has another one.
fn tracked(options: &[&str]) -> (WorkerState, WorkerState) {
    let (mut first, mut second) = pair(Protocol::Resp);
    for state in [&mut first, &mut second] {
        add_client_at(state, OTHER, Protocol::Resp);
    }
    execute(&mut first, &resp(&["HELLO", "3"]), 1);
    execute(&mut first, &resp(&[&["CLIENT", "TRACKING", "ON"], options].concat()), 1);
    sent(&mut first);
    (first, second)
}

fn other(state: &mut WorkerState, words: &[&str]) {
    execute_of(state, OTHER, 0, (&resp(words), 64));
}

/// The ends of turns, until nothing is left to be told.
fn turns(first: &mut WorkerState, second: &mut WorkerState) {
    for _ in 0..6 {
        for state in [&mut *first, &mut *second] {
            state.begin_turn(0, state.now);
            state.tell_news(None);
        }
        exchange(first, second);
    }
}

fn told(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

fn advance(state: &mut WorkerState) {
    let mut conn = state.connections.take(CONN).expect("it is there");
    state.advance(&mut conn);
    state.connections.put(conn);
}

const ALL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

fn keys(state: &mut WorkerState) -> usize {
    state.shard.listener_mut::<Table>().map_or(0, |table| table.figures().0)
}

#[test]
fn a_client_is_told_of_keys_of_all_shards_when_others_change_them() {
    let (mut first, mut second) = tracked(&[]);
    let [here, there] = [0, 1].map(|shard| key_of(&first, shard));
    execute(&mut first, &[resp(&["GET", &here]), resp(&["GET", &there])].concat(), 2);
    turns(&mut first, &mut second);
    assert_eq!((sent(&mut first), keys(&mut first), keys(&mut second)), ("_\r\n_\r\n".into(), 1, 1));
    other(&mut first, &["SET", &here, "v"]);
    other(&mut second, &["SET", &there, "v"]);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), told(&here) + &told(&there));
    assert_eq!((keys(&mut first), keys(&mut second)), (0, 0));
    // Once.
    other(&mut second, &["SET", &there, "w"]);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), "");
    assert_eq!(first.stats.invalidations.read(), 2);
}

#[test]
fn a_change_is_told_before_the_next_part_of_the_client_is_begun_and_before_answers_of_others() {
    let (mut first, mut second) = tracked(&[]);
    let [here, there] = [0, 1].map(|shard| key_of(&first, shard));
    let pipeline = [resp(&["GET", &here]), resp(&["SET", &here, "v"]), resp(&["GET", &here])].concat();
    execute(&mut first, &pipeline, 3);
    assert_eq!(sent(&mut first), format!("_\r\n+OK\r\n{}$1\r\nv\r\n", told(&here)));
    // Asked before the change and executed after it, with a copy from before.
    execute(&mut first, &resp(&["GET", &there]), 1);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), "_\r\n");
    other(&mut second, &["SET", &there, "v"]);
    execute(&mut first, &resp(&["GET", &there]), 1);
    second.tell_news(None);
    exchange(&mut first, &mut second);
    // The answer may be as it was before: so it is told once more behind it.
    assert_eq!(sent(&mut first), format!("{}$1\r\nv\r\n{}", told(&there), told(&there)));
}

/// An answer behind it may have seen a later change of another key.
#[test]
fn the_news_stand_right_behind_the_value_from_before_the_change() {
    let (mut first, mut second) = tracked(&[]);
    let there = key_of(&first, 1);
    let [here, later] = [key_of(&first, 0), format!("{{{there}}}later")];
    let gets = [&there, &here, &later, &there].map(|key| resp(&["GET", key]));
    execute(&mut first, &gets[..2].concat(), 2);
    first.publish_mail();
    second.read_mail();
    other(&mut second, &["SET", &there, "v"]);
    other(&mut second, &["SET", &later, "w"]);
    second.tell_news(None);
    execute(&mut first, &gets[2..].concat(), 2);
    exchange(&mut first, &mut second);
    let told = told(&there);
    let v = "$1\r\nv\r\n";
    assert_eq!(sent(&mut first), format!("{told}_\r\n{told}_\r\n$1\r\nw\r\n{v}"));
}

#[test]
fn that_all_may_have_changed_is_told_right_behind_each_value_from_before() {
    let (mut first, mut second) = tracked(&[]);
    let [here, there] = [0, 1].map(|shard| key_of(&first, shard));
    other(&mut second, &["SET", &there, "v"]);
    execute(&mut first, &[&there, &here].map(|key| resp(&["GET", key])).concat(), 2);
    first.publish_mail();
    second.read_mail();
    second.mail.add_news(0, None);
    second.mail.publish_news();
    execute(&mut first, &resp(&["GET", &here]), 1);
    exchange(&mut first, &mut second);
    let v = "$1\r\nv\r\n";
    assert_eq!(sent(&mut first), format!("{ALL}{v}{ALL}_\r\n{ALL}_\r\n"));
}

/// What the first shard has asked of the second is answered there, and the key is changed at once: the news and the answer come together.
fn change_behind(first: &mut WorkerState, second: &mut WorkerState, key: &str) {
    first.publish_mail();
    second.read_mail();
    other(second, &["SET", key, "v"]);
    second.tell_news(None);
    first.tell_news(None);
    second.publish_mail();
    first.read_mail();
}

#[test]
fn a_value_from_before_the_change_is_followed_by_the_news() {
    let (mut first, mut second) = tracked(&[]);
    let there = key_of(&first, 1);
    execute(&mut first, &resp(&["GET", &there]), 1);
    change_behind(&mut first, &mut second, &there);
    assert_eq!(sent(&mut first), format!("{}_\r\n{}", told(&there), told(&there)));
}

#[test]
fn a_copy_whose_time_is_over_is_told_of_though_nobody_asks() {
    let (mut first, mut second) = tracked(&[]);
    let [here, there] = [0, 1].map(|shard| key_of(&first, shard));
    for key in [&here, &there] {
        other(&mut first, &["SET", key, "v", "PXAT", &(NOW + 5000).to_string()]);
        turns(&mut first, &mut second);
        execute(&mut first, &resp(&["GET", key]), 1);
        turns(&mut first, &mut second);
    }
    sent(&mut first);
    for (now, heard) in [(4990, 0), (5000, 2)] {
        for state in [&mut first, &mut second] {
            let left = state.until_tracked_end().expect("a time");
            assert!(left.as_millis() as Millis <= 5000, "{left:?}");
            state.begin_turn(0, NOW + now);
        }
        turns(&mut first, &mut second);
        let heard_now = sent(&mut first);
        assert_eq!(heard_now.matches("invalidate").count(), heard, "{heard_now}");
    }
    assert_eq!((first.until_tracked_end(), second.until_tracked_end()), (None, None));
}

#[test]
fn a_flush_is_told_by_each_shard_and_what_has_no_room_is_told_and_counted() {
    let (mut first, mut second) = tracked(&[]);
    turns(&mut first, &mut second);
    other(&mut second, &["FLUSHALL"]);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), ALL.repeat(2));
    // 100 keys of two shards.
    let mut heard = String::new();
    for number in 0..200 {
        execute(&mut first, &resp(&["GET", &format!("k{number}")]), 1);
        turns(&mut first, &mut second);
        heard += &sent(&mut first);
    }
    assert_eq!((keys(&mut first), keys(&mut second)), (50, 50));
    let forced = first.stats.tracked_keys_forced.read() + second.stats.tracked_keys_forced.read();
    assert_eq!((forced, heard.matches("invalidate").count()), (100, 100));
}

#[test]
fn more_than_there_is_room_for_is_told_as_all() {
    let (mut first, mut second) = tracked(&["BCAST"]);
    let there = key_of(&first, 1);
    second.begin_turn(0, NOW);
    for _ in 0..30_000 {
        other(&mut second, &["SET", &there, "v"]);
        sent_to(&mut second, OTHER);
    }
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), ALL);
    other(&mut second, &["SET", &there, "v"]);
    turns(&mut first, &mut second);
    assert_eq!(sent(&mut first), told(&there));
}

#[test]
fn prefixes_are_those_of_keys_of_all_shards_and_each_is_told_apart() {
    let (mut first, mut second) = tracked(&["BCAST", "NOLOOP", "PREFIX", "a", "PREFIX", "b"]);
    turns(&mut first, &mut second);
    for key in ["a1", "b1", "a2", "c1", "a1"] {
        other(&mut first, &["SET", key, "v"]);
        execute(&mut first, &resp(&["SET", &format!("{key}own"), "v"]), 1);
    }
    turns(&mut first, &mut second);
    let heard = sent(&mut first);
    for (key, is_told) in [("a1", true), ("a2", true), ("b1", true), ("c1", false), ("a1own", false)] {
        assert_eq!(heard.contains(&format!("\r\n{key}\r\n")), is_told, "{key}: {heard}");
    }
    assert_eq!(first.stats.tracking_prefixes.read(), 2);
    execute(&mut first, &resp(&["CLIENT", "TRACKING", "OFF"]), 1);
    turns(&mut first, &mut second);
    assert!(first.shard.listener_mut::<Table>().is_none() && second.shard.listener_mut::<Table>().is_none());
    assert_eq!((first.stats.tracking_prefixes.read(), first.stats.tracking_clients.read()), (0, 0));
}

#[test]
fn who_is_gone_is_taken_out_of_the_tables_of_all_shards() {
    let (mut first, mut second) = tracked(&[]);
    // Another one keeps the tables.
    execute_of(&mut second, OTHER, 0, (&resp(&["CLIENT", "TRACKING", "ON"]), 1));
    for number in 0..20 {
        execute(&mut first, &resp(&["GET", &format!("k{number}")]), 1);
        turns(&mut first, &mut second);
    }
    assert_eq!(keys(&mut first) + keys(&mut second), 20);
    first.closed(CONN, Pieces::default());
    turns(&mut first, &mut second);
    for state in [&mut first, &mut second] {
        assert!(!state.go_on_untracking());
        assert_eq!((keys(state), state.stats.tracked_items.read()), (0, 0));
    }
}

#[test]
fn another_client_is_told_in_its_place_until_it_is_gone() {
    for (shard, options) in [(0u16, ["2", "3"]), (1, ["2", "3"])] {
        let (mut first, mut second) = pair(Protocol::Resp);
        let key = key_of(&first, 1);
        let state = if shard == 0 { &mut first } else { &mut second };
        add_client_at(state, OTHER, Protocol::Resp);
        // The numbers of a shard's clients, as they are given out.
        let number = 2 * 5 + u64::from(shard);
        state.connections.find(OTHER).expect("it is there").number = number;
        other(state, &["HELLO", options[0]]);
        other(state, &["SUBSCRIBE", "__redis__:invalidate"]);
        sent_to(state, OTHER);
        execute(&mut first, &resp(&["HELLO", options[1]]), 1);
        let number = number.to_string();
        execute(&mut first, &resp(&["CLIENT", "TRACKING", "ON", "REDIRECT", &number]), 1);
        turns(&mut first, &mut second);
        execute(&mut first, &[resp(&["CLIENT", "GETREDIR"]), resp(&["GET", &key])].concat(), 2);
        turns(&mut first, &mut second);
        assert!(sent(&mut first).ends_with(&format!("+OK\r\n:{number}\r\n_\r\n")));
        execute(&mut first, &resp(&["SET", &key, "v"]), 1);
        turns(&mut first, &mut second);
        let state = if shard == 0 { &mut first } else { &mut second };
        let message = format!(
            "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n${}\r\n{key}\r\n",
            key.len()
        );
        assert_eq!(sent_to(state, OTHER), message);
        state.closed(OTHER, Pieces::default());
        execute(&mut first, &resp(&["GET", &key]), 1);
        turns(&mut first, &mut second);
        execute(&mut first, &resp(&["SET", &key, "v"]), 1);
        turns(&mut first, &mut second);
        let broken = format!("+OK\r\n$1\r\nv\r\n+OK\r\n>2\r\n$21\r\ntracking-redir-broken\r\n:{number}\r\n");
        assert_eq!(sent(&mut first), broken, "{shard}");
        let unknown = (number.parse::<u64>().expect("a number") + 100).to_string();
        execute(&mut first, &resp(&["CLIENT", "TRACKING", "ON", "REDIRECT", &unknown]), 1);
        turns(&mut first, &mut second);
        assert!(sent(&mut first).contains("The client ID you want redirect to does not exist"));
    }
}

#[test]
fn who_keeps_no_copies_pays_nothing() {
    let (mut first, mut second) = pair(Protocol::Resp);
    let there = key_of(&first, 1);
    execute(&mut first, &resp(&["GET", &there]), 1);
    turns(&mut first, &mut second);
    for state in [&mut first, &mut second] {
        assert!(!state.trackers.has_table && state.shard.listener_mut::<Table>().is_none());
        assert_eq!(state.tracking_bytes(), 0);
    }
}

/// It compares values as they were before, and lets go of their keys meanwhile.
#[test]
fn what_changes_while_values_are_compared_is_told_again_behind_the_answer() {
    for shard in [0, 1] {
        let (mut first, mut second) = tracked(&[]);
        let tag = key_of(&first, shard);
        let [a, b] = ["a", "b"].map(|name| format!("{{{tag}}}{name}"));
        for key in [&a, &b] {
            other(&mut first, &["SETBIT", key, "131071", "1"]);
            turns(&mut first, &mut second);
        }
        sent_to(&mut first, OTHER);
        execute(&mut first, &resp(&["LCS", &a, &b, "LEN"]), 1);
        turns(&mut first, &mut second);
        let compares = |state: &mut WorkerState| {
            let conn = state.connections.find(CONN).expect("it is there");
            conn.joint.is_some() && !conn.in_transaction
        };
        let mut asked = 0;
        while !compares(&mut first) {
            advance(&mut first);
            turns(&mut first, &mut second);
            asked += 1;
            assert!(asked < 20, "it has its values");
        }
        assert_eq!((sent(&mut first), first.holds.is_any() || second.holds.is_any()), ("".into(), false));
        other(&mut first, &["SET", &a, "v"]);
        turns(&mut first, &mut second);
        assert_eq!((sent_to(&mut first, OTHER), sent(&mut first)), ("+OK\r\n".into(), told(&a)));
        let mut answer = String::new();
        for _ in 0..1000 {
            first.begin_turn(0, NOW);
            advance(&mut first);
            answer += &sent(&mut first);
        }
        let both = format!("*2\r\n${}\r\n{a}\r\n${}\r\n{b}\r\n", a.len(), b.len());
        assert_eq!(answer, format!(":16384\r\n>2\r\n$10\r\ninvalidate\r\n{both}"), "{shard}");
        // Nothing is told twice of what did not change.
        execute(&mut first, &resp(&["LCS", &a, &b, "LEN"]), 1);
        for _ in 0..10 {
            turns(&mut first, &mut second);
            advance(&mut first);
        }
        assert_eq!(sent(&mut first), ":0\r\n");
    }
}

/// The last client that was told of keys may go while other shards tell of them.
#[test]
fn news_for_clients_that_are_gone_keep_no_shard_awake() {
    let (mut first, mut second) = pair(Protocol::Resp);
    for news in [Some(&b"news"[..]), None] {
        second.mail.add_news(0, news);
        second.mail.publish_news();
        assert!(first.has_mail());
        assert!(first.announce_sleep());
        second.mail.add_news(0, news);
        second.mail.publish_news();
        assert!(!first.announce_sleep());
        assert!(first.announce_sleep());
    }
}

#[test]
fn a_script_that_is_run_at_another_shard_changes_keys_as_its_client() {
    let script = "redis.call('incr', KEYS[1]) return redis.call('pexpire', KEYS[1], 5000)";
    for (options, is_told) in [(&["BCAST", "NOLOOP"][..], false), (&["BCAST"], true)] {
        let (mut first, mut second) = tracked(options);
        let key = key_of(&first, 1);
        execute(&mut first, &resp(&["GET", &key]), 1);
        turns(&mut first, &mut second);
        execute(&mut first, &resp(&["EVAL", script, "1", &key]), 1);
        turns(&mut first, &mut second);
        let told = if is_told { told(&key) } else { String::new() };
        assert_eq!(sent(&mut first), format!("_\r\n:1\r\n{told}"));
        assert_eq!(first.stats.scripts_sent.read(), 1);
        // What another client's script has changed is told in any case.
        execute(&mut first, &resp(&["GET", &key]), 1);
        turns(&mut first, &mut second);
        assert_eq!(sent(&mut first), "$1\r\n1\r\n");
        other(&mut first, &["EVAL", script, "1", &key]);
        turns(&mut first, &mut second);
        assert_eq!(sent(&mut first), self::told(&key));
    }
}

/// What it is told of its own changes may be more than may wait for a client: others would see half of the script.
#[test]
fn a_script_that_has_begun_to_write_is_not_kept_by_what_waits_for_its_client() {
    let (mut first, _) = tracked(&["BCAST"]);
    first.settings.limits.arguments_max = 100;
    let tag = key_of(&first, 0);
    let keys: Vec<String> = (0..40).map(|number| format!("{{{tag}}}{number}")).collect();
    let script = "for _, key in ipairs(KEYS) do redis.call('set', key, 'v') end return 1";
    let words: Vec<&str> =
        ["EVAL", script, "40"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    execute(&mut first, &resp(&words), 1);
    other(&mut first, &["GET", &keys[39]]);
    assert_eq!(sent_to(&mut first, OTHER), "$1\r\nv\r\n");
    first.tell_news(None);
    let answer = sent(&mut first);
    assert!(answer.contains(":1\r\n") && keys.iter().all(|key| answer.contains(key)), "{answer}");
}

/// It may have read the key as it was.
#[test]
fn who_is_told_by_prefixes_is_told_again_behind_a_script_at_another_shard() {
    let (mut first, mut second) = tracked(&["BCAST"]);
    let there = key_of(&first, 1);
    execute(&mut first, &resp(&["EVAL", "return redis.call('get', KEYS[1])", "1", &there]), 1);
    change_behind(&mut first, &mut second, &there);
    assert_eq!(sent(&mut first), format!("{}_\r\n{}", told(&there), told(&there)));
}

/// Runs a script, about a key of the other shard and one of its own; the first one's time is over when so many turns are taken. Says what its
/// client is sent, and the one that may be told in its place. `is_met`: its shard finds it gone.
fn while_it_goes(
    script: &str,
    options: &[&str],
    (moment, is_met): (usize, bool),
) -> (String, String, String) {
    let (mut first, mut second) = tracked(options);
    execute_of(&mut first, OTHER, 0, (&resp(&["HELLO", "3"]), 1));
    let (there, here) = (key_of(&first, 1), key_of(&first, 0));
    other(&mut second, &["SET", &there, "v", "PXAT", &(NOW + 500).to_string()]);
    sent_to(&mut first, OTHER);
    execute(&mut first, &resp(&["EVAL", script, "2", &there, &here]), 1);
    for step in 0..60 {
        if step == moment {
            (first.now, second.now) = (NOW + 600, NOW + 600);
            if is_met {
                let get = Command { database: 0, key: there.as_bytes(), op: Op::Read(Read::default()) };
                second.shard.execute(&get, second.shard.key_hash(get.key), NOW + 600);
            }
        }
        turn(if step % 2 == 0 { &mut first } else { &mut second });
    }
    // Who is told by prefixes is told when somebody finds it gone.
    other(&mut second, &["GET", &there]);
    turns(&mut first, &mut second);
    (sent(&mut first), sent_to(&mut first, OTHER), format!("\r\n{there}\r\n"))
}

/// At any moment of a script: a reply that holds the value is followed by the news that it is gone.
#[test]
fn a_value_that_goes_while_a_script_is_under_way_is_told_behind_its_reply() {
    let scripts = [
        "return redis.call('get', KEYS[1])",
        "redis.call('set', KEYS[2], 'w') return redis.call('get', KEYS[1])",
    ];
    for (script, is_met) in scripts.iter().flat_map(|script| [(script, false), (script, true)]) {
        for options in [&[][..], &["BCAST"], &["REDIRECT", "2"]] {
            let mut with_value = 0;
            for moment in 0..24 {
                let (answer, in_place, told) = while_it_goes(script, options, (moment, is_met));
                let Some(at) = answer.find("$1\r\nv\r\n") else {
                    assert!(answer.contains("_\r\n"), "{options:?} {moment}: {answer}");
                    continue;
                };
                with_value += 1;
                let is_told = answer[at..].contains(&told) || !options.is_empty() && in_place.contains(&told);
                assert!(is_told, "{options:?} {moment} {is_met}: {answer} {in_place}");
            }
            assert!((2..24).contains(&with_value), "{options:?} {script} {with_value}");
        }
    }
}

/// As in Redis: what a script does itself is told once, behind its reply, wherever its keys are.
#[test]
fn what_a_script_changes_is_told_once_behind_its_reply() {
    let script = "local v = redis.call('get', KEYS[1]) redis.call('set', KEYS[1], 'w') return v";
    for shard in [0, 1] {
        let (mut first, mut second) = tracked(&[]);
        let key = key_of(&first, shard);
        other(&mut first, &["SET", &key, "v"]);
        turns(&mut first, &mut second);
        execute(&mut first, &resp(&["EVAL", script, "1", &key]), 1);
        for _ in 0..20 {
            turn(&mut first);
            turn(&mut second);
        }
        assert_eq!(sent(&mut first), format!("$1\r\nv\r\n{}", told(&key)), "{shard}");
    }
}

/// Wherever the keys are, and whatever waits before or behind.
#[test]
fn what_a_transaction_changes_is_told_once() {
    let run = |states: &mut (WorkerState, WorkerState), commands: &[&[&str]]| {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| resp(words)).collect();
        execute(&mut states.0, &bytes, 10);
        for _ in 0..20 {
            turn(&mut states.0);
            turn(&mut states.1);
        }
        sent(&mut states.0)
    };
    for [one, two] in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        let mut states = tracked(&[]);
        states.0.settings.subscriber_bytes_max = 1 << 20;
        let one = key_of(&states.0, one);
        let two = format!("{{{}}}two", key_of(&states.0, two));
        run(&mut states, &[&["SET", &one, "5"], &["GET", &one], &["SET", &two, "5"], &["GET", &two]]);
        let commands: [&[&str]; 5] = [
            &["MULTI"],
            &["GETEX", &one, "EX", "1000"],
            &["SETRANGE", &two, "1", "9"],
            &["SETBIT", &one, "3", "1"],
            &["EXEC"],
        ];
        let answer = run(&mut states, &commands);
        let (_, pushes) = answer.split_once("*3\r\n$1\r\n5\r\n:2\r\n:1\r\n").expect("the answer of EXEC");
        assert_eq!(pushes.len(), told(&one).len() + told(&two).len(), "{pushes}");
        assert!([one, two].iter().all(|key| pushes.contains(&told(key))), "{pushes}");
    }
}
