//! Chunks that are written where others have died.

use super::*;
use crate::segments::Room;
use proptest::prelude::*;

const KEYS: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    Set(u8, usize),
    /// Begins a value whose room the kernel has until [`Step::End`], or its upload is given up before.
    Begin(u8, usize),
    Abort,
    End,
    Range(u8, usize),
    Lend(u8),
    Release,
    Delete(u8),
    Flush,
    Work,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || prop_oneof![Just(60_000usize), 4_000usize..70_000, 55_000usize..60_000];
    let step = prop_oneof![
        8 => (0..KEYS, len()).prop_map(|(key, len)| Step::Set(key, len)),
        4 => (0..KEYS, len()).prop_map(|(key, len)| Step::Begin(key, len)),
        1 => Just(Step::Abort),
        4 => Just(Step::End),
        2 => (0..KEYS, 0usize..60_000).prop_map(|(key, at)| Step::Range(key, at)),
        4 => (0..KEYS).prop_map(Step::Lend),
        4 => Just(Step::Release),
        1 => (0..KEYS).prop_map(Step::Delete),
        1 => Just(Step::Flush),
        2 => Just(Step::Work),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Short enough for one item, but received in slices.
fn set_in_chunks(shard: &mut Shard, key: &[u8], value: &[u8]) {
    let id = shard.upload_begin(0, key, value.len() as u64, NOW).unwrap();
    finish(shard, key, id, value);
}

fn finish(shard: &mut Shard, key: &[u8], id: UploadId, rest: &[u8]) {
    shard.upload_append(id, rest, NOW).unwrap();
    let write = Write { value: Body::Upload(id), ..Write::set(&[]) };
    let outcome = ask(shard, key, Op::Write(write), NOW);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

/// What a shard lends is written down when it is lent, and looked at again when it comes back.
struct Run {
    shard: Shard,
    values: [Option<Vec<u8>>; KEYS as usize],
    lent: Vec<(Vec<Lent>, Vec<u8>)>,
    rooms: Vec<(u8, usize, UploadId, Room, bool)>,
    number: u8,
}

impl Run {
    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.number = self.number.wrapping_add(1);
        vec![self.number; len]
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Set(key, len) => {
                let value = self.fresh(len);
                if self.number.is_multiple_of(4) {
                    set(&mut self.shard, &[key], &value);
                } else {
                    set_in_chunks(&mut self.shard, &[key], &value);
                }
                self.values[usize::from(key)] = Some(value);
            }
            Step::Begin(key, len) => {
                let id = self.shard.upload_begin(0, &[key], len as u64, NOW).unwrap();
                let room = self.shard.upload_room(id, len as u64, NOW).unwrap().unwrap();
                self.rooms.push((key, len, id, room, false));
            }
            Step::Abort => {
                if let Some((.., id, _, given_up)) = self.rooms.first_mut() {
                    self.shard.upload_abort(*id);
                    *given_up = true;
                }
            }
            Step::End => self.end(),
            Step::Range(key, at) => {
                let value = self.fresh(300);
                let Some(old) = &mut self.values[usize::from(key)] else { return };
                let range = Op::SetRange { offset: at as u64, value: Body::Bytes(&value) };
                let outcome = ask(&mut self.shard, &[key], range, NOW);
                assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
                old.resize(old.len().max(at + value.len()), 0);
                old[at..at + value.len()].copy_from_slice(&value);
            }
            Step::Lend(key) => {
                if let Some(value) = &self.values[usize::from(key)]
                    && let Outcome::Item(Found { value: Value::Chained(chain), .. }) =
                        ask(&mut self.shard, &[key], Op::Read(Read::default()), NOW)
                {
                    let lent = chain.lend(0..u64::MAX).collect();
                    self.lent.push((lent, value.clone()));
                }
            }
            Step::Release => self.release(),
            Step::Delete(key) => {
                ask(&mut self.shard, &[key], Op::Delete(Delete::default()), NOW);
                self.values[usize::from(key)] = None;
            }
            Step::Flush => {
                self.shard.flush(None, NOW);
                self.values = Default::default();
            }
            Step::Work => drop(self.shard.maintain(NOW + 1000, 100)),
        }
    }

    /// The kernel writes up to the last moment.
    fn end(&mut self) {
        if self.rooms.is_empty() {
            return;
        }
        let (key, len, id, room, given_up) = self.rooms.remove(0);
        let value = self.fresh(len);
        let filled = room.len();
        // SAFETY: the room has space for them, and nobody else writes it.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), room.as_mut_ptr(), filled) };
        self.shard.upload_filled(id, room, filled);
        if given_up {
            return;
        }
        finish(&mut self.shard, &[key], id, &value[filled..]);
        self.values[usize::from(key)] = Some(value);
    }

    fn release(&mut self) {
        if self.lent.is_empty() {
            return;
        }
        let (lent, value) = self.lent.remove(0);
        let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes().to_vec()).collect();
        assert!(bytes == value, "what was lent has changed");
        lent.into_iter().for_each(|lent| self.shard.release(lent));
    }

    fn check(&mut self) {
        for key in 0..KEYS {
            let value = get(&mut self.shard, &[key], NOW);
            assert!(value == self.values[usize::from(key)], "key {key} has another value");
        }
        self.shard.audit().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nobody_sees_that_a_place_is_written_again(steps in steps()) {
        let config = ShardConfig { now: NOW, ..ShardConfig::new(80 << 20) };
        let shard = Shard::new(config).unwrap();
        let mut run = Run { shard, values: Default::default(), lent: Vec::new(), rooms: Vec::new(), number: 0 };
        for step in &steps {
            run.step(step);
            run.check();
        }
        while !run.rooms.is_empty() {
            run.end();
        }
        while !run.lent.is_empty() {
            run.release();
        }
        run.check();
        drain(&mut run.shard, NOW);
        assert_eq!(run.shard.segments.pinned(), 0);
    }
}

/// One value is written over and over: it takes the place of the one before the last.
#[test]
fn a_value_that_is_replaced_again_and_again_stays_in_its_segment() {
    let mut shard = Shard::new(ShardConfig { now: NOW, ..ShardConfig::new(80 << 20) }).unwrap();
    set_in_chunks(&mut shard, b"other", &[0; 60_000]);
    set_in_chunks(&mut shard, b"key", &[0; 60_000]);
    let opened = shard.segments.opened();
    (0..1000u32).for_each(|number| set_in_chunks(&mut shard, b"key", &[number as u8; 60_000]));
    assert_eq!(shard.segments.opened(), opened);
}
