//! A tier on a real file: what was drained is there when the process that wrote it has ended without a word.

use std::path::PathBuf;
use std::sync::Arc;

use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::Medium;
use torc_pmem::media::file::{Access, FileMedium};
use torc_pmem::recover::Event;
use torc_pmem::tier::Tier;

const CONFIG: Config = Config {
    bytes: 4 << 20,
    page_bytes: 16 << 10,
    batch_bytes: 64 << 10,
    streams: 1,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 3,
    hash_seed: 0,
};

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn item(hash: u64) -> Record {
    Record { hash, version: hash + 1, expiry: 0, space: 0, slot: hash as u16, kind: Kind::Item }
}

#[test]
fn what_was_drained_is_found_by_the_next_process_whichever_way_it_opens_the_file() {
    let path = Scratch(std::env::temp_dir().join(format!("torc-tier-{}", std::process::id())));
    let ways = [Access::Best, Access::Buffered, Access::Best];
    for (life, access) in ways.into_iter().enumerate() {
        let medium: Arc<dyn Medium> = Arc::new(FileMedium::open(&path.0, CONFIG.bytes, access).unwrap());
        if life == 0 {
            Tier::create(&medium, CONFIG).unwrap();
        }
        let tier = Tier::open(medium.clone()).unwrap();
        let mut reader = tier.reader();
        let mut found = Vec::new();
        let told = &mut |event: Event| {
            let Event::Record { record, place: Some(place) } = event else { panic!("{event:?}") };
            assert_eq!(reader.read(place).unwrap(), vec![record.hash as u8; 2000], "{record:?}");
            found.push(record.hash);
        };
        let (end, _) = tier.recover(0, told).unwrap();
        assert_eq!(found, (0..life as u64 * 100).rev().collect::<Vec<_>>());
        assert_eq!(tier.is_clean(), life == 0);
        let run = tier.begin().unwrap();
        let mut writer = run.writer(&end).unwrap();
        for hash in 0..100 {
            let hash = life as u64 * 100 + hash;
            writer.add(&item(hash), &vec![hash as u8; 2000]).unwrap();
            if hash % 10 == 9 {
                writer.commit().unwrap();
            }
        }
        // Added, and never written.
        writer.add(&item(1_000_000), &[1]).unwrap();
    }
}

#[test]
fn a_file_that_shrinks_under_a_run_latches_its_stream_and_reads_miss() {
    let path = Scratch(std::env::temp_dir().join(format!("torc-tier-shrinks-{}", std::process::id())));
    let medium: Arc<dyn Medium> = Arc::new(FileMedium::open(&path.0, CONFIG.bytes, Access::Best).unwrap());
    Tier::create(&medium, CONFIG).unwrap();
    let tier = Tier::open(medium).unwrap();
    let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
    let run = tier.begin().unwrap();
    let mut writer = run.writer(&end).unwrap();
    let place = writer.add(&item(1), &[1; 100]).unwrap().unwrap();
    writer.commit().unwrap();
    let mut reader = run.tier().reader();
    assert_eq!(reader.read(place).unwrap(), [1; 100]);
    std::fs::OpenOptions::new().write(true).open(&path.0).unwrap().set_len(8192).unwrap();
    let missed = reader.read(place).unwrap_err().to_string();
    assert!(missed.contains("has shrunk from 4194304 bytes to 8192"), "{missed}");
    writer.add(&item(2), &[2; 100]).unwrap();
    let refused = writer.commit().unwrap_err().to_string();
    assert!(refused.contains("has shrunk"), "{refused}");
    assert!(writer.commit().unwrap_err().to_string().contains("takes nothing since"));
}
