//! A common port that is no node of a cluster: clients that find clusters out by themselves take it for a server alone.

use crate::harness::{Client, Server};
use std::net::TcpStream;

/// What is answered to a line.
fn told(client: &mut Client, line: &str) -> String {
    const END: &str = "+PONG\r\n";
    client.send(format!("{line}\r\nPING\r\n").as_bytes());
    let mut answer = String::new();
    while !answer.ends_with(END) {
        let more = client.read_some();
        assert!(!more.is_empty(), "{line}: the server is gone after {answer}");
        answer += &String::from_utf8_lossy(&more);
    }
    answer.truncate(answer.len() - END.len());
    answer
}

/// A port says that it is a node of a cluster, or is not, wherever that can be asked.
fn says(client: &mut Client, is_cluster: bool) {
    let mode = if is_cluster { "cluster" } else { "standalone" };
    let enabled = format!("cluster_enabled:{}\r\n", u8::from(is_cluster));
    assert!(told(client, "INFO cluster").contains(&enabled));
    assert!(told(client, "INFO server").contains(&format!("redis_mode:{mode}\r\n")));
    assert!(told(client, "HELLO 2").contains(&format!("\r\nmode\r\n${}\r\n{mode}\r\n", mode.len())));
    let setting = told(client, "CONFIG GET cluster-enabled");
    assert!(setting.ends_with(if is_cluster { "\r\nyes\r\n" } else { "\r\nno\r\n" }), "{setting}");
    for command in ["READONLY", "READWRITE", "ASKING"] {
        assert_eq!(told(client, command), if is_cluster { "+OK\r\n" } else { DISABLED });
    }
    for command in ["CLUSTER NODES", "CLUSTER SLOTS", "CLUSTER HELP"] {
        assert_eq!(told(client, command) == DISABLED, !is_cluster, "{command}");
    }
}

/// As Redis words it.
const DISABLED: &str = "-ERR This instance has cluster support disabled\r\n";

#[test]
fn the_common_port_is_a_node_unless_it_is_told_not_to_be() {
    for (setting, is_cluster) in [("--cluster-enabled=true", true), ("--cluster-enabled=false", false)] {
        let server = Server::start(&[setting, "--shards=2"]);
        says(&mut server.connect(), is_cluster);
        for address in server.addresses("shard_listen") {
            says(&mut Client::new(TcpStream::connect(address).expect("the server accepts")), true);
        }
    }
}
