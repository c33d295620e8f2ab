//! Requests of memcached clients that need a whole server: very many keys at once, the end of the server, the old binary protocol.

mod servers;

use servers::*;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use torc_net::metrics::CloseReason;
use torc_net::server::{Listen, OnShutdown, ServerConfig};
use torc_net::session::Protocol;

#[test]
fn a_get_of_thousands_of_keys_is_answered_in_their_order() {
    const KEYS: usize = 20_000;
    for config in kinds() {
        let server = start(config);
        let mut client = connect(address(&server));
        // Every third is there.
        for keys in (0..KEYS).step_by(3).collect::<Vec<_>>().chunks(500) {
            let sets: String = keys.iter().map(|key| format!("set key{key} {key} 0 3\r\nabc\r\n")).collect();
            exchange(&mut client, sets.as_bytes(), "STORED\r\n".repeat(keys.len()).as_bytes());
        }
        for verb in ["get", "gat 0"] {
            let keys: String = (0..KEYS).map(|key| format!(" key{key}")).collect();
            let items = (0..KEYS).step_by(3).map(|key| format!("VALUE key{key} {key} 3\r\nabc\r\n"));
            let expected = items.collect::<String>() + "END\r\nMN\r\n";
            exchange(&mut client, format!("{verb}{keys}\r\nmn\r\n").as_bytes(), expected.as_bytes());
        }
        // The line in pieces, as networks bring it.
        let line = format!("get{}\r\n", " key0".repeat(5000));
        for piece in line.as_bytes().chunks(1460) {
            client.write_all(piece).unwrap();
        }
        expect(&mut client, ("VALUE key0 0 3\r\nabc\r\n".repeat(5000) + "END\r\n").as_bytes());
        let too_many = format!("get{}\r\nmn\r\n", " k".repeat(65_537));
        exchange(
            &mut client,
            too_many.as_bytes(),
            b"CLIENT_ERROR more keys in one request than --max-arguments\r\nMN\r\n",
        );
        end(server);
    }
}

#[test]
fn shutdown_asks_whoever_started_the_server() {
    let asked = Arc::new(AtomicU32::new(0));
    for config in kinds() {
        let count = asked.clone();
        let on_shutdown = OnShutdown::new(move || _ = count.fetch_add(1, Relaxed));
        let server = start(ServerConfig { on_shutdown: Some(on_shutdown), ..config });
        let mut client = connect(address(&server));
        exchange(&mut client, b"shutdown now\r\n", b"CLIENT_ERROR invalid shutdown mode\r\n");
        assert_eq!(asked.load(Relaxed), 0);
        exchange(&mut client, b"shutdown\r\nshutdown graceful\r\nmn\r\n", b"MN\r\n");
        assert_eq!(asked.swap(0, Relaxed), 2);
        end(server);
    }
}

/// A `get` of the key `k` with opaque `abcd` (`doc/protocol-binary.txt` of memcached).
const BINARY_GET: &[u8] = b"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01abcd\0\0\0\0\0\0\0\0k";

#[test]
fn the_binary_protocol_is_refused_in_its_own_words() {
    for protocol in [None, Some(Protocol::Memcache)] {
        for config in kinds() {
            let listen = config.listen.iter().map(|listen| Listen { protocol, ..listen.clone() }).collect();
            let server = start(ServerConfig { listen, ..config });
            for cut in [1, 23, BINARY_GET.len()] {
                let mut client = connect(address(&server));
                client.write_all(&BINARY_GET[..cut]).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(5));
                client.write_all(&BINARY_GET[cut..]).unwrap();
                let answer = read_to_close(&mut client);
                assert!(answer.starts_with(b"\x81\x00\x00\x00\x00\x00\x00\x83"), "{}", answer.escape_ascii());
                assert_eq!(&answer[12..16], b"abcd");
                assert!(answer.ends_with(b"the text or the meta commands"), "{}", answer.escape_ascii());
            }
            assert_eq!(sum(&server, |stats| stats.protocol_refusals.read()), 3);
            assert_eq!(closes(&server, CloseReason::Answered), 3);
            end(server);
        }
    }
}
