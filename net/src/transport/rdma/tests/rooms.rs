//! Long values that nobody copies: a device reads what a client lends into a shard's room, and writes a shard's slices to a client's
//! landing.

use super::*;
use crate::rdma::Registrar;
use crate::transport::Pieces;
use socket2::SockRef;
use std::io::Write;
use torc_engine::command::{Body, Command, Delete, Op, Outcome, Read as Get, UploadId, Value, Write as Set};
use torc_engine::segments::Lent;
use torc_engine::{Shard, ShardConfig};

const NOW: u64 = 1_790_000_000_000;
const KEY: &[u8] = b"key";
const LEN: usize = 300_000;

fn value() -> Vec<u8> {
    (0..LEN).map(|at| (at / 3 % 251) as u8).collect()
}

/// A shard whose memory is all in use.
fn shard() -> Shard {
    let (segment_bytes, shared_memory) = (512 << 10, true);
    let config = ShardConfig { now: NOW, segment_bytes, shared_memory, ..ShardConfig::new(16 << 20) };
    let mut shard = Shard::new(config).unwrap();
    write_over(&mut shard);
    shard
}

/// All memory that is free is used for something else.
fn write_over(shard: &mut Shard) {
    for number in 0..18_000u32 {
        let (key, value) = (number.to_le_bytes(), [0xee; 900]);
        let hash = shard.key_hash(&key);
        shard.execute(&Command { database: 0, key: &key, op: Op::Write(Set::set(&value)) }, hash, NOW);
    }
}

fn execute<'s>(shard: &'s mut Shard, op: Op<'_>) -> Outcome<'s> {
    let hash = shard.key_hash(KEY);
    shard.execute(&Command { database: 0, key: KEY, op }, hash, NOW)
}

/// The slices of the value.
fn lend(shard: &mut Shard) -> Vec<Lent> {
    match execute(shard, Op::Read(Get::default())) {
        Outcome::Item(found) => match found.value {
            Value::Chained(chain) => chain.lend(0..chain.len()).collect(),
            Value::Inline(_) => panic!("it is long"),
        },
        other => panic!("{other:?}"),
    }
}

/// A value that comes from a client.
struct Upload {
    shard: Shard,
    id: UploadId,
    left: usize,
    lent: bool,
    /// Bytes that came in room.
    filled: usize,
    closed: bool,
    registrar: Registrar<Device>,
}

impl Upload {
    /// Its room can be registered, or cannot.
    fn begin(mut shard: Shard, is_registered: bool) -> Upload {
        let id = shard.upload_begin(0, KEY, LEN as u64, NOW).unwrap();
        let memory = shard.remote_memory().filter(|_| is_registered);
        let registrar = Registrar::new(memory.into_iter().collect(), false, None);
        Upload { shard, id, left: LEN, lent: false, filled: 0, closed: false, registrar }
    }

    /// What the thread that watches the device does.
    fn register(&mut self, world: &World<Epoll>) {
        let (_, opened) = world.rdma.config.device.opened();
        self.registrar.go_on(&opened.expect("a device"));
    }

    fn happened(&mut self, world: &mut World<Epoll>, event: Event) {
        match event {
            Event::Received { buffer, len, .. } => {
                assert!(!self.lent, "room comes back before bytes that come another way");
                let bytes = world.rdma.received(buffer, len).to_vec();
                world.rdma.recycle(buffer);
                self.shard.upload_append(self.id, &bytes, NOW).unwrap();
                self.left -= bytes.len();
            }
            Event::Filled { room, len, .. } => {
                assert!(std::mem::take(&mut self.lent), "room comes back once");
                self.left -= len as usize;
                self.filled += len as usize;
                self.shard.upload_filled(self.id, room, len as usize);
            }
            Event::Closed { .. } => self.closed = true,
            Event::Ended { .. } | Event::Woken => {}
            other => panic!("{other:?}"),
        }
    }

    fn turn(&mut self, world: &mut World<Epoll>, conn: ConnId) {
        self.register(world);
        for event in world.turn() {
            self.happened(world, event);
        }
        if self.left == 0 || self.lent || self.closed {
            return;
        }
        let Some(room) = self.shard.upload_room(self.id, self.left as u64, NOW).unwrap() else { return };
        let last = room.len() == self.left;
        match world.rdma.receive_into(conn, room, last) {
            Ok(()) => self.lent = true,
            Err(room) => self.shard.upload_filled(self.id, room, 0),
        }
    }

    #[track_caller]
    fn until(&mut self, world: &mut World<Epoll>, conn: ConnId, done: impl Fn(&Upload) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn(world, conn);
        }
        panic!("{} bytes are left", self.left);
    }

    fn store(&mut self) {
        let op = Op::Write(Set { value: Body::Upload(self.id), ..Set::set(&[]) });
        let outcome = execute(&mut self.shard, op);
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
    }
}

