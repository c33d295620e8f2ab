//! Pages of several sizes: what they cost to write and to read, and what they take of the medium.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use torc_pmem::format::geometry::Place;
use torc_pmem::media::file::{Access, FileMedium};
use torc_pmem::media::sim::Random;
use torc_pmem::media::{Medium, volatile::Volatile};
use torc_pmem::stream::{Reader, Unfit};

use super::made::{TIER_BYTES, is_measuring, items, record, started_on, touch, write_round};

/// Bytes of items that reads are spread over.
const READ_BYTES: usize = 128 << 20;

pub(super) fn page_size(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("page size");
    for (name, len) in [("100 B", 100), ("1 KiB", 1 << 10)] {
        for kib in [4, 8, 16, 32, 64] {
            let name = format!("{kib} KiB, items of {name}");
            write_pages(&mut group, &name, kib << 10, len);
            let memory = Arc::new(Volatile::new(TIER_BYTES).expect("memory"));
            read_pages(&mut group, &format!("memory, {name}"), memory, (kib << 10, len));
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pages-{}", std::process::id()));
            let file = File(path);
            let medium = FileMedium::open(&file.0, TIER_BYTES, Access::Best).expect("a disk");
            read_pages(&mut group, &format!("file, {name}"), Arc::new(medium), (kib << 10, len));
        }
    }
    group.finish();
}

/// Writes into memory, so that what is measured is compression and checksums.
fn write_pages(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, page_bytes: usize, len: usize) {
    let (_run, mut writer) = started_on(Arc::new(Volatile::new(TIER_BYTES).expect("memory")), page_bytes);
    let items = items(len);
    touch(&mut writer, &items);
    group.throughput(Throughput::Bytes((items.len() * len) as u64));
    group.bench_function(format!("written, {name}"), |bencher| {
        bencher.iter(|| write_round(&mut writer, &items));
    });
    let figures = writer.figures();
    if figures.item_bytes > 0 {
        let ratio = figures.written_bytes as f64 / figures.item_bytes as f64;
        println!("written, {name}: {ratio:.3} bytes for each byte of items");
    }
}

/// Reads single items at random.
fn read_pages(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    medium: Arc<dyn Medium>,
    (page_bytes, len): (usize, usize),
) {
    group.throughput(Throughput::Elements(1));
    let mut filled: Option<(Reader, Vec<Place>)> = None;
    let mut random = Random(1);
    group.bench_function(format!("read, {name}"), |bencher| {
        // Only if this one is wanted.
        let (reader, places) = filled.get_or_insert_with(|| fill(Arc::clone(&medium), page_bytes, len));
        bencher.iter(|| {
            let place = places[random.below(places.len() as u64) as usize];
            assert_eq!(reader.read(place).expect("what was written").len(), len);
        });
    });
}

fn fill(medium: Arc<dyn Medium>, page_bytes: usize, len: usize) -> (Reader, Vec<Place>) {
    let (run, mut writer) = started_on(medium, page_bytes);
    let (items, mut places) = (items(len), Vec::new());
    let rounds = if is_measuring() { READ_BYTES / (items.len() * len) } else { 1 };
    for (number, item) in (0..rounds).flat_map(|_| items.iter().enumerate()) {
        let record = record(number as u64);
        let place = loop {
            match writer.add(&record, item) {
                Ok(place) => break place,
                Err(refused) => assert_eq!(refused, Unfit::BatchFull),
            }
            writer.commit().expect("room");
        };
        places.extend(place);
    }
    writer.commit().expect("room");
    (run.tier().reader(), places)
}

/// A file that goes with the bench.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
