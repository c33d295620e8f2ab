//! `torc bench`, small: that it loads a server in every protocol and counts what came back. No figure is judged.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Server, finish, stderr_of, torc};

#[test]
fn a_load_counts_its_answers_in_every_protocol() {
    let server = Server::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    for protocol in ["resp", "memcache", "native"] {
        let file = directory.path().join(protocol);
        let mut command = torc();
        command.args(["bench", "--protocol", protocol, "--connections=4", "--depth=4", "--requests=2000"]);
        command.args([
            "--warmup=0",
            "--keys=1000",
            "--preload",
            "--server",
            &server.address().to_string(),
            "--json",
        ]);
        let output = finish(command.arg(&file));
        assert!(output.status.success(), "{protocol}: {}", stderr_of(&output));
        let text = std::fs::read_to_string(&file).expect("results");
        let results = &serde_json::from_str::<Value>(&text).expect("JSON")["results"];
        let count = |name: &str| results[name].as_u64().unwrap_or_else(|| panic!("no {name}: {text}"));
        assert_eq!(
            (count("operations"), count("misses"), count("refused")),
            (2000, 0, 0),
            "{protocol}: {text}"
        );
        assert_eq!(count("hits") + count("done"), 2000, "{protocol}: {text}");
    }
}

#[test]
fn floods_are_measured_in_each_protocol_that_has_them() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("flood");
    let mut command = torc();
    command.args(["bench", "tail", "--experiments=flood", "--pairs=1", "--seconds=0.1", "--warmup=0.1"]);
    let output = finish(command.args(["--keys=1000", "--out"]).arg(&folder));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let runs = measurements(&folder, "flood_runs");
    let torc = runs.iter().filter(|run| run["server"] == "torc");
    let floods: Vec<&str> = torc.filter_map(|run| run["flood"].as_str()).collect();
    assert_eq!(floods, ["get", "get", "set", "set", "mn", "ping", "mget"]);
    assert!(runs.iter().all(|run| run["figures"]["misses"] == 0), "{runs:?}");
}

#[test]
fn ways_on_one_host_are_compared() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("result");
    let mut command = torc();
    command.args(["bench", "compare", "--same-host", "--rounds=1", "--seconds=0.1", "--warmup=0.1"]);
    let output = finish(command.args(["--keys=1000", "--memory-mib=64", "--out"]).arg(&folder));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let runs = measurements(&folder, "runs");
    assert!(runs.iter().all(|run| run["figures"]["misses"] == 0), "{runs:?}");
    let of_torc = |connections: u64| {
        let runs = runs.iter().filter(|run| run["shape"]["connections"] == connections);
        let mut ways: Vec<&str> =
            runs.filter_map(|run| run["way"].as_str()?.strip_prefix("torc, ")).collect();
        ways.sort_unstable();
        ways
    };
    let asking = ["TCP", "Unix socket", "rings, server that polls", "rings, sleeping server"];
    assert_eq!(of_torc(50), asking);
    assert_eq!(of_torc(1), [&asking[..2], &["read by the client"], &asking[2..]].concat());
    // redis-server and memcached may not be installed.
    let reads = runs.iter().find(|run| run["by"] == "reads").expect("one-sided reads");
    let (hits, operations) = (&reads["one_sided"]["hits"], &reads["figures"]["operations"]);
    assert!(hits.as_u64().expect("a count") > operations.as_u64().expect("a count") / 2, "{reads:?}");
    let page = std::fs::read_to_string(folder.join("README.md")).expect("the page");
    assert!(
        page.contains("| torc, read by the client | 1 |") && page.contains("of the median of the fastest"),
        "{page}"
    );
}

#[test]
fn two_shards_are_held_against_one() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("shards");
    let mut command = torc();
    command.args(["bench", "shards", "--depths=1@4,4@4", "--loads=get,set", "--fill-sizes=1000"]);
    command.args(["--rounds=1", "--seconds=0.1", "--warmup=0.1", "--keys=1000", "--memory-mib=256", "--out"]);
    let output = finish(command.arg(&folder));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let count = |list: &str| measurements(&folder, list).len();
    assert_eq!((count("runs"), count("ratios"), count("fill_ratios")), (12, 4, 1));
}