#[test]
fn what_is_lent_is_read_to_where_it_stays_if_that_is_registered() {
    under_seeds(|mut world, seed| {
        let is_registered = !seed.is_multiple_of(4);
        let mut upload = Upload::begin(shard(), is_registered);
        let (conn, mut client) = world.paired();
        client.write_all(&value()).unwrap();
        upload.until(&mut world, conn, |upload| upload.left == 0);
        upload.store();
        let lent = lend(&mut upload.shard);
        let found: Vec<u8> = lent.iter().flat_map(|slice| slice.bytes().to_vec()).collect();
        assert!(found == value());
        lent.into_iter().for_each(|slice| upload.shard.release(slice));
        assert_eq!(upload.filled > LEN / 2, is_registered, "{} bytes came in room", upload.filled);
        assert!(is_registered || upload.filled == 0);
        world.rdma.close(conn);
        upload.until(&mut world, conn, |upload| upload.closed);
        world.nothing_is_left();
    });
}

/// Room under way to the device comes back with its queue pair, room that waits for bytes at once; each once, and before the end.
#[test]
fn room_comes_back_however_its_connection_ends() {
    under_seeds(|mut world, seed| {
        let mut upload = Upload::begin(shard(), true);
        let (conn, mut client) = world.paired();
        client.write_all(&value()).unwrap();
        upload.until(&mut world, conn, |upload| upload.lent && upload.left < LEN - LEN / 8);
        match seed % 4 {
            0 => world.rdma.close(conn),
            1 => SockRef::from(&client.socket).set_linger(Some(Duration::ZERO)).unwrap(),
            2 => world.network.set_link(&world.clients.clone(), false),
            _ => {
                // It is asked for, and then there is none to come back.
                world.rdma.recall(conn);
                world.rdma.pause(conn);
                for _ in 0..TURNS_MAX {
                    for event in world.turn() {
                        upload.happened(&mut world, event);
                    }
                    if !upload.lent {
                        break;
                    }
                }
                assert!(!upload.lent, "it does not come back");
                let room = upload.shard.upload_room(upload.id, upload.left as u64, NOW).unwrap();
                let room = room.expect("there is room");
                let room = world.rdma.receive_into(conn, room, false).expect_err("nothing is read");
                upload.shard.upload_filled(upload.id, room, 0);
                world.rdma.close(conn);
            }
        }
        if seed % 4 == 1 {
            drop(client);
        }
        upload.until(&mut world, conn, |upload| upload.closed);
        assert!(!upload.lent);
        upload.shard.upload_abort(upload.id);
        assert_eq!(upload.shard.stats().segments_pinned.read(), 0);
        world.network.set_link(&world.clients.clone(), true);
        world.nothing_is_left();
    });
}

/// Slices are the device's until their WRITEs are over: what comes to lie there afterwards is not what a client reads.
#[test]
fn slices_are_written_from_where_they_lie_and_lent_until_that_is_over() {
    under_seeds(|mut world, seed| {
        let is_registered = !seed.is_multiple_of(4);
        let mut upload = Upload::begin(shard(), is_registered);
        for part in value().chunks(50_000) {
            upload.shard.upload_append(upload.id, part, NOW).unwrap();
        }
        upload.store();
        upload.register(&world);
        let mut shard = upload.shard;
        let (conn, mut client) = world.paired();
        let posted = world.rdma.config.stats.pair_posted.read();
        let mut pieces = Pieces::default();
        lend(&mut shard).into_iter().for_each(|slice| pieces.push(Piece::Lent(slice)));
        assert_eq!(pieces.bytes(), LEN);
        world.rdma.send(conn, pieces, Notice::Soon);
        let (mut got, mut sent) = (Vec::new(), None);
        for _ in 0..TURNS_MAX {
            for event in world.turn() {
                match event {
                    Event::Sent { pieces, .. } => {
                        let it = world.rdma.conns.find(conn).expect("it is open");
                        assert_eq!(it.end.writes_out(), 0, "the device still reads them");
                        sent = Some(pieces);
                    }
                    other => panic!("{other:?}"),
                }
            }
            if let Some(mut pieces) = sent.take() {
                for piece in pieces.drain() {
                    if let Piece::Lent(slice) = piece {
                        shard.release(slice);
                    }
                }
                execute(&mut shard, Op::Delete(Delete::default()));
                write_over(&mut shard);
                break;
            }
            // Without a landing to write to, the client takes messages, and gives credits back.
            if !is_registered {
                client.drain(&mut got);
            }
        }
        for _ in 0..20 {
            drop(world.turn());
            client.drain(&mut got);
        }
        assert!(got == value(), "{} bytes of {LEN} came", got.len());
        let posted = world.rdma.config.stats.pair_posted.read() - posted;
        assert_eq!(posted < 20, is_registered, "{posted} requests");
        world.rdma.close(conn);
        world.until("the end", |_, event| matches!(event, Event::Closed { .. }).then_some(()));
        world.nothing_is_left();
    });
}
