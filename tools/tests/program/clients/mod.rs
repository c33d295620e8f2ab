//! Real clients, at pinned versions, most of them in the scripts of `tests/clients/`.
//!
//! `tools/ci.sh` makes the Python environment and names it in `TORC_TEST_PYTHON`, and the folder with the packages of
//! node in `TORC_TEST_NODE`. Without them these tests say loudly that they are skipped, except where `CI` is set: there
//! it is a failure.

mod node;
mod python;
mod rust;
mod tools;

use crate::harness::{Server, finish};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Both ways in which bytes come in.
const TRANSPORTS: [&str; 2] = ["auto", "epoll"];

/// Says that a test is skipped, and fails it under CI.
fn missing_unless(there: bool, what: &str) {
    if there {
        return;
    }
    let skippable = std::env::var("CI").is_err() || std::env::var("TORC_SKIP_CLIENTS").is_ok();
    assert!(skippable, "{what}: run `bash tools/ci.sh test`, which installs it");
    eprintln!("SKIPPED: {what}; `bash tools/ci.sh test` installs it");
}

/// A file of `tests/clients/`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A server of two shards.
fn server(transport: &str) -> Server {
    Server::start(&["--shards=2", "--transport", transport])
}

/// A port of the first shard alone.
fn shard_port(server: &Server) -> String {
    server.addresses("shard_listen")[0].port().to_string()
}

/// What the command printed, once it has succeeded.
fn run(command: &mut Command) -> String {
    let output = finish(command);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
    shown
}

/// Debian's tool of that name, if it is installed.
fn tool(name: &str) -> Option<Command> {
    let there = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(name).exists()));
    missing_unless(there, name);
    there.then(|| Command::new(name))
}
