//! What goes through the rings: values of every length, pipelines deeper than a ring, sleeps in between.

use super::client::*;
use super::servers::*;
use std::time::Duration;
use torc_proto::native::{Op, Status};

const SMALL_RING: usize = 4 << 10;

fn value(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + len) as u8).collect()
}

/// [N-SHM-2], [N-SHM-4]
#[test]
fn values_of_every_length_go_through_a_small_ring() {
    on_each(SMALL_RING, |_, path| {
        let mut client = Client::connect(path);
        for len in (0..300).chain(SMALL_RING - 200..SMALL_RING + 200).chain([100_000, 3_000_000]) {
            client.set(b"key", &value(len));
            assert!(client.get(b"key") == value(len), "{len} bytes");
        }
    });
}

#[test]
fn a_pipeline_may_be_deeper_than_the_rings() {
    on_each(SMALL_RING, |_, path| {
        let mut client = Client::connect(path);
        client.set(b"key", &value(500));
        for _ in 0..3 {
            // Each answer takes more room than its request: the ring of answers is full before all requests are written.
            let ids: Vec<u32> = (0..1000).map(|_| client.send(Op::Get, b"key", b"")).collect();
            let mut answered: Vec<u32> = ids.iter().map(|_| client.receive()).map(|got| got.id).collect();
            answered.sort_unstable();
            assert_eq!(answered, ids);
        }
    });
}

#[test]
fn both_sides_sleep_and_are_woken() {
    on_each(SMALL_RING, |server, path| {
        let mut client = Client::connect(path);
        for number in 0..50u32 {
            client.set(b"key", &number.to_le_bytes());
            std::thread::sleep(Duration::from_millis(u64::from(number % 4)));
            assert_eq!(client.get(b"key"), number.to_le_bytes());
        }
        assert!(sum(server, |stats| stats.bells_heard.read()) > 10, "the server has slept");
        assert!(sum(server, |stats| stats.bells_rung.read()) > 10, "the client has slept");
        assert_eq!(sum(server, |stats| stats.rings.read()), 1);
        drop(client);
        wait_until("it is gone", || sum(server, |stats| stats.rings.read() + stats.connections.read()) == 0);
        assert_eq!(sum(server, |stats| stats.ring_bytes.read()), 0);
    });
}

#[test]
fn clients_of_rings_and_of_sockets_see_the_same_items() {
    on_each(SMALL_RING, |server, path| {
        let mut over_rings: Vec<Client> = (0..8).map(|_| Client::connect(path)).collect();
        let mut over_tcp = connect(address(server));
        for (number, client) in over_rings.iter_mut().enumerate() {
            client.set(format!("k{number}").as_bytes(), b"by ring");
            let get = format!("*2\r\n$3\r\nGET\r\n$2\r\nk{number}\r\n");
            exchange(&mut over_tcp, get.as_bytes(), b"$7\r\nby ring\r\n");
            let set = format!("*3\r\n$3\r\nSET\r\n$2\r\nk{number}\r\n$6\r\nby tcp\r\n");
            exchange(&mut over_tcp, set.as_bytes(), b"+OK\r\n");
        }
        for client in &mut over_rings {
            for number in 0..8 {
                assert_eq!(client.get(format!("k{number}").as_bytes()), b"by tcp");
            }
            assert_eq!(client.ask(Op::Get, b"none", b"").status, Status::Miss);
        }
    });
}
