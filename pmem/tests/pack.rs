//! Whatever is added comes back: by its place, and by recovery.

use std::sync::Arc;

use proptest::prelude::*;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::{Medium, volatile::Volatile};
use torc_pmem::recover::Event;
use torc_pmem::stream::Unfit;
use torc_pmem::tier::Tier;

#[derive(Debug, Clone)]
struct Added {
    record: Record,
    bytes: Vec<u8>,
}

fn added() -> impl Strategy<Value = Added> {
    let kind = prop_oneof![
        8 => Just(Kind::Item),
        1 => Just(Kind::ChainHead),
        1 => Just(Kind::Chunk),
        1 => Just(Kind::Tombstone)
    ];
    // Bytes that compress well, and bytes that do not; mostly short ones.
    let len = prop_oneof![8 => 1..200_usize, 3 => 200..5000_usize, 1 => 5000..14000_usize];
    let bytes = (len, any::<u64>(), any::<bool>()).prop_map(|(len, seed, is_even)| {
        let mut random = torc_pmem::media::sim::Random(seed);
        (0..len).map(|at| if is_even { (seed + at as u64 / 50) as u8 } else { random.next() as u8 }).collect()
    });
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u16>(), 0..16384_u16);
    (kind, numbers, bytes).prop_map(|(kind, (hash, version, expiry, space, slot), bytes): (_, _, Vec<u8>)| {
        Added {
            record: Record { hash, version, expiry, space, slot, kind },
            bytes: if kind.has_bytes() { bytes } else { Vec::new() },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn records_and_items_come_back_as_they_were_added(
        all in proptest::collection::vec(added(), 1..60),
        page_bytes in prop_oneof![Just(4096_u32), Just(4160), Just(8192)],
        commits in any::<u64>(),
    ) {
        let config =
            Config { bytes: 2 << 20, page_bytes, batch_bytes: 16 << 10, streams: 1, journal: JournalConfig::NONE, has_snapshots: false, volume: 5, hash_seed: 0 };
        let medium: Arc<dyn Medium> = Arc::new(Volatile::new(config.bytes).unwrap());
        Tier::create(&medium, config).unwrap();
        let tier = Tier::open(medium.clone()).unwrap();
        let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
        let run = tier.begin().unwrap();
        let mut writer = run.writer(&end).unwrap();
        let mut places = Vec::new();
        for (number, added) in all.iter().enumerate() {
            let place = loop {
                match writer.add(&added.record, &added.bytes) {
                    Ok(place) => break place,
                    Err(refused) => {
                        prop_assert_eq!(refused, Unfit::BatchFull);
                        writer.write().unwrap();
                    }
                }
            };
            places.push(place);
            if commits >> (number % 64) & 1 == 1 {
                writer.commit().unwrap();
            }
        }
        writer.close().unwrap();
        let mut reader = run.tier().reader();
        for (added, place) in all.iter().zip(&places) {
            match place {
                Some(place) => prop_assert_eq!(reader.read(*place).unwrap(), &added.bytes[..]),
                None => prop_assert!(!added.record.kind.has_bytes()),
            }
        }
        let mut told = Vec::new();
        Tier::open(medium).unwrap().recover(0, &mut |event| told.push(event)).unwrap();
        let newest_first = all.iter().zip(&places).rev();
        let expected: Vec<Event> =
            newest_first.map(|(added, place)| Event::Record { record: added.record, place: *place }).collect();
        prop_assert_eq!(told, expected);
    }
}