#[test]
fn ways_to_wait_are_held_against_sleeping() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("wait");
    let mut command = torc();
    command.args(["bench", "wait", "--loads=1@4:2000,4@4:4000", "--spins=20", "--min-waits=20,50"]);
    command.args(["--rounds=2", "--seconds=0.1", "--warmup=0.1", "--keys=1000", "--memory-mib=64", "--out"]);
    let output = finish(command.arg(&folder));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let count = |list: &str| measurements(&folder, list).len();
    assert_eq!((count("runs"), count("ratios")), (16, 6));
    let page = std::fs::read_to_string(folder.join("README.md")).expect("a page");
    assert!(page.contains("--spin=20us") && page.contains("--min-wait=50us"), "{page}");
}

#[test]
fn features_are_measured_beside_redis() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("features");
    let mut command = torc();
    command.args(["bench", "features", "--rounds=1", "--seconds=0.1", "--warmup=0.1"]);
    command.args(["--subscribers=20", "--idle-clients=50", "--rate=1000", "--out"]).arg(&folder);
    let output = finish(&mut command);
    assert!(output.status.success(), "{}", stderr_of(&output));
    let runs = measurements(&folder, "runs");
    for kind in ["messages", "scripts", "transactions", "idle-clients"] {
        let of_kind: Vec<_> = runs.iter().filter(|run| run["kind"] == kind).collect();
        assert!(of_kind.len() >= 4, "{kind}: {}", of_kind.len());
        // A busy machine may leave a short one without.
        assert!(of_kind.iter().any(|run| run["figures"]["operations"].as_u64() > Some(0)), "{kind}");
    }
}

#[test]
fn a_tier_is_measured_in_cost_durability_restarts_and_hits() {
    if !has_two_cores() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("result");
    let mut command = torc();
    command.args([
        "bench",
        "tier",
        "--shapes=4@4",
        "--sizes=64",
        "--keys=1000",
        "--items=2000",
        "--rounds=1",
        "--reads=2000",
    ]);
    command.args(["--seconds=0.1", "--warmup=0.1", "--memory-mib=64", "--tier-mib=64", "--on"]);
    let output = finish(command.arg(directory.path()).arg("--out").arg(&folder));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let of_torc = |list: &str| {
        let runs = measurements(&folder, list).into_iter();
        runs.filter(|run| run["server"].as_str().is_some_and(|name| name.starts_with("torc"))).count()
    };
    // Two loads of three servers, one of two durabilities, one restart; redis-server may not be installed.
    assert_eq!((of_torc("runs"), of_torc("restarts")), (8, 1));
    let hits = measurements(&folder, "hits");
    assert_eq!(hits.len(), 4, "two durabilities, each beside memory alone");
    let is_told = |of: &Value, name: &str| of[name].as_f64().is_some_and(|figure| figure > 1.0);
    assert!(hits.iter().all(|of| is_told(of, "slot_bytes") && is_told(of, "header_bytes")), "{hits:?}");
    assert!(
        hits.iter().all(|of| of["hit_ratio"].as_f64().is_some_and(|ratio| (0.05..1.0).contains(&ratio))),
        "{hits:?}"
    );
    let restarts = measurements(&folder, "restarts");
    assert!(restarts.iter().all(|restart| restart["found"] == 1.0), "{restarts:?}");
    let left = std::fs::read_dir(directory.path()).expect("the folder").count();
    assert_eq!(left, 1, "the servers' files are gone");
}

/// The lines of a kept result that come from one of its lists.
fn measurements(folder: &Path, list: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("raw.jsonl")).expect("results");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter_map(|line| line.get(list).cloned()).collect()
}

/// The generator needs a core beside the server's.
fn has_two_cores() -> bool {
    let has = std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
    if !has {
        eprintln!("skipped: a measurement needs two cores");
    }
    has
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let output = finish(torc().args(["bench", "--server", "127.0.0.1:1", "--requests", "1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr_of(&output).contains("127.0.0.1:1"), "{}", stderr_of(&output));
}
