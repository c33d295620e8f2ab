//! Long values on a simulated medium: what every crash leaves, and what goes when a stream is full.

use super::*;

/// Batches take chunks of 8 KiB.
const LONG: Config = Config { bytes: 8 << 20, ..CONFIG };

/// Bytes that do not compress, and that no other value has.
fn long(seed: u64, len: usize) -> Vec<u8> {
    let mut random = torc_pmem::media::sim::Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// What each key may have after a crash: what was written to it, in that order, the first when nothing was saved.
type Written = std::collections::BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>;

#[test]
fn a_crash_at_any_drain_leaves_long_values_whole_or_as_they_were_before() {
    let medium = Gated::with(LONG);
    let mut running = start(medium.clone(), 2);
    medium.sim.keep_crash_points();
    let mut written = Written::new();
    let mut points = Vec::new();
    for round in 0..5u64 {
        for number in 0..6u32 {
            let key = key(number);
            let value = long(round * 10 + u64::from(number), 20_000 + 7000 * number as usize);
            match (round + u64::from(number)) % 5 {
                0 => running.execute(&key, Op::Delete(Delete::default())),
                1 => running.set(&key, &value[..50]),
                2 => running.execute(&key, Op::SetRange { offset: 9000, value: Body::Bytes(&value[..100]) }),
                _ => running.set(&key, &value),
            }
            let now = running.get(&key);
            written.entry(key).or_insert_with(|| vec![None]).push(now);
        }
        running.save();
        points.extend(medium.sim.take_crash_points().into_iter().map(|point| (round as usize, point)));
    }
    assert!(points.len() > 8);
    for (number, (round, point)) in points.iter().enumerate() {
        let images = [point.image(|_| false), point.image(|_| true), point.random_image(number as u64)];
        for (kind, image) in images.into_iter().enumerate() {
            let mut after = start(Arc::new(Sim::of_image(image, 512)), 1 + number as u16 % 3);
            for (key, values) in &written {
                let found = after.get(key);
                // What was drained in the round before, or a later change.
                let allowed = &values[*round..=round + 1];
                assert!(
                    allowed.contains(&found),
                    "drain {number}, image {kind}, {}: {:?} bytes",
                    String::from_utf8_lossy(key),
                    found.map(|found| found.len())
                );
            }
            for shard in &after.shards {
                shard.audit().unwrap();
            }
        }
    }
}

#[test]
fn a_full_stream_carries_long_values_that_are_read_and_gives_up_others_whole() {
    let medium = Gated::with(Config { streams: 1, bytes: 1 << 20, ..CONFIG });
    let mut running = start(medium.clone(), 1);
    let (hot, cold) = (long(1, 60_000), long(2, 60_000));
    running.set(b"hot", &hot);
    running.set(b"cold", &cold);
    running.save();
    for number in 0..400u32 {
        assert_eq!(running.get(b"hot").as_deref(), Some(&hot[..]));
        running.set(&key(number), &long(u64::from(number) + 10, 4000));
        running.save();
    }
    assert!(running.figures.freed.load(Relaxed) > 20);
    running.stop();
    let mut after = start(medium, 2);
    assert_eq!(after.get(b"hot").as_deref(), Some(&hot[..]));
    assert_eq!(after.get(b"cold"), None);
    for number in 0..400u32 {
        let found = after.get(&key(number));
        assert!(found.is_none() || found == Some(long(u64::from(number) + 10, 4000)));
    }
}

#[test]
fn chunks_without_a_head_take_no_place_in_the_index_after_a_start() {
    let medium = Gated::with(LONG);
    let mut running = start(medium.clone(), 1);
    running.set(b"long", &long(1, 100_000));
    let mut batch = Box::<SaveBatch>::default();
    running.shards[0].take_unsaved(|unsaved| {
        let is_head = matches!(unsaved.what, torc_engine::shard::What::Head(_));
        !is_head && batch.take(&unsaved)
    });
    assert!(batch.entries.len() > 10);
    running.ports[0].save(batch);
    running.take_saved(0);
    let image = medium.sim.crash_point().image(|_| true);
    let mut after = start(Arc::new(Sim::of_image(image, 512)), 1);
    let (mut keys, mut elsewhere) = (Vec::new(), Vec::new());
    after.shards[0].scan(0, (0, 1000), torc_engine::shard::Tells::Keys, NOW, &mut keys, &mut elsewhere);
    assert!(keys.is_empty() && elsewhere.is_empty());
    assert_eq!(after.get(b"long"), None);
}

#[test]
fn damage_anywhere_makes_a_long_value_a_miss_and_never_an_older_one() {
    let medium = Gated::with(Config { streams: 1, ..LONG });
    let mut running = start(medium.clone(), 1);
    let (older, newer) = (long(1, 40_000), long(2, 60_000));
    running.set(b"long", &older);
    running.save();
    running.set(b"long", &newer);
    running.save();
    let mut changed = newer.clone();
    changed[30_000..30_100].copy_from_slice(&older[..100]);
    running.execute(b"long", Op::SetRange { offset: 30_000, value: Body::Bytes(&older[..100]) });
    running.save();
    running.stop();
    let image = medium.sim.image();
    let written =
        (2..image.len() / 4096).filter(|block| image[block * 4096..][..4096].iter().any(|byte| *byte != 0));
    let (mut missed, mut whole) = (0, 0);
    for block in written {
        for at in [block * 4096 + 40, block * 4096 + 3000] {
            let damaged = Sim::of_image(image.clone(), 512);
            damaged.rot(at, |byte| byte ^ 0x10);
            match start(Arc::new(damaged), 1).get(b"long") {
                None => missed += 1,
                Some(found) => {
                    assert!(found == changed, "byte {at}: {} bytes", found.len());
                    whole += 1;
                }
            }
        }
    }
    assert!(missed > 20 && whole > 10, "{missed} {whole}");
}
