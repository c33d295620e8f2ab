//! Requests of very many keys: taken in slices, answered whole; on every transport, with one shard and with two.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use torc_net::server::{Server, ServerConfig};

const KEYS: usize = 1000;
const VALUE_BYTES: usize = 16_000;

fn keys() -> Vec<String> {
    (0..KEYS).map(|number| format!("key{number}")).collect()
}

fn value(number: usize) -> String {
    format!("{number:04}").repeat(VALUE_BYTES / 4)
}

fn resp(words: &[&str]) -> Vec<u8> {
    let mut request = Vec::new();
    torc_proto::resp::compose::request(&mut request, words);
    request
}

/// A request for all keys, and another behind it; the answers to both.
fn retrieval(resp_spoken: bool) -> (Vec<u8>, Vec<u8>) {
    let keys = keys();
    let (mut request, mut answer);
    if resp_spoken {
        let mut words = vec!["MGET"];
        words.extend(keys.iter().map(String::as_str));
        request = resp(&words);
        answer = format!("*{KEYS}\r\n");
        for number in 0..KEYS {
            answer.push_str(&format!("${VALUE_BYTES}\r\n{}\r\n", value(number)));
        }
        request.extend(resp(&["ECHO", "behind"]));
        answer.push_str("$6\r\nbehind\r\n");
    } else {
        request = format!("get {}\r\nmn\r\n", keys.join(" ")).into_bytes();
        answer = String::new();
        for (number, key) in keys.iter().enumerate() {
            answer.push_str(&format!("VALUE {key} 0 {VALUE_BYTES}\r\n{}\r\n", value(number)));
        }
        answer.push_str("END\r\nMN\r\n");
    }
    (request, answer.into_bytes())
}

fn fill(server: &Server) {
    let mut stream = connect(address(server));
    for (number, key) in keys().iter().enumerate() {
        exchange(&mut stream, &resp(&["SET", key, &value(number)]), b"+OK\r\n");
    }
}

/// Asks servers of each kind for all keys, and goes on when the client, which does not read, is parked between two slices.
fn on_each(scenario: impl Fn(&Server, &mut TcpStream, &[u8])) {
    for (config, resp_spoken) in kinds().into_iter().flat_map(|kind| [(kind.clone(), true), (kind, false)]) {
        let server = start(ServerConfig { output_bytes_max: 64 << 10, ..config });
        fill(&server);
        let (request, answer) = retrieval(resp_spoken);
        let mut stream = connect(address(&server));
        stream.write_all(&request).unwrap();
        let mut sent = 0;
        wait_until("it is parked", || {
            let before = std::mem::replace(&mut sent, sum(&server, |stats| stats.sent_bytes.read()));
            std::thread::sleep(Duration::from_millis(50));
            before == sent && sum(&server, |stats| stats.parked.read()) == 1
        });
        scenario(&server, &mut stream, &answer);
        drop(stream);
        end(server);
    }
}

#[test]
fn a_slow_reader_gets_the_whole_answer() {
    on_each(|_, stream, answer| expect(stream, answer));
}

/// What is behind the request need not be answered.
#[test]
fn a_drain_waits_for_a_request_that_is_half_answered() {
    on_each(|server, stream, answer| {
        server.drain();
        std::thread::sleep(Duration::from_millis(50));
        let got = read_to_close(stream);
        let whole = answer.len() - if answer.ends_with(b"MN\r\n") { 4 } else { 12 };
        assert!(got.len() >= whole && answer.starts_with(&got), "{} of {whole} bytes", got.len());
    });
}
