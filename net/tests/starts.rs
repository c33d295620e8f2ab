//! What keeps a server from starting is said with the setting, the cause and the cure.

mod servers;

use servers::*;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use torc_net::server::{Endpoint, Listen, Server, ServerConfig, StartError};
use torc_net::session::Protocol;
use torc_net::transport::choice::{Chosen, TransportChoice};

fn refusal(config: ServerConfig) -> String {
    match Server::start(config) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

fn listen(endpoint: Endpoint) -> Vec<Listen> {
    vec![Listen { endpoint, protocol: None }]
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("torc-starts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    for shards in [1, 2] {
        let taken = start(config(TransportChoice::Epoll, shards));
        for others in [1, 2] {
            let endpoint = Endpoint::Tcp(address(&taken));
            let message =
                refusal(ServerConfig { listen: listen(endpoint), ..config(TransportChoice::Epoll, others) });
            assert!(message.starts_with("--listen: 127.0.0.1:"), "{message}");
            assert!(message.contains("another process has it"), "{message}");
        }
        end(taken);
    }
}

/// Once another process was blamed.
#[test]
fn an_address_that_is_given_twice_is_named_as_that() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let everywhere = std::net::SocketAddr::from(([0, 0, 0, 0], free.port()));
    let at = |address| Listen { endpoint: Endpoint::Tcp(address), protocol: None };
    let folder = Folder::new("twice");
    let unix = Listen { endpoint: Endpoint::Unix(folder.0.join("s")), protocol: None };
    for shards in [1, 2] {
        let base = || config(TransportChoice::Epoll, shards);
        for (listen, shard_port_base) in [
            (vec![at(free), at(free)], None),
            (vec![at(everywhere), at(free)], None),
            (vec![unix.clone(), unix.clone()], None),
            (vec![at(free)], Some(free.port())),
        ] {
            let message = refusal(ServerConfig { listen, shard_port_base, ..base() });
            assert!(message.contains("this server listens there already"), "{message}");
        }
    }
}

#[test]
fn wrong_settings_are_named() {
    let base = || config(TransportChoice::Epoll, 2);
    let unix = |path: &str| listen(Endpoint::Unix(path.into()));
    let cases: Vec<(ServerConfig, &str)> = vec![
        (ServerConfig { listen: vec![], ..base() }, "--listen: there is no address"),
        (ServerConfig { shards: 0, ..base() }, "--shards:"),
        (ServerConfig { memory_bytes: 1 << 20, ..base() }, "--memory:"),
        (ServerConfig { cpus: vec![100_000], ..base() }, "--cpus: shard 0 cannot be pinned to CPU 100000"),
        (ServerConfig { listen: unix("/no/such/folder/s"), ..base() }, "its folder does not exist"),
        (
            ServerConfig { listen: listen(Endpoint::Tcp(([192, 0, 2, 1], 0).into())), ..base() },
            "no interface",
        ),
        (ServerConfig { shard_port_base: Some(65_535), ..base() }, "--shard-port-base:"),
    ];
    for (config, expected) in cases {
        let message = refusal(config);
        assert!(message.contains(expected), "'{message}' does not say '{expected}'");
    }
    let only_unix = Folder::new("only-unix");
    let only_unix = ServerConfig {
        listen: listen(Endpoint::Unix(only_unix.0.join("s"))),
        shard_port_base: Some(0),
        ..base()
    };
    assert!(matches!(Server::start(only_unix), Err(StartError::ShardPortHost)));
}

#[test]
fn a_failed_start_leaves_nothing_behind() {
    let folder = Folder::new("failed");
    let path = folder.0.join("s");
    let wrong = ServerConfig {
        listen: listen(Endpoint::Unix(path.clone())),
        memory_bytes: 1,
        ..config(TransportChoice::Auto, 2)
    };
    assert!(Server::start(wrong).is_err());
    assert!(!path.exists());
}

#[test]
fn unix_sockets_serve_and_their_files_are_looked_after() {
    for kind in kinds() {
        let folder = Folder::new(&format!("unix-{}-{}", kind.transport, kind.shards));
        let path = folder.0.join("torc.sock");
        // A file that a killed server left.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let serving = || ServerConfig { listen: listen(Endpoint::Unix(path.clone())), ..kind.clone() };
        let server = start(serving());
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut stream, b"*1\r\n$4\r\nPING\r\n").unwrap();
        let mut answer = [0; 7];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        assert!(refusal(serving()).contains("another process has it"));
        end(server);
        assert!(!path.exists());
        // What is no socket is not removed.
        std::fs::write(&path, "precious").unwrap();
        let message = refusal(serving());
        assert!(
            message.starts_with("--listen: unix:") && message.contains("no socket has that name"),
            "{message}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}

#[test]
fn listeners_can_be_pinned_to_a_protocol() {
    let any = |protocol| Listen { endpoint: Endpoint::Tcp(([127, 0, 0, 1], 0).into()), protocol };
    let server = start(ServerConfig {
        listen: vec![any(Some(Protocol::Memcache)), any(Some(Protocol::Resp))],
        ..config(TransportChoice::Auto, 1)
    });
    let Endpoint::Tcp(memcache) = server.addresses()[0].clone() else { panic!("TCP was asked for") };
    let Endpoint::Tcp(resp) = server.addresses()[1].clone() else { panic!("TCP was asked for") };
    exchange(&mut connect(memcache), b"PING\r\n", b"ERROR\r\n");
    exchange(&mut connect(resp), b"PING\r\n", b"+PONG\r\n");
    end(server);
}

#[test]
fn ipv6_serves() {
    let local = Endpoint::Tcp("[::1]:0".parse().unwrap());
    let server =
        match Server::start(ServerConfig { listen: listen(local), ..config(TransportChoice::Auto, 1) }) {
            Ok(server) => server,
            Err(error) if error.to_string().contains("no interface") => {
                eprintln!("left out: {error}");
                return;
            }
            Err(error) => panic!("{error}"),
        };
    exchange(&mut connect(address(&server)), b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
    end(server);
}

#[test]
fn what_serves_is_said_with_its_reason() {
    let server = start(config(TransportChoice::Epoll, 1));
    assert!(matches!(server.transport(), Chosen::Epoll(reason) if reason.contains("--transport")));
    end(server);
}
