//! Changes that go to journals first: what is safe there, where it is read, and when it is freed.

use super::*;
use torc_pmem::format::superblock::JournalConfig;
use torc_pmem::media::sim::Random;

const JOURNAL: JournalConfig = JournalConfig { bytes: 8192 + 8 * (16 << 10), batch_bytes: 16 << 10 };

/// A tier of so many streams with journals, each of which has room for so many bytes.
pub(super) fn config(streams: u16, stream_bytes: u64) -> Config {
    let bytes = 8192 + u64::from(streams) * (8192 + stream_bytes + u64::from(JOURNAL.bytes));
    Config { streams, bytes, journal: JOURNAL, ..CONFIG }
}

fn wide() -> Arc<Gated> {
    Gated::with(config(2, 2 << 20))
}

impl Running {
    fn written(&self) -> (u64, u64) {
        let (all, journal) = (&self.figures.written_bytes, &self.figures.journal_bytes);
        let journal = journal.load(Relaxed);
        (all.load(Relaxed) - journal, journal)
    }

    fn place_of(&self, key: &[u8]) -> (u64, u64) {
        let hash = self.shards[self.owner(key)].hash(0, key);
        (hash, self.places[&hash])
    }

    /// Saves a change alone, and leaves what the shard is told beside that to the caller.
    fn save_and_hear(&mut self, key: &[u8], value: &[u8]) -> Vec<Reply> {
        self.set(key, value);
        self.hand_over();
        let mut others = Vec::new();
        loop {
            match self.next(0) {
                Reply::Saved(batch) => {
                    self.tell(0, &batch);
                    return others;
                }
                other => others.push(other),
            }
        }
    }
}

/// What a loss of power leaves of a medium.
fn after_a_cut(medium: &Gated) -> Arc<Gated> {
    Gated::of_image(medium.sim.crash_point().image(|_| false))
}

#[test]
fn what_is_little_is_safe_in_the_journal_and_read_there() {
    let medium = wide();
    let mut running = start(medium.clone(), 1);
    running.set(b"key", b"value");
    running.save();
    let (stream, journal) = running.written();
    assert_eq!((stream, journal), (0, 4096));
    running.put_out(b"key");
    assert_eq!(running.get(b"key").as_deref(), Some(&b"value"[..]));
    let mut after = start(after_a_cut(&medium), 2);
    assert_eq!(after.get(b"key").as_deref(), Some(&b"value"[..]));
    assert!(after.figures.reads.load(Relaxed) > 0, "it is on the tier alone");
    after.stop();
    running.stop();
    let mut again = start(medium, 3);
    assert_eq!(again.get(b"key").as_deref(), Some(&b"value"[..]));
}

