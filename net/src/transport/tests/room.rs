//! Bytes that are received where they will stay.

use super::*;
use socket2::SockRef;
use std::net::Shutdown;
use torc_engine::command::{Body, Command, Op, Outcome, Read as Get, UploadId, Value, Write as Set};
use torc_engine::{Shard, ShardConfig};

const NOW: u64 = 1_790_000_000_000;
const KEY: &[u8] = b"key";
const LEN: usize = 300_000;
/// What a client sends behind a value.
const NEXT: &[u8] = b"next request";

/// A worker as far as one long value is concerned: it takes what comes in buffers first, then lends room.
struct Upload {
    shard: Shard,
    id: UploadId,
    left: usize,
    lent: bool,
    /// Bytes that came in room.
    filled: usize,
    /// What came behind the value.
    behind: Vec<u8>,
    ended: bool,
    closed: bool,
}

impl Upload {
    fn begin() -> Upload {
        let config = ShardConfig { now: NOW, ..ShardConfig::new(16 << 20) };
        let mut shard = Shard::new(config).unwrap();
        let id = shard.upload_begin(0, KEY, LEN as u64, NOW).unwrap();
        Upload {
            shard,
            id,
            left: LEN,
            lent: false,
            filled: 0,
            behind: Vec::new(),
            ended: false,
            closed: false,
        }
    }

    fn turn(&mut self, transport: &mut dyn Face, conn: ConnId) {
        for event in transport.turn(TURN) {
            match event {
                Event::Received { buffer, len, .. } => {
                    assert!(!self.lent, "what comes next goes to the room");
                    let bytes = transport.received(buffer, len);
                    transport.recycle(buffer);
                    let (value, behind) = bytes.split_at(bytes.len().min(self.left));
                    self.shard.upload_append(self.id, value, NOW).unwrap();
                    self.left -= value.len();
                    self.behind.extend_from_slice(behind);
                }
                Event::Filled { room, len, .. } => {
                    assert!(std::mem::take(&mut self.lent), "room comes back once");
                    self.left -= len as usize;
                    self.filled += len as usize;
                    self.shard.upload_filled(self.id, room, len as usize);
                }
                Event::Ended { .. } => self.ended = true,
                Event::Closed { .. } => self.closed = true,
                other => panic!("{other:?}"),
            }
        }
        self.lend(transport, conn);
    }

    fn lend(&mut self, transport: &mut dyn Face, conn: ConnId) {
        if self.left == 0 || self.lent || self.ended || self.closed {
            return;
        }
        let Some(room) = self.shard.upload_room(self.id, self.left as u64, NOW).unwrap() else { return };
        let last = room.len() == self.left;
        match transport.receive_into(conn, room, last) {
            Ok(()) => self.lent = true,
            Err(room) => self.shard.upload_filled(self.id, room, 0),
        }
    }

