//! Clients written in JavaScript.

use super::{TRANSPORTS, file, missing_unless, run, server};
use std::path::Path;
use std::process::Command;

/// Runs a script with a server's URL and a port at which a cluster client may begin.
fn script(name: &str) {
    let packages = std::env::var("TORC_TEST_NODE").ok().filter(|packages| Path::new(packages).exists());
    missing_unless(packages.is_some(), "TORC_TEST_NODE names no folder with the pinned packages of node");
    let Some(packages) = packages else { return };
    for transport in TRANSPORTS {
        let server = server(transport);
        let (url, port) = (format!("redis://{}", server.address()), server.address().port().to_string());
        run(Command::new("node").env("NODE_PATH", &packages).arg(file(name)).args([url, port]));
    }
}

#[test]
fn ioredis_works() {
    script("ioredis.js");
}

#[test]
fn node_redis_works() {
    script("node_redis.js");
}
