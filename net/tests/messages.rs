//! Messages between clients of real servers, on both transports, within a shard and over shards.

mod servers;

use servers::*;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use torc_net::metrics::CloseReason;
use torc_net::server::{Server, ServerConfig};
use torc_net::transport::choice::TransportChoice;
use torc_proto::resp::compose;

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose::request(&mut bytes, words);
    bytes
}

fn on_each(scenario: impl Fn(&Server)) {
    for config in kinds() {
        eprintln!("{}, {} shards", config.transport, config.shards);
        // Room for subscriptions, and little for those who do not read.
        let server =
            start(ServerConfig { memory_bytes: 512 << 20, subscriber_bytes_max: 64 << 10, ..config });
        scenario(&server);
        end(server);
    }
}

/// A client that is subscribed, and was told so.
fn subscriber(server: &Server, channels: &[&str]) -> TcpStream {
    let mut stream = connect(address(server));
    stream.write_all(&request(&[&["SUBSCRIBE"], channels].concat())).unwrap();
    for (channel, count) in channels.iter().zip(1..) {
        let len = channel.len();
        let told = format!("*3\r\n$9\r\nsubscribe\r\n${len}\r\n{channel}\r\n:{count}\r\n");
        expect(&mut stream, told.as_bytes());
    }
    stream
}