    fn turn_until(&mut self, transport: &mut dyn Face, conn: ConnId, done: impl Fn(&Upload) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn(transport, conn);
        }
        panic!("{} bytes are left, behind them {:?}", self.left, self.behind);
    }

    /// The value as readers get it.
    fn stored(&mut self) -> Vec<u8> {
        let op = Op::Write(Set { value: Body::Upload(self.id), ..Set::set(&[]) });
        let hash = self.shard.hash(0, KEY);
        let outcome = self.shard.execute(&Command { database: 0, key: KEY, op }, hash, NOW);
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        let read = Command { database: 0, key: KEY, op: Op::Read(Get::default()) };
        match self.shard.execute(&read, hash, NOW) {
            Outcome::Item(found) => match found.value {
                Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
                Value::Inline(_) => panic!("it is long"),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn value() -> Vec<u8> {
    (0..LEN).map(|at| (at / 3 % 251) as u8).collect()
}

#[test]
fn a_value_is_received_into_room_and_what_is_behind_it_is_not() {
    on_sockets(|transport, conn, mut client| {
        let mut upload = Upload::begin();
        let sending = thread::spawn(move || {
            client.write_all(&[&value()[..], NEXT].concat()).unwrap();
            client
        });
        upload.turn_until(transport, conn, |upload| upload.behind.len() == NEXT.len());
        assert_eq!(upload.behind, NEXT);
        assert!(upload.stored() == value());
        assert!(upload.filled > LEN / 2, "{} bytes came in room", upload.filled);
        drop(sending.join());
    });
}

#[test]
fn what_is_behind_a_value_comes_with_its_last_room() {
    on_sockets(|transport, conn, mut client| {
        let mut upload = Upload::begin();
        let (head, end) = (value()[..LEN - 20_000].to_vec(), [&value()[LEN - 20_000..], NEXT].concat());
        let sending = thread::spawn(move || {
            client.write_all(&head).unwrap();
            client
        });
        upload.turn_until(transport, conn, |upload| upload.lent && upload.left == 20_000);
        let mut client = sending.join().unwrap();
        let before = upload.filled;
        client.write_all(&end).unwrap();
        upload.turn_until(transport, conn, |upload| upload.left == 0);
        assert_eq!(upload.filled - before, 20_000);
        if transport.name() == "uring" {
            assert_eq!(upload.behind, NEXT, "it came in the same turn");
        }
        upload.turn_until(transport, conn, |upload| upload.behind.len() == NEXT.len());
        // What comes next goes to a buffer as before.
        client.write_all(NEXT).unwrap();
        upload.turn_until(transport, conn, |upload| upload.behind.len() == 2 * NEXT.len());
        assert!(upload.stored() == value());
    });
}

#[test]
fn a_value_that_drips_is_received_whole() {
    on_sockets(|transport, conn, mut client| {
        let mut upload = Upload::begin();
        let bytes = [&value()[..], NEXT].concat();
        let mut random = Random::new(3);
        let (mut at, mut turns) = (0, 0);
        while at < bytes.len() {
            let end = bytes.len().min(at + 1 + random.below(3 * BUFFER_BYTES as usize));
            client.write_all(&bytes[at..end]).unwrap();
            at = end;
            (0..random.below(3)).for_each(|_| upload.turn(transport, conn));
            turns += 1;
        }
        upload.turn_until(transport, conn, |upload| upload.behind.len() == NEXT.len());
        assert!(upload.stored() == value(), "{turns} writes");
        assert!(upload.filled > 0);
    });
}

#[test]
fn room_comes_back_before_a_client_is_closed_that_leaves_half_way() {
    on_sockets(|transport, conn, mut client| {
        let mut upload = Upload::begin();
        client.write_all(&value()[..LEN / 2]).unwrap();
        upload.turn_until(transport, conn, |upload| upload.lent && upload.left <= LEN / 2);
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        upload.turn_until(transport, conn, |upload| upload.closed);
        assert!(!upload.lent);
    });
}

#[test]
fn room_comes_back_when_a_client_ends_its_side_half_way() {
    on_sockets(|transport, conn, mut client| {
        let mut upload = Upload::begin();
        client.write_all(&value()[..LEN / 2]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        upload.turn_until(transport, conn, |upload| upload.ended);
        assert_eq!((upload.lent, upload.left, upload.closed), (false, LEN / 2, false));
        transport.send(conn, b"answer".to_vec(), Notice::Soon);
        let mut answer = [0; 6];
        transport.turn(TURN);
        client.read_exact(&mut answer).unwrap();
    });
}

/// Room comes back when its client is closed or paused, or when it is asked for; later bytes go to a buffer.
#[test]
fn room_comes_back_when_it_is_wanted() {
    on_sockets(|transport, conn, mut client| {
        let mut upload = Upload::begin();
        client.write_all(&value()[..1]).unwrap();
        upload.turn_until(transport, conn, |upload| upload.lent);
        for number in 0..6 {
            // After a turn, the kernel may have the room already.
            (0..number % 3).for_each(|_| drop(transport.turn(Duration::ZERO)));
            if number % 2 == 0 {
                transport.recall(conn)
            } else {
                transport.pause(conn)
            }
            let events = (0..TURNS_MAX).map(|_| transport.turn(TURN)).find(|events| !events.is_empty());
            let Some(Event::Filled { room, len: 0, .. }) = events.and_then(|mut events| events.pop()) else {
                panic!("it does not come back");
            };
            if number % 2 == 1 {
                let room = transport.receive_into(conn, room, false).expect_err("it is not read");
                upload.shard.upload_filled(upload.id, room, 0);
                transport.resume(conn);
            } else {
                upload.shard.upload_filled(upload.id, room, 0);
            }
            upload.lent = false;
            client.write_all(&value()[LEN - upload.left..][..1]).unwrap();
            let left = upload.left;
            upload.turn_until(transport, conn, |upload| upload.left < left && upload.lent);
        }
        transport.close(conn);
        upload.turn_until(transport, conn, |upload| upload.closed);
        assert!(!upload.lent);
    });
}
