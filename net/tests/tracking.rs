//! CLIENT TRACKING over real servers: what only shows where clients and keys are of several shards.

mod servers;

use servers::*;
use torc_net::server::Server;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| config, scenario);
}

/// As in Redis the keys of one MSET, and those of a transaction, are told together, to the client that has changed them, too.
#[test]
fn keys_that_change_together_are_told_in_one_push() {
    on_each(|server| {
        // Keys of either shard, by a client of either.
        for _ in 0..4 {
            let mut client = connect(address(server));
            let mut listener = connect(address(server));
            exchange(&mut listener, b"CLIENT ID\r\n", b":");
            let mut id = Vec::new();
            while !id.ends_with(b"\r\n") {
                read_more(&mut listener, &mut id);
            }
            let id = String::from_utf8(id).unwrap();
            exchange(
                &mut listener,
                b"SUBSCRIBE __redis__:invalidate\r\n",
                b"*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n",
            );
            let tracking = format!("CLIENT TRACKING ON BCAST REDIRECT {}", id);
            exchange(&mut client, tracking.as_bytes(), b"+OK\r\n");
            for tag in ["{t}", "{u}", "{1}", "{2}"] {
                exchange(&mut client, format!("MSET a{tag} 1 b{tag} 2 c{tag} 3\r\n").as_bytes(), b"+OK\r\n");
                let key = |name: &str| format!("$4\r\n{name}{tag}\r\n");
                let push = ["a", "b", "c"].map(key).concat();
                let exec = format!("MULTI\r\nINCR a{tag}\r\nINCR b{tag}\r\nINCR c{tag}\r\nEXEC\r\n");
                let queued = "+QUEUED\r\n".repeat(3);
                exchange(
                    &mut client,
                    exec.as_bytes(),
                    format!("+OK\r\n{queued}*3\r\n:2\r\n:3\r\n:4\r\n").as_bytes(),
                );
                let told = format!("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*3\r\n{push}");
                expect(&mut listener, told.repeat(2).as_bytes());
            }
        }
    });
}
