//! Snapshots of the index, as the tier's threads make and read them.

use super::journal::{agrees, config};
use super::*;

fn with_snapshots(streams: u16, stream_bytes: u64) -> Config {
    Config { has_snapshots: true, ..config(streams, stream_bytes) }
}

fn value(number: u32, version: u32) -> Vec<u8> {
    value_of(u64::from(version) << 32 | u64::from(number), 300)
}

impl Running {
    /// Overwrites some keys until so many snapshots were written.
    fn overwrite(&mut self, keys: u32, snapshots: u64) -> u32 {
        let end = Instant::now() + PATIENCE;
        let mut version = 0;
        while self.figures.snapshots.written.load(Relaxed) < snapshots {
            assert!(Instant::now() < end, "{:?}", self.figures.snapshots);
            version += 1;
            (0..keys).for_each(|number| self.set(&key(number), &value(number, version)));
            self.save();
        }
        version
    }

    fn holds(&mut self, keys: u32, version: u32) {
        for number in 0..keys {
            assert_eq!(self.get(&key(number)), Some(value(number, version)), "{number}");
        }
    }
}

#[test]
fn a_start_reads_a_snapshot_with_any_number_of_shards_and_after_any_end() {
    for (before, after, is_killed) in [(1, 1, true), (2, 3, false), (3, 1, true), (1, 2, false)] {
        let medium = Gated::with(with_snapshots(2, 1 << 20));
        let mut running = start(medium.clone(), before);
        let version = running.overwrite(50, 4);
        running.execute(&key(7), Op::Delete(Delete::default()));
        running.save();
        let figures = running.figures.clone();
        let medium = if is_killed {
            let image = medium.sim.crash_point().image(|_| false);
            Gated::of_image(image)
        } else {
            running.stop();
            medium
        };
        let mut again = start(medium, after);
        assert!(again.figures.snapshots_read.load(Relaxed) > 0, "{figures:?}");
        assert_eq!(again.get(&key(7)), None);
        again.set(&key(7), &value(7, version));
        again.holds(50, version);
        // What has been written since is newer than the snapshot that is there.
        let newer = again.overwrite(50, 0).max(version) + 1;
        (0..50).for_each(|number| again.set(&key(number), &value(number, newer)));
        again.save();
        again.stop();
    }
}

#[test]
fn snapshots_are_made_of_no_tier_of_an_older_format_and_of_none_where_none_is_wanted() {
    for has_snapshots in [false, true] {
        let medium = Gated::with(Config { has_snapshots, ..config(1, 1 << 20) });
        let mut running = start(medium, 1);
        for version in 0..20 {
            (0..50).for_each(|number| running.set(&key(number), &value(number, version)));
            running.save();
        }
        if has_snapshots {
            running.overwrite(50, 1);
        }
        let figures = &running.figures.snapshots;
        assert_eq!(figures.written.load(Relaxed) > 0, has_snapshots);
        assert_eq!(figures.records.load(Relaxed) > 0, has_snapshots);
        running.stop();
    }
}

#[test]
fn shards_agree_with_a_model_over_crashes_with_snapshots() {
    let (mut written, mut read) = (0, 0);
    for seed in 0..6 {
        let lived = agrees(with_snapshots(1 + (seed % 3) as u16, 1 << 20), 300 + seed, false);
        written += lived.snapshots;
        read += lived.snapshots_read;
    }
    assert!(written > 10 && read > 5, "{written} {read}");
}

#[test]
fn shards_agree_with_a_model_while_streams_with_snapshots_are_written_over() {
    let (mut written, mut read) = (0, 0);
    for seed in 0..6 {
        let lived = agrees(with_snapshots(1, 256 << 10), 400 + seed, true);
        written += lived.snapshots;
        read += lived.snapshots_read;
    }
    assert!(written > 10 && read > 5, "{written} {read}");
}
