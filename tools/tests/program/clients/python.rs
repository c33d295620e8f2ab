//! Clients written in Python.

use super::{TRANSPORTS, file, missing_unless, run, server, shard_port};
use crate::harness::Server;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The interpreter with the pinned clients, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("TORC_TEST_PYTHON").ok().filter(|python| Path::new(python).exists());
    missing_unless(python.is_some(), "TORC_TEST_PYTHON names no Python with the pinned clients");
    python
}

fn script(name: &str, arguments: &[&str]) {
    let Some(python) = python() else { return };
    run(Command::new(python).arg(file(name)).args(arguments));
}

fn url(server: &Server) -> String {
    format!("redis://{}", server.address())
}

#[test]
fn redis_py_speaks_both_versions_of_resp() {
    for transport in TRANSPORTS {
        let server = server(transport);
        script("redis_plain.py", &[&url(&server)]);
    }
}

#[test]
fn redis_py_gets_messages_in_both_versions_and_asynchronously() {
    for transport in TRANSPORTS {
        let server =
            Server::start(&["--shards=2", "--transport", transport, "--notify-keyspace-events", "KEA"]);
        script("redis_messages.py", &[&url(&server), &shard_port(&server)]);
    }
}

#[test]
fn redis_py_keeps_copies_that_are_never_old() {
    for transport in TRANSPORTS {
        let server = server(transport);
        script("redis_caching.py", &[&url(&server)]);
    }
}

#[test]
fn redis_py_speaks_resp_over_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("torc.sock");
    let _server = Server::start(&[&format!("--listen=unix:{}", path.display())]);
    script("redis_plain.py", &[&format!("unix://{}", path.display())]);
}

#[test]
fn the_cluster_client_of_redis_py_goes_straight_to_the_shards() {
    for transport in TRANSPORTS {
        let server = server(transport);
        let ports = [server.address().port().to_string(), shard_port(&server)];
        for port in &ports {
            script("redis_cluster.py", &["127.0.0.1", port, "2"]);
        }
        script("redis_cluster_async.py", &[&ports[0], &ports[1]]);
    }
}

#[test]
fn a_cluster_client_can_be_told_to_keep_its_host() {
    let server = Server::start(&["--shards=2", "--announce-host=same"]);
    script("redis_cluster.py", &["127.0.0.1", &server.address().port().to_string(), "2"]);
}

#[test]
fn pymemcache_speaks_memcached_text() {
    for transport in TRANSPORTS {
        let server = server(transport);
        script("memcache_text.py", &[&server.address().to_string()]);
    }
}

#[test]
fn redis_py_takes_locks_that_many_want() {
    for transport in TRANSPORTS {
        let server = Server::start(&["--shards=2", "--transport", transport, "--script-time-max=5s"]);
        script("redis_locks.py", &[&url(&server)]);
    }
}

#[test]
fn redis_py_runs_transactions_and_scripts_beside_others() {
    for transport in TRANSPORTS {
        // On a machine that is short of CPUs a script may stand still for longer than it may take.
        let server = Server::start(&["--shards=2", "--transport", transport, "--script-time-max=5s"]);
        script("redis_together.py", &[&url(&server)]);
    }
}

#[test]
fn redis_py_is_set_up_by_url_with_a_password() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    std::fs::write(&file, "a secret").expect("a file");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("its rights");
    for transport in TRANSPORTS {
        let argument = format!("--requirepass-file={}", file.display());
        let server = Server::start(&["--shards=2", "--transport", transport, &argument]);
        script("redis_pools.py", &[&url(&server), "a%20secret"]);
    }
}

#[test]
fn caches_of_django_and_limits_of_requests_work() {
    for transport in TRANSPORTS {
        script("caches.py", &[&server(transport).address().to_string()]);
    }
}
