//! `torc bench`, small: that it loads a server in every protocol and counts what came back. No figure is judged.

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
        let results = &serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["results"];
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
fn a_server_that_is_not_there_is_an_error() {
    let output = finish(torc().args(["bench", "--server", "127.0.0.1:1", "--requests", "1"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr_of(&output).contains("127.0.0.1:1"), "{}", stderr_of(&output));
}