#[test]
fn what_is_much_goes_to_its_stream_at_once_and_takes_along_what_the_journal_has() {
    let mut running = start(Gated::with(config(1, 1 << 20)), 1);
    let (journaled, much) = (b"in the journal first", value_of(7, 9000));
    running.save_and_hear(b"little", journaled);
    let before = running.place_of(b"little");
    let told = running.save_and_hear(b"much", &much);
    let (stream, journal) = running.written();
    assert_eq!(journal, 4096, "it was not written twice");
    assert!(stream > 9000, "{stream}");
    let [Reply::Packed { stream: 1, moves }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((moves[0].hash, moves[0].from), before);
    for reply in told {
        running.take(0, reply);
    }
    assert_ne!(running.place_of(b"little"), before);
    for (key, value) in [(&b"little"[..], &journaled[..]), (b"much", &much)] {
        running.put_out(key);
        assert_eq!(running.get(key).as_deref(), Some(value));
    }
    running.stop();
}

#[test]
fn what_comes_behind_a_batch_that_was_full_goes_the_same_way() {
    for count in 8..14_u32 {
        let medium = Gated::with(config(1, 1 << 20));
        let mut running = start(medium.clone(), 1);
        // They are handed over together, and the last are little again.
        let values: Vec<_> = (0..count).map(|number| value_of(number.into(), 3000)).collect();
        values.iter().zip(0..).for_each(|(value, number)| running.set(&key(number), value));
        running.save();
        let mut after = start(after_a_cut(&medium), 1);
        for (number, value) in (0..).zip(&values) {
            running.put_out(&key(number));
            assert_eq!(running.get(&key(number)).as_ref(), Some(value), "{number} of {count}");
            assert_eq!(after.get(&key(number)).as_ref(), Some(value), "{number} of {count}, after a cut");
        }
    }
}

#[test]
fn a_journal_is_not_freed_before_shards_have_heard_where_its_items_are() {
    let mut running = start(Gated::with(config(1, 8 << 20)), 1);
    running.save_and_hear(b"first", b"that is read for long");
    let (hash, place) = running.place_of(b"first");
    // More than the journal has room for, and nothing is answered.
    let mut told = Vec::new();
    for number in 0..300 {
        told.extend(running.save_and_hear(&key(number % 50), &value_of(number.into(), 100)));
        let read = running.fetch(0, hash, Ticket(place)).expect("it lies where its shard reads it");
        assert!(read.windows(21).any(|part| part == b"that is read for long"));
    }
    let (stream, journal) = running.written();
    assert!(journal <= u64::from(JOURNAL.bytes) && stream > 0, "{stream} {journal}");
    assert!(!told.is_empty());
    for reply in told {
        running.take(0, reply);
    }
    // Now there is room again.
    for number in 0..300 {
        let told = running.save_and_hear(&key(number % 50), &value_of(number.into(), 100));
        told.into_iter().for_each(|reply| running.take(0, reply));
    }
    let (_, after) = running.written();
    assert!(after > 2 * journal, "{after} {journal}");
    running.stop();
}

#[test]
fn a_shard_that_ends_does_not_keep_a_journal_from_being_freed() {
    let medium = Gated::with(config(1, 1 << 20));
    let mut running = start(medium.clone(), 2);
    let of = |running: &Running, shard| {
        let keys = (0..).map(key).filter(|key| running.owner(key) == shard);
        keys.take(60).collect::<Vec<_>>()
    };
    let (first, second) = (of(&running, 0), of(&running, 1));
    running.set(&second[0], b"value");
    running.save();
    running.ports[1].end(true);
    for number in 0..400 {
        let told = running.save_and_hear(&first[number % 60], &value_of(number as u64, 100));
        told.into_iter().for_each(|reply| running.take(0, reply));
    }
    let (_, journal) = running.written();
    assert!(journal > 8 * u64::from(JOURNAL.bytes), "{journal}");
    running.stop();
    let mut after = start(medium, 1);
    assert_eq!(after.get(&second[0]).as_deref(), Some(&b"value"[..]));
}

/// An older change of a key may be in the journal while the newest has gone to the stream at once.
#[test]
fn what_its_stream_has_of_a_key_counts_more_than_what_a_journal_still_has() {
    for shards in [1, 2] {
        let medium = Gated::with(config(1, 1 << 20));
        let mut running = start(medium.clone(), 1);
        running.save_and_hear(b"changed", b"old");
        running.save_and_hear(b"deleted", b"old");
        running.set(b"changed", &value_of(1, 9000));
        running.execute(b"deleted", Op::Delete(Delete::default()));
        // Nobody has answered, and nothing more is written to the journal.
        running.save_and_hear(b"other", b"value");
        let mut after = start(after_a_cut(&medium), shards);
        assert_eq!(after.get(b"changed"), Some(value_of(1, 9000)));
        assert_eq!(after.get(b"deleted"), None);
        assert_eq!(after.get(b"other").as_deref(), Some(&b"value"[..]));
    }
}

#[test]
fn marks_in_a_journal_make_void_what_its_stream_has() {
    let medium = wide();
    let mut running = start(medium.clone(), 2);
    for number in 0..300 {
        running.set(&key(number), &value_of(number.into(), 100));
    }
    running.save();
    let (stream, _) = running.written();
    assert!(stream > 0);
    running.execute(&key(0), Op::Delete(Delete::default()));
    running.save();
    let mut after = start(after_a_cut(&medium), 2);
    assert_eq!(after.get(&key(0)), None, "its tombstone");
    assert!(after.get(&key(1)).is_some());
    running.shards.iter_mut().for_each(|shard| shard.flush(None, NOW));
    running.save();
    running.set(&key(1), b"after");
    running.save();
    assert_eq!(running.written().0, stream, "all of it is little");
    let mut after = start(after_a_cut(&medium), 3);
    for number in 0..300 {
        assert_eq!(after.get(&key(number)), (number == 1).then(|| b"after".to_vec()), "{number}");
    }
}

/// What is true of a key, and what may be after a crash.
#[derive(Debug, Default, Clone)]
struct Key {
    safe: Option<Vec<u8>>,
    later: Vec<Option<Vec<u8>>>,
}

impl Key {
    fn now(&self) -> &Option<Vec<u8>> {
        self.later.last().unwrap_or(&self.safe)
    }
}

const KEYS: u32 = 60;

/// What lives of a tier have come to.
#[derive(Debug, Default)]
pub(super) struct Lived {
    /// Bytes that went to journals.
    pub(super) journaled: u64,
    pub(super) snapshots: u64,
    /// Those that a start has read.
    pub(super) snapshots_read: u64,
}

/// Lives of a tier that end in order or by a crash, with other numbers of shards. `may_miss`: its streams are written over.
pub(super) fn agrees(config: Config, seed: u64, may_miss: bool) -> Lived {
    let (mut medium, mut random) = (Gated::with(config), Random(seed));
    let mut model = vec![Key::default(); KEYS as usize];
    let mut lived = Lived::default();
    for life in 0..5 {
        let mut running = start(medium.clone(), 1 + random.below(3) as u16);
        for (number, known) in (0..).zip(&mut model) {
            let found = running.get(&key(number));
            let is_right = found == known.safe || known.later.contains(&found) || may_miss && found.is_none();
            assert!(is_right, "seed {seed}, life {life}: {number} is {found:?}: {known:?}");
            *known = Key { safe: found, later: Vec::new() };
        }
        medium.sim.keep_crash_points();
        let mut crash = None;
        for step in 0..120 {
            let put_out = live(&mut running, &mut model, &mut random, may_miss);
            if put_out.is_none() && random.below(3) > 0 {
                continue;
            }
            running.save();
            put_out.into_iter().for_each(|name| running.put_out(&name));
            let points = medium.sim.take_crash_points();
            if let Some(point) = points.get(random.below(points.len().max(1) as u64) as usize) {
                crash = Some((point.random_image(seed * 1000 + step), model.clone()));
            }
            for known in &mut model {
                *known = Key { safe: known.now().clone(), later: Vec::new() };
            }
        }
        lived.journaled += running.written().1;
        lived.snapshots += running.figures.snapshots.written.load(Relaxed);
        lived.snapshots_read += running.figures.snapshots_read.load(Relaxed);
        if life % 3 == 2 {
            running.save();
            running.stop();
            model.iter_mut().for_each(|known| *known = Key { safe: known.now().clone(), later: Vec::new() });
            continue;
        }
        let (image, of_crash) = crash
            .filter(|_| life % 3 == 1)
            .unwrap_or_else(|| (medium.sim.crash_point().random_image(seed + 77), model.clone()));
        (medium, model) = (Gated::of_image(image), of_crash);
    }
    lived
}

/// A command on some key. Or the key's name: all is to be saved, and its item to be put out.
fn live(running: &mut Running, model: &mut [Key], random: &mut Random, may_miss: bool) -> Option<Vec<u8>> {
    let number = random.below(u64::from(KEYS)) as usize;
    let name = key(number as u32);
    let value = |random: &mut Random| {
        let length = if random.below(12) == 0 { 3000 } else { 20 + random.below(300) };
        value_of(random.next(), length as usize)
    };
    match random.below(20) {
        0..10 => {
            let value = value(random);
            running.set(&name, &value);
            model[number].later.push(Some(value));
        }
        10..12 => {
            // What is on the tier alone is brought back before.
            running.get(&name);
            running.execute(&name, Op::Delete(Delete::default()));
            model[number].later.push(None);
        }
        12 if random.below(20) == 0 => {
            running.shards.iter_mut().for_each(|shard| shard.flush(None, NOW));
            model.iter_mut().for_each(|known| known.later.push(None));
        }
        12..16 => return Some(name),
        _ => {
            let found = running.get(&name);
            let is_right = found == *model[number].now() || may_miss && found.is_none();
            assert!(is_right, "{number} is {found:?}: {:?}", model[number]);
            if found.is_none() {
                model[number].later.push(None);
            }
        }
    }
    None
}

#[test]
fn shards_agree_with_a_model_over_crashes_at_drains() {
    let journaled: u64 =
        (0..9).map(|seed| agrees(config(1 + (seed % 3) as u16, 1 << 20), seed, false).journaled).sum();
    assert!(journaled > 2 << 20, "{journaled}");
}

#[test]
fn shards_agree_with_a_model_while_streams_are_written_over() {
    let journaled: u64 = (100..110).map(|seed| agrees(config(1, 256 << 10), seed, true).journaled).sum();
    assert!(journaled > 2 << 20, "{journaled}");
}
