//! Parsing alone: the server's parsers on the canonical requests, and the generator's own codecs,
//! whose cost bounds what load one core can make. A batch is 64 requests, 9 GETs to 1 SET.

mod common;

use common::{items, objects};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use torc_bench::{
    codec::{Codec, Tally, memcache::Memcache, native::Native, resp::Resp},
    workload::{
        Mixed, Objects, Source,
        keys::{KeyDistribution, KeyPicker},
        mix::Mix,
    },
};
use torc_proto::{
    memcache::{self, request::LineLimits, request::Request as Line},
    native::{FrameLimits, Request},
    resp::request::{SMALL_ARGUMENTS_MAX, Span, parse_small},
};

const BATCH: u32 = 64;
const MIX: Mix = Mix { get: 9, set: 1, delete: 0 };

fn requests<C: Codec>(codec: &C, objects: &Objects) -> Vec<u8> {
    let picker = KeyPicker::new(KeyDistribution::Uniform, objects.count(), 1);
    let mut out = Vec::new();
    Mixed::new(codec, objects, picker, MIX, u64::MAX).fill(0, BATCH, &mut out);
    out
}

fn resp_requests(mut input: &[u8]) -> u32 {
    let mut spans = [Span::default(); SMALL_ARGUMENTS_MAX];
    let mut count = 0;
    while let Some((_, consumed)) = parse_small(input, &mut spans) {
        input = &input[consumed..];
        count += 1;
    }
    count
}

fn memcache_requests(mut input: &[u8], limits: &LineLimits) -> u32 {
    let mut count = 0;
    while let Ok(line) = memcache::request::parse(input, 0, limits) {
        let value_bytes = match line.request {
            Line::Store(store) => store.bytes as usize + 2,
            _ => 0,
        };
        input = &input[line.consumed + value_bytes..];
        count += 1;
    }
    count
}

fn native_requests(mut input: &[u8], limits: &FrameLimits) -> u32 {
    let mut count = 0;
    while let Ok((_, consumed)) = Request::parse(input, limits) {
        input = &input[consumed..];
        count += 1;
    }
    count
}

fn server(criterion: &mut Criterion) {
    let objects = objects(items());
    let mut group = criterion.benchmark_group("parse 64 requests");
    group.throughput(Throughput::Elements(BATCH.into()));
    let input = requests(&Resp, &objects);
    group.bench_function("resp", |bencher| {
        bencher.iter(|| assert_eq!(resp_requests(&input), BATCH));
    });
    let input = requests(&Memcache, &objects);
    let limits = LineLimits::new(65_536, 250, 100);
    group.bench_function("memcache", |bencher| {
        bencher.iter(|| assert_eq!(memcache_requests(&input, &limits), BATCH));
    });
    let input = requests(&Native, &objects);
    let limits = FrameLimits { value_bytes_max: 1 << 20 };
    group.bench_function("native", |bencher| {
        bencher.iter(|| assert_eq!(native_requests(&input, &limits), BATCH));
    });
    group.finish();
}

/// Writes a batch and scans its replies: the generator's own work a batch.
fn generator<C: Codec>(criterion: &mut Criterion, codec: &C, hit: &[u8]) {
    let objects = objects(items());
    let picker = KeyPicker::new(KeyDistribution::Uniform, objects.count(), 1);
    let mut source = Mixed::new(codec, &objects, picker, MIX, u64::MAX);
    let replies = hit.repeat(BATCH as usize);
    let mut group = criterion.benchmark_group("write 64 requests and scan 64 replies");
    group.throughput(Throughput::Elements(BATCH.into()));
    let (mut out, mut scanner) = (Vec::new(), C::Scanner::default());
    group.bench_function(codec.name(), |bencher| {
        bencher.iter(|| {
            out.clear();
            source.fill(0, BATCH, &mut out);
            let mut tally = Tally::default();
            codec.scan(&mut scanner, &replies, &mut tally).expect("replies of this protocol");
            assert_eq!(tally.hits, u64::from(BATCH));
        });
    });
    group.finish();
}

fn generators(criterion: &mut Criterion) {
    let value = "v".repeat(64);
    generator(criterion, &Resp, format!("$64\r\n{value}\r\n").as_bytes());
    let hit = format!("VALUE 0123456789abcdef 0 64\r\n{value}\r\nEND\r\n");
    generator(criterion, &Memcache, hit.as_bytes());
    let mut answer = vec![0xC7, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0];
    answer.extend_from_slice(&[0; 8]);
    answer.extend_from_slice(value.as_bytes());
    generator(criterion, &Native, &answer);
}

criterion_group!(benches, server, generators);
criterion_main!(benches);
