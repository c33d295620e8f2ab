//! The client library: it finds the memory by itself, says what it uses, and goes on when the server is gone.

use super::client::*;
use super::servers::*;
use std::time::Duration;
use torc_client::{Client, Config, Error, OneSidedReads, Transport};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig};
use torc_net::transport::choice::TransportChoice;

fn client(address: &str, transport: Transport) -> Client {
    let mut config = Config::new(address);
    config.transport = transport;
    config.timeout = PATIENCE;
    config.backoff_min = Duration::from_millis(1);
    Client::with(config).unwrap()
}

fn rings(server: &Server) -> u64 {
    sum(server, |stats| stats.rings.read())
}

/// [N-SHM-8]
#[test]
fn the_library_finds_the_memory_and_says_that_it_uses_it() {
    on_each(64 << 10, |server, path| {
        let tcp = address(server).to_string();
        let (unix, shm) = (format!("unix:{}", path.display()), format!("shm:{}", path.display()));
        for address in [tcp.as_str(), &unix, &shm] {
            let client = client(address, Transport::Auto);
            assert_eq!(client.transport(), None);
            client.set("key", "value").wait().unwrap();
            assert_eq!(client.get("key").wait().unwrap().unwrap().value, b"value");
            assert_eq!((client.transport(), rings(server)), (Some(Transport::SharedMemory), 1), "{address}");
            let long = vec![7; 300_000];
            client.set("long", long.clone()).wait().unwrap();
            assert!(client.get("long").wait().unwrap().unwrap().value == long);
            let keys: Vec<String> = (0..500).map(|number| format!("k{number}")).collect();
            let pending: Vec<_> = keys.iter().map(|key| client.set(key, key.as_str()).send()).collect();
            pending.into_iter().for_each(|set| assert!(set.wait().unwrap().is_done()));
            let items = client.get_many(&keys).wait().unwrap();
            assert!(
                items.iter().zip(&keys).all(|(item, key)| item.as_ref().unwrap().value == key.as_bytes())
            );
            drop(client);
            wait_until("it is gone", || rings(server) == 0);
        }
        for address in [tcp.as_str(), &unix] {
            let client = client(address, Transport::Socket);
            client.set("key", "value").wait().unwrap();
            assert_eq!((client.transport(), rings(server)), (Some(Transport::Socket), 0));
        }
    });
}

#[test]
fn a_client_that_wants_shared_memory_and_gets_none_says_why() {
    let _alone = alone();
    let server = start(config(TransportChoice::Auto, 1));
    let mut settings = Config::new(address(&server).to_string());
    settings.transport = Transport::SharedMemory;
    settings.timeout = Duration::from_millis(500);
    let refused = Client::with(settings).unwrap().get("key").wait();
    let Err(Error::Unreachable { cause, .. }) = refused else { panic!("{refused:?}") };
    assert!(cause.contains("shares no memory"), "{cause}");
    let auto = client(&address(&server).to_string(), Transport::Auto);
    assert_eq!(auto.get("key").wait().unwrap(), None);
    assert_eq!(auto.transport(), Some(Transport::Socket));
    end(server);
}

/// The file of a server that was killed, and another server's, are not taken for this one's.
#[test]
fn another_server_behind_the_path_is_not_taken_for_this_one() {
    let _alone = alone();
    let folder = Folder::new();
    let listens = |tcp: bool| {
        let mut config = ServerConfig { listen: Vec::new(), ..config(TransportChoice::Auto, 1) };
        if tcp {
            let endpoint = Endpoint::Tcp(([127, 0, 0, 1], 0).into());
            config.listen.push(Listen { endpoint, protocol: None });
        }
        config.listen.push(Listen { endpoint: Endpoint::Unix(folder.socket()), protocol: None });
        shares(&mut config, 64 << 10);
        config
    };
    let first = start(listens(true));
    let tcp = address(&first).to_string();
    std::fs::remove_file(folder.socket()).unwrap();
    let second = start(listens(false));
    let client = client(&tcp, Transport::Auto);
    client.set("key", "of the first").wait().unwrap();
    assert_eq!(client.transport(), Some(Transport::Socket));
    wait_until("no rings are left", || (rings(&first), rings(&second)) == (0, 0));
    drop(client);
    end(second);
    end(first);
}

/// As one in another mount namespace: the path leads nowhere.
#[test]
fn a_client_that_does_not_find_the_path_stays_on_tcp() {
    on_each(64 << 10, |server, path| {
        std::fs::remove_file(path).unwrap();
        let client = client(&address(server).to_string(), Transport::Auto);
        for _ in 0..3 {
            client.set("key", "value").wait().unwrap();
            assert_eq!(client.get("key").wait().unwrap().unwrap().value, b"value");
        }
        assert_eq!((client.transport(), rings(server)), (Some(Transport::Socket), 0));
        assert_eq!(client.one_sided(), OneSidedReads::default());
    });
}

#[test]
fn the_library_goes_on_when_the_server_has_been_restarted() {
    let _alone = alone();
    let folder = Folder::new();
    let mut config = config(TransportChoice::Auto, 1);
    config.listen.push(Listen { endpoint: Endpoint::Unix(folder.socket()), protocol: None });
    shares(&mut config, 64 << 10);
    let mut server = start(config.clone());
    let tcp = address(&server);
    config.listen[0].endpoint = Endpoint::Tcp(tcp);
    let client = client(&tcp.to_string(), Transport::Auto);
    for round in 0..3 {
        client.set("key", format!("{round}")).wait().unwrap();
        assert_eq!(client.transport(), Some(Transport::SharedMemory), "round {round}");
        let running: Vec<_> = (0..100).map(|_| client.get("key").send()).collect();
        end(server);
        server = start(config.clone());
        // Reads are asked again, of whoever is there.
        running.into_iter().for_each(|get| drop(get.wait().unwrap()));
    }
    // Without shared memory behind the same address it goes on over the socket.
    end(server);
    config.shared_memory = None;
    let server = start(config);
    client.set("key", "once more").wait().unwrap();
    assert_eq!(client.transport(), Some(Transport::Socket));
    end(server);
}
