//! Servers that ask for a password: nothing is done for a client that has given none, in any protocol and over every transport.

mod servers;

use servers::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use torc_net::metrics::CloseReason;
use torc_net::server::{Endpoint, Listen, Server, ServerConfig, SharedMemory};
use torc_net::users::Users;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Answer, FrameLimits, Hello, Op, Options, ParseError, Status, VERSION};

const NO_AUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const WRONG: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";

fn users() -> Users {
    let mut users = Users::default();
    users.add(b"default", b"s3cret").unwrap();
    users.add(b"app", b"other").unwrap();
    users
}

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| ServerConfig { users: users(), ..config }, scenario);
}

#[test]
fn redis_clients_are_let_in_by_auth() {
    on_each(|server| {
        let mut client = connect(address(server));
        for request in
            ["GET k", "SET k v", "PING", "MULTI", "EXEC", "INFO", "FLUSHALL", "CLIENT LIST", "MGET a b"]
        {
            exchange(&mut client, format!("{request}\r\n").as_bytes(), NO_AUTH);
        }
        exchange(&mut client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", NO_AUTH);
        exchange(&mut client, b"AUTH\r\n", b"-ERR wrong number of arguments for 'auth' command\r\n");
        exchange(&mut client, b"AUTH a b c\r\n", b"-ERR syntax error\r\n");
        exchange(&mut client, b"RESET\r\n", b"+RESET\r\n");
        exchange(&mut client, b"AUTH wrong\r\n", WRONG);
        exchange(&mut client, b"AUTH nobody s3cret\r\n", WRONG);
        // What comes behind it in one write is done only then.
        exchange(&mut client, b"AUTH s3cret\r\nSET k v\r\nGET k\r\n", b"+OK\r\n+OK\r\n$1\r\nv\r\n");
        exchange(&mut client, b"AUTH wrong\r\nGET k\r\n", &[WRONG, b"$1\r\nv\r\n"].concat());
        exchange(
            &mut client,
            b"MULTI\r\nGET k\r\nAUTH app other\r\nAUTH no\r\nEXEC\r\n",
            &[&b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$1\r\nv\r\n+OK\r\n"[..], WRONG].concat(),
        );
        exchange(
            &mut client,
            b"CONFIG GET requirepass\r\n",
            b"*2\r\n$11\r\nrequirepass\r\n$8\r\n(hidden)\r\n",
        );
        let refused = b"-ERR CONFIG SET failed (possibly related to argument 'requirepass') - can't set immutable config\r\n";
        exchange(&mut client, b"CONFIG SET requirepass (hidden)\r\n", refused);
        exchange(&mut client, b"RESET\r\nGET k\r\n", &[b"+RESET\r\n", NO_AUTH].concat());
        exchange(&mut client, b"AUTH app other\r\nGET k\r\n", b"+OK\r\n$1\r\nv\r\n");
        exchange(&mut client, b"QUIT\r\n", b"+OK\r\n");
        assert_eq!(sum(server, |stats| stats.auth_failures.read()), 3);
    });
}

#[test]
fn hello_takes_a_password_and_is_refused_without() {
    on_each(|server| {
        let mut client = connect(address(server));
        let needed = b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                       AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version \
                       at the same time\r\n";
        exchange(&mut client, b"HELLO 3\r\n", needed);
        exchange(&mut client, b"HELLO 3 SETNAME me\r\n", needed);
        exchange(
            &mut client,
            b"HELLO 4 AUTH default s3cret\r\n",
            b"-NOPROTO unsupported protocol version\r\n",
        );
        exchange(&mut client, b"HELLO 3 AUTH default wrong\r\n", WRONG);
        exchange(&mut client, b"GET k\r\n", NO_AUTH);
        exchange(&mut client, b"HELLO 3 AUTH default s3cret SETNAME me\r\n", b"%7\r\n$6\r\nserver\r\n");
        let mut rest = Vec::new();
        while !rest.ends_with(b"modules\r\n*0\r\n") {
            read_more(&mut client, &mut rest);
        }
        exchange(&mut client, b"CLIENT GETNAME\r\nGET k\r\n", b"$2\r\nme\r\n_\r\n");
    });
}

#[test]
fn memcached_clients_are_let_in_by_a_set() {
    on_each(|server| {
        let mut client = connect(address(server));
        exchange(&mut client, b"get k\r\n", b"CLIENT_ERROR unauthenticated\r\n");
        exchange(
            &mut client,
            b"set k 0 0 5\r\nwords\r\n",
            b"CLIENT_ERROR bad authentication token format\r\n",
        );
        exchange(&mut client, b"set k 0 0 5\r\nwordsand", b"CLIENT_ERROR bad command line termination\r\n");
        exchange(&mut client, b"set k 0 0 9\r\napp wrong\r\n", b"CLIENT_ERROR unauthenticated\r\n");
        drop(client);
        let mut client = connect(address(server));
        exchange(&mut client, b"set auth 0 0 9\r\napp wrong\r\n", b"CLIENT_ERROR authentication failure\r\n");
        exchange(&mut client, b"get auth\r\n", b"CLIENT_ERROR unauthenticated\r\n");
        let all = b"set auth 0 0 9\r\napp other\r\nset k 0 0 1\r\nv\r\nget k auth\r\n";
        exchange(&mut client, all, b"STORED\r\nSTORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
    });
}

/// One native answer: its status and value.
fn answer(client: &mut TcpStream) -> (Status, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        match Answer::parse(&bytes, &FrameLimits { value_bytes_max: 1 << 20 }) {
            Ok((answer, _)) => return (answer.header.status(), answer.value.to_vec()),
            Err(ParseError::Incomplete { missing }) => {
                let before = bytes.len();
                bytes.resize(before + missing, 0);
                client.read_exact(&mut bytes[before..]).unwrap();
            }
            Err(invalid) => panic!("{invalid:?}"),
        }
    }
}

fn frame(op: Op, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose_request(&mut bytes, op, 0, 7, &Options::NONE, key, value).unwrap();
    bytes
}

fn hello(credentials: Option<(&[u8], &[u8])>) -> Vec<u8> {
    let mut value = Vec::new();
    Hello { version_min: VERSION, version_max: VERSION, ..Hello::default() }.compose(&mut value);
    credentials
        .into_iter()
        .for_each(|(user, password)| Hello::compose_credentials(user, password, &mut value));
    frame(Op::Hello, b"", &value)
}

/// [N-AUTH-2], [N-AUTH-3]
#[test]
fn native_clients_are_let_in_by_their_hello() {
    on_each(|server| {
        for op in
            [Op::Get, Op::Ping, Op::Topology, Op::Attach, Op::Pair, Op::Reads, Op::Statistics, Op::Flush]
        {
            let mut client = connect(address(server));
            let key: &[u8] = if op == Op::Get { b"k" } else { b"" };
            client.write_all(&frame(op, key, b"")).unwrap();
            assert_eq!(answer(&mut client).0, Status::Unauthenticated, "{op:?}");
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "{op:?}");
        }
        let mut client = connect(address(server));
        for credentials in [None, Some((&b"default"[..], &b"wrong"[..])), Some((b"app", b"s3cret"))] {
            client.write_all(&hello(credentials)).unwrap();
            assert_eq!(answer(&mut client).0, Status::Unauthenticated, "{credentials:?}");
        }
        client
            .write_all(
                &[hello(Some((b"app", b"other"))), frame(Op::Set, b"k", b"v"), frame(Op::Get, b"k", b"")]
                    .concat(),
            )
            .unwrap();
        assert_eq!(answer(&mut client).0, Status::Ok);
        assert_eq!(answer(&mut client).0, Status::Ok);
        assert_eq!(answer(&mut client), (Status::Ok, b"v".to_vec()));
    });
}

#[test]
fn the_client_library_gives_its_password() {
    on_each(|server| {
        let mut config = torc_client::Config::new(address(server).to_string());
        config.credentials = Some(torc_client::Credentials::password("s3cret"));
        assert!(!format!("{config:?}").contains("s3cret"));
        let client = torc_client::Client::with(config.clone()).unwrap();
        client.set("k", "v").wait().unwrap();
        assert_eq!(client.get("k").wait().unwrap().unwrap().value, b"v");
        config.credentials = None;
        config.timeout = Duration::from_millis(700);
        let refused = torc_client::Client::with(config).unwrap().get("k").wait();
        assert!(refused.unwrap_err().to_string().contains("password"), "it says why");
    });
}

/// Without a password nobody gets rings, nor the shards' files.
#[test]
fn memory_is_shared_with_who_has_given_a_password() {
    let folder = std::env::temp_dir().join(format!("torc-passwords-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for config in kinds() {
        let path = folder.join("socket");
        let listen = vec![Listen { endpoint: Endpoint::Unix(path.clone()), protocol: None }];
        let shared_memory = Some(SharedMemory::default());
        let server = start(ServerConfig { users: users(), listen, shared_memory, ..config });
        assert!(torc_shm::connect_to_read(&path, PATIENCE).is_err());
        let wrong = Some((&b"default"[..], &b"wrong"[..]));
        assert!(torc_shm::connect_as(&path, true, wrong, PATIENCE).is_err());
        let mut config = torc_client::Config::new(format!("shm:{}", path.display()));
        config.credentials = Some(torc_client::Credentials::password("s3cret"));
        let client = torc_client::Client::with(config).unwrap();
        client.set("k", "v").wait().unwrap();
        assert_eq!(client.get("k").wait().unwrap().unwrap().value, b"v");
        assert_eq!(client.transport(), Some(torc_client::Transport::SharedMemory));
        drop(client);
        end(server);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_wrong_password_is_answered_late_and_others_meanwhile() {
    on_each(|server| {
        let mut wrong = connect(address(server));
        let mut right = connect(address(server));
        let begun = Instant::now();
        wrong.write_all(b"AUTH wrong\r\n").unwrap();
        for _ in 0..20 {
            exchange(&mut right, b"AUTH s3cret\r\n", b"+OK\r\n");
        }
        let others = begun.elapsed();
        expect(&mut wrong, WRONG);
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
        assert!(others < begun.elapsed());
    });
}

#[test]
fn what_a_client_without_password_may_send_is_bounded() {
    on_each(|server| {
        let ended = |request: &[u8], expected: &[u8]| {
            let mut client = connect(address(server));
            // The server may close before all of it is sent.
            let _ = client.write_all(request);
            let answer = read_to_close(&mut client);
            let told = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer == expected || answer.is_empty() && request.len() > 4096, "{told}");
        };
        ended(b"*11\r\n$4\r\nAUTH\r\n", b"-ERR Protocol error: unauthenticated multibulk length\r\n");
        ended(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n");
        ended(&NO_AUTH_PINGS.repeat(40), &NO_AUTH.repeat(33));
        ended(&b"x".repeat(1 << 20), b"");
        ended(&[&b"set k 0 0 1000000\r\n"[..], &[b'x'; 1000]].concat(), b"");
        ended(&b"get k\r\n".repeat(40), &b"CLIENT_ERROR unauthenticated\r\n".repeat(33));
        let mut header = frame(Op::Set, b"k", &[7; 20_000]);
        header.truncate(100);
        let mut client = connect(address(server));
        client.write_all(&header).unwrap();
        assert_eq!(answer(&mut client).0, Status::Unauthenticated);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    });
}

const NO_AUTH_PINGS: &[u8] = b"PING\r\n";

#[test]
fn who_gives_no_password_has_a_time_to_do_so() {
    for config in kinds() {
        // Long enough for the one who gives it, on a busy machine, too.
        let auth_timeout = Some(Duration::from_secs(2));
        let server = start(ServerConfig { users: users(), auth_timeout, ..config });
        let mut silent = connect(address(&server));
        let mut through = connect(address(&server));
        exchange(&mut through, b"AUTH s3cret\r\n", b"+OK\r\n");
        assert_eq!(read_to_close(&mut silent), b"");
        exchange(&mut through, b"PING\r\n", b"+PONG\r\n");
        assert_eq!(closes(&server, CloseReason::Unauthenticated), 1);
        end(server);
    }
}