fn publish(stream: &mut TcpStream, channel: &str, message: &str) -> String {
    stream.write_all(&request(&["PUBLISH", channel, message])).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        read_more(stream, &mut answer);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn each_subscriber_gets_all_messages_of_a_publisher_in_their_order() {
    const MESSAGES: usize = 2000;
    const SUBSCRIBERS: usize = 6;
    on_each(|server| {
        let subscribers: Vec<TcpStream> =
            (0..SUBSCRIBERS).map(|_| subscriber(server, &["one", "two"])).collect();
        thread::scope(|scope| {
            for channel in ["one", "two"] {
                scope.spawn(move || {
                    let mut stream = connect(address(server));
                    for numbers in (0..MESSAGES).collect::<Vec<_>>().chunks(50) {
                        let publish =
                            |number: &usize| request(&["PUBLISH", channel, &format!("{number:04}")]);
                        stream.write_all(&numbers.iter().flat_map(publish).collect::<Vec<u8>>()).unwrap();
                        let counts = format!(":{SUBSCRIBERS}\r\n").repeat(numbers.len());
                        expect(&mut stream, counts.as_bytes());
                    }
                });
            }
            for mut stream in subscribers {
                scope.spawn(move || {
                    let length = request(&["message", "one", "0000"]).len();
                    let (mut input, mut seen) = (vec![0; length], [0; 2]);
                    for _ in 0..2 * MESSAGES {
                        stream.read_exact(&mut input).unwrap();
                        let number = ["one", "two"].iter().zip(&mut seen).find_map(|(channel, seen)| {
                            let expected = request(&["message", channel, &format!("{seen:04}")]);
                            (input == expected).then(|| *seen += 1)
                        });
                        assert!(number.is_some(), "{} after {seen:?}", input.escape_ascii());
                    }
                });
            }
        });
        assert_eq!(closes(server, CloseReason::Subscriber), 0);
        let delivered = sum(server, |stats| stats.messages_delivered.read());
        assert_eq!(delivered, (2 * MESSAGES * SUBSCRIBERS) as u64);
    });
}

#[test]
fn a_message_tells_of_a_change_that_is_there() {
    on_each(|server| {
        let mut listener = subscriber(server, &["done"]);
        let (mut writer, mut reader) = (connect(address(server)), connect(address(server)));
        for number in 0..200 {
            let (key, value) = (format!("key{number}"), number.to_string());
            let requests = [request(&["SET", &key, &value]), request(&["PUBLISH", "done", &key])].concat();
            writer.write_all(&requests).unwrap();
            expect(&mut listener, &request(&["message", "done", &key]));
            let found = format!("${}\r\n{value}\r\n", value.len());
            exchange(&mut reader, &request(&["GET", &key]), found.as_bytes());
            expect(&mut writer, b"+OK\r\n:1\r\n");
        }
    });
}

#[test]
fn who_does_not_read_is_closed_and_the_others_are_served() {
    on_each(|server| {
        let mut idle = subscriber(server, &["flood"]);
        let mut reader = subscriber(server, &["flood"]);
        let mut publisher = connect(address(server));
        let message = "m".repeat(10_000);
        let whole = request(&["message", "flood", &message]);
        let mut sent = 0;
        while closes(server, CloseReason::Subscriber) == 0 {
            let count = publish(&mut publisher, "flood", &message);
            assert!([":2\r\n", ":1\r\n"].contains(&count.as_str()), "{count}");
            expect(&mut reader, &whole);
            sent += 1;
            assert!(sent < 10_000, "nobody is closed");
        }
        assert_eq!(publish(&mut publisher, "flood", "last"), ":1\r\n");
        expect(&mut reader, &request(&["message", "flood", "last"]));
        read_to_close(&mut idle);
        assert_eq!(closes(server, CloseReason::Subscriber), 1);
        drop(reader);
        wait_until("nobody is subscribed", || sum(server, |stats| stats.subscriptions.read()) == 0);
        assert_eq!(publish(&mut publisher, "flood", "nobody"), ":0\r\n");
    });
}

#[test]
fn a_long_message_goes_to_all() {
    on_each(|server| {
        let mut subscribers: Vec<TcpStream> = (0..4).map(|_| subscriber(server, &["long"])).collect();
        let message = "0123456789".repeat(200_000);
        let mut publisher = connect(address(server));
        let whole = request(&["message", "long", &message]);
        thread::scope(|scope| {
            subscribers.iter_mut().for_each(|stream| {
                let whole = &whole;
                scope.spawn(move || {
                    for _ in 0..3 {
                        let mut input = vec![0; whole.len()];
                        stream.read_exact(&mut input).unwrap();
                        assert!(input == *whole);
                    }
                });
            });
            for _ in 0..3 {
                assert_eq!(publish(&mut publisher, "long", &message), ":4\r\n");
            }
        });
    });
}

/// Each connection has many names; they come and go half-way, and nothing is left of them.
#[test]
fn a_hundred_thousand_subscriptions_come_and_go() {
    const CONNECTIONS: usize = 10;
    const NAMES: usize = 10_000;
    on_each(|server| {
        let mut publisher = connect(address(server));
        let before = sum(server, |stats| stats.client_bytes.read());
        let mut streams: Vec<TcpStream> = Vec::new();
        for number in 0..CONNECTIONS {
            let names: Vec<String> = (0..NAMES).map(|name| format!("{number}:{name}")).collect();
            let words: Vec<&str> =
                ["SUBSCRIBE"].into_iter().chain(names.iter().map(String::as_str)).collect();
            let mut stream = connect(address(server));
            let mut reader = stream.try_clone().unwrap();
            let reading = thread::spawn(move || {
                let mut input = Vec::new();
                while !input.ends_with(format!(":{NAMES}\r\n").as_bytes()) {
                    read_more(&mut reader, &mut input);
                }
            });
            stream.write_all(&request(&words)).unwrap();
            reading.join().unwrap();
            streams.push(stream);
        }
        assert_eq!(sum(server, |stats| stats.subscriptions.read()), (CONNECTIONS * NAMES) as u64);
        let charged = sum(server, |stats| stats.client_bytes.read()) - before;
        assert!(charged > (CONNECTIONS * NAMES * 100) as u64, "{charged}");
        assert_eq!(publish(&mut publisher, "3:77", "m"), ":1\r\n");
        // Half of them leave within a request.
        for stream in &mut streams[..CONNECTIONS / 2] {
            stream.write_all(b"*3\r\n$9\r\nSUBSCRIBE\r\n$3\r\nabc\r\n$10\r\nhal").unwrap();
        }
        drop(streams);
        wait_until("nothing is left", || {
            sum(server, |stats| stats.subscriptions.read()) == 0
                && sum(server, |stats| stats.client_bytes.read()) < before + (4 << 20)
        });
        assert_eq!(publish(&mut publisher, "3:77", "m"), ":0\r\n");
    });
}

/// Takes what is there without waiting for more.
fn drain(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let mut chunk = [0; 64 << 10];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    stream.set_nonblocking(false).unwrap();
}

/// A pipeline of messages longer than one shard may have under way to another waits, and loses none.
#[test]
fn a_flood_of_messages_waits_for_its_shards() {
    for transport in [TransportChoice::Auto, TransportChoice::Epoll] {
        let (memory_bytes, subscriber_bytes_max) = (512 << 20, 1 << 30);
        let server = start(ServerConfig { memory_bytes, subscriber_bytes_max, ..config(transport, 3) });
        let mut subscribers: Vec<TcpStream> = (0..6).map(|_| subscriber(&server, &["flood"])).collect();
        let mut publisher = connect(address(&server));
        let bytes = request(&["PUBLISH", "flood", &"m".repeat(3000)]).repeat(3000);
        let mut reader = publisher.try_clone().unwrap();
        let counts = b":6\r\n".repeat(3000);
        let reading = thread::spawn(move || expect(&mut reader, &counts));
        let writing = thread::spawn(move || publisher.write_all(&bytes).unwrap());
        while !reading.is_finished() {
            subscribers.iter_mut().for_each(drain);
        }
        reading.join().unwrap();
        writing.join().unwrap();
        end(server);
    }
}
