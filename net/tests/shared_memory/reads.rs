//! Clients that read a server's shards themselves ([N-SHM-11]), while all that changes them goes through rings.

use super::client::*;
use super::servers::*;
use std::time::{Duration, Instant};
use torc_net::server::{Server, ServerConfig};
use torc_proto::native::{Op, Status, Topology};
use torc_shm::reads::{Look, Reads, Value};

const RING: usize = 16 << 10;

struct Reader {
    client: Client,
    reads: Reads,
}

impl Reader {
    fn new(path: &std::path::Path) -> Reader {
        let mut client = Client::connect_to_read(path);
        let topology = Topology::parse(&client.ask(Op::Topology, b"", b"").value).unwrap();
        let reads = Reads::open(std::mem::take(&mut client.rings.others), topology).unwrap();
        Reader { client, reads }
    }

    /// What a key has; by asking, where the reader cannot tell.
    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        match self.reads.get(0, key) {
            Ok((Look::Hit { found, .. }, _)) => match found.value {
                Value::Inline(value) => Some(value.to_vec()),
                _ => panic!("what is read is in one piece"),
            },
            Ok(_) => None,
            Err(_) => {
                let got = self.client.ask(Op::Get, key, b"");
                (got.status == Status::Ok).then_some(got.value)
            }
        }
    }

    fn hits(&self) -> u64 {
        self.reads.counts().hits
    }
}

fn on_each_reading(scenario: impl Fn(&Server, &std::path::Path)) {
    on_each(RING, scenario);
}

/// [N-SHM-12], [N-SHM-13]
#[test]
fn a_client_reads_what_it_and_others_have_changed() {
    on_each_reading(|_, path| {
        let (mut reader, mut other) = (Reader::new(path), Client::connect(path));
        let mut held: Vec<Option<Vec<u8>>> = vec![None; 200];
        for step in 0..6_000usize {
            let number = step * 7919 % held.len();
            let key = format!("key {number}").into_bytes();
            let client = if step % 2 == 0 { &mut reader.client } else { &mut other };
            match step % 11 {
                0 => {
                    client.ask(Op::Delete, &key, b"");
                    held[number] = None;
                }
                1..7 => {
                    let value = format!("{step}:{}", "v".repeat(step % 700)).into_bytes();
                    client.set(&key, &value);
                    held[number] = Some(value);
                }
                _ => {}
            }
            if step % 2999 == 2998 {
                client.ask(Op::Flush, b"", b"");
                held.fill(None);
            }
            let seen = (step * 31) % held.len();
            for number in [number, seen] {
                let found = reader.get(format!("key {number}").as_bytes());
                assert!(found == held[number], "step {step}, key {number}");
            }
        }
        assert!(reader.hits() > 1_000, "{:?}", reader.reads.counts());
        assert!(reader.reads.counts().misses > 100, "{:?}", reader.reads.counts());
    });
}

#[test]
fn reads_of_warm_items_cost_the_server_nothing() {
    on_each_reading(|server, path| {
        let mut reader = Reader::new(path);
        for number in 0..1_000u32 {
            reader.client.set(&number.to_le_bytes(), b"value");
            reader.get(&number.to_le_bytes());
        }
        let requests = |server: &Server| sum(server, |stats| stats.requests_total());
        let before = (requests(server), reader.hits());
        for number in 0..1_000u32 {
            assert_eq!(reader.get(&number.to_le_bytes()).as_deref(), Some(&b"value"[..]));
        }
        // What another shard has read is told to the owner later, who is asked until then.
        let (asked, hits) = (requests(server) - before.0, reader.hits() - before.1);
        assert!(asked <= 50 && hits + asked == 1_000, "{asked} asked, {hits} not");
    });
}

/// [N-SHM-15]
#[test]
fn what_a_client_reads_itself_is_kept_and_counted() {
    let small = |config: &mut ServerConfig| {
        shares(config, RING);
        config.memory_bytes = 64 << 20;
    };
    on_each_with(small, |server, path| {
        let mut reader = Reader::new(path);
        let hot: Vec<[u8; 4]> = (0..200u32).map(|number| (1 << 31 | number).to_le_bytes()).collect();
        for key in &hot {
            reader.client.set(key, &[7; 500]);
        }
        let mut lost = 0;
        for number in 0..150_000u32 {
            reader.client.set(&number.to_le_bytes(), &[1; 700]);
            let key = &hot[number as usize % hot.len()];
            lost += usize::from(reader.get(key).is_none());
            if number % 100 == 0 {
                let mut told = Vec::new();
                reader.reads.tell(|op, value| told.push((op, value)));
                for (op, value) in told {
                    assert_eq!(reader.client.ask(op, b"", &value).status, Status::Ok);
                }
            }
        }
        // 105 MB were written to 64 MiB, none of them read.
        assert!(lost < 1_500, "{lost} reads found their key evicted");
        assert!(sum(server, |stats| stats.one_sided_hits.read()) > 100_000);
        for wrong in [&[0u8; 15][..], &[0; 17]] {
            assert_eq!(reader.client.ask(Op::Accesses, b"", wrong).status, Status::BadArgument);
        }
        let nonsense = [&[0xFF; 16][..], &[0xEE; 24 * 40]].concat();
        assert_eq!(reader.client.ask(Op::Accesses, b"", &nonsense).status, Status::Ok);
    });
}

/// [N-SHM-11]
#[test]
fn a_client_that_was_not_asked_for_reads_gets_no_files() {
    on_each_reading(|_, path| {
        let client = Client::connect(path);
        assert!(client.rings.others.is_empty());
    });
}

/// [N-SHM-14]
#[test]
fn what_is_over_is_not_read_though_the_server_sleeps() {
    on_each_reading(|server, path| {
        let mut reader = Reader::new(path);
        reader.client.set(b"key", b"value");
        assert!(reader.get(b"key").is_some());
        let mut tcp = connect(address(server));
        exchange(&mut tcp, b"*3\r\n$7\r\nPEXPIRE\r\n$3\r\nkey\r\n$3\r\n300\r\n", b":1\r\n");
        let began = Instant::now();
        while reader.get(b"key").is_some() {
            assert!(began.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    });
}

#[test]
fn a_full_server_keeps_to_its_memory_and_gives_nothing_wrong() {
    let small = |config: &mut ServerConfig| {
        shares(config, RING);
        config.memory_bytes = 64 << 20;
    };
    on_each_with(small, |_, path| {
        let mut reader = Reader::new(path);
        let value = |number: u32| [&number.to_le_bytes()[..], &[number as u8; 1000]].concat();
        let mut found = 0;
        for number in 0..120_000u32 {
            reader.client.set(&number.to_le_bytes(), &value(number));
            let older = number.saturating_sub(number % 5_000);
            if let Some(read) = reader.get(&older.to_le_bytes()) {
                assert!(read == value(older), "{older}");
                found += 1;
            }
        }
        assert!(found > 1_000, "{found}");
    });
}
