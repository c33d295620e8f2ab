//! The way of pages to a medium, beside what the same bytes cost alone: LZ4, CRC64 and one copy.

mod made;
mod size;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use made::{PAGE_BYTES, items, make_room, record, started, touch, write};
use torc_pmem::format::checksum;
use torc_pmem::media::sim::Random;
use torc_pmem::tier::Tier;

/// What nobody can do without: the bytes compressed, summed, and copied to where they stay.
fn ceiling(table: &mut CompressTable, bytes: &[u8], room: &mut [u8], target: &mut [u8]) -> u64 {
    let (mut sum, mut at) = (0, 0);
    for page in bytes.chunks(PAGE_BYTES) {
        let stored = compress_into_with_table(page, room, table).expect("room");
        sum ^= checksum(&room[..stored]);
        target[at..][..stored].copy_from_slice(&room[..stored]);
        at += stored;
    }
    sum
}

fn write_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    for (name, len) in [("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10)] {
        let items = items(len);
        let bytes = items.concat();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut table = CompressTable::small();
        let mut room = vec![0; get_maximum_output_size(PAGE_BYTES)];
        let mut target = vec![0; bytes.len() * 2];
        group.bench_function(format!("ceiling, {name}"), |bencher| {
            bencher.iter(|| black_box(ceiling(&mut table, black_box(&bytes), &mut room, &mut target)));
        });
        let (_run, mut writer) = started();
        touch(&mut writer, &items);
        group.bench_function(format!("pages, {name}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    // What making room costs is not the way of the new pages.
                    make_room(&mut writer);
                    let start = Instant::now();
                    write(&mut writer, black_box(&items));
                    spent += start.elapsed();
                }
                spent
            });
        });
        let figures = writer.figures();
        // A run that only lists the benches writes nothing.
        assert!(
            figures.item_bytes == 0
                || figures.item_bytes >= bytes.len() as u64 && figures.written_bytes < figures.item_bytes * 2
        );
    }
    group.finish();
}

fn read_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, len) in [("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10)] {
        let items = items(len);
        let (run, mut writer) = started();
        let mut places = Vec::new();
        for (number, item) in items.iter().enumerate() {
            match writer.add(&record(number as u64), item) {
                Ok(place) => places.push(place.expect("an item has a place")),
                Err(_) => break,
            }
        }
        writer.commit().expect("room");
        let (mut reader, mut random) = (run.tier().reader(), Random(1));
        group.bench_function(format!("an item of {name}"), |bencher| {
            bencher.iter(|| {
                let number = random.below(places.len() as u64) as usize;
                assert_eq!(reader.read(places[number]).expect("what was written").len(), len);
            });
        });
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parts");
    for (name, len) in [("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10)] {
        let bytes: Vec<u8> = items(64).concat().into_iter().cycle().take(len).collect();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("CRC64, {name}"), |bencher| {
            bencher.iter(|| checksum(black_box(&bytes)));
        });
        let mut table = CompressTable::small();
        let mut room = vec![0; get_maximum_output_size(len)];
        group.bench_function(format!("LZ4, {name}"), |bencher| {
            bencher
                .iter(|| compress_into_with_table(black_box(&bytes), &mut room, &mut table).expect("room"));
        });
        let stored = compress_into_with_table(&bytes, &mut room, &mut table).expect("room");
        let mut raw = vec![0; len];
        group.bench_function(format!("LZ4 back, {name}"), |bencher| {
            bencher.iter(|| decompress_into(black_box(&room[..stored]), &mut raw).expect("a block"));
        });
    }
    group.finish();
}

/// Reading the tables of a stream, with nobody who does anything with what is told.
fn recovery(criterion: &mut Criterion) {
    let items = items(64);
    let (run, mut writer) = started();
    for _ in 0..16 {
        write(&mut writer, &items);
    }
    let (records, tier) = (items.len() as u64 * 16, run.tier());
    writer.close().expect("room");
    let mut group = criterion.benchmark_group("recovery");
    group.throughput(Throughput::Elements(records));
    // As the next start would read it.
    let tier = Tier::open(Arc::clone(tier.medium())).expect("a tier");
    group.bench_function("records told", |bencher| {
        bencher.iter(|| {
            let mut told = 0;
            tier.recover(0, &mut |event| told += u64::from(black_box(&event) == &event)).expect("memory");
            assert_eq!(told, records);
        });
    });
    group.finish();
}

criterion_group!(benches, write_path, read_path, size::page_size, parts, recovery);
criterion_main!(benches);
