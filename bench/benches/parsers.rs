//! Parsing alone: the server's parsers on the canonical requests. A batch is 64 requests, 9 GETs to 1 SET.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use torc_bench::{
    codec::{Codec, memcache::Memcache, native::Native, resp::Resp},
    workload::{Mixed, Source, keys::KeyPicker, mix::Mix, objects::Objects},
};
use torc_proto::{
    memcache::{self, request::LineLimits, request::Request as Line},
    native::{FrameLimits, Request},
    resp::request::{SMALL_ARGUMENTS_MAX, Span, parse_small},
};

const BATCH: u32 = 64;
const MIX: Mix = Mix { get: 9, set: 1 };

fn requests<C: Codec>(codec: &C) -> Vec<u8> {
    let objects = Objects::new(1_000_000, 16, 64).expect("16 digits hold any number");
    let picker = KeyPicker::uniform(objects.count(), 1);
    let mut out = Vec::new();
    Mixed::new(codec, &objects, picker, MIX, u64::MAX).fill(0, BATCH, &mut out);
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

fn parsers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse 64 requests");
    group.throughput(Throughput::Elements(BATCH.into()));
    let input = requests(&Resp);
    group.bench_function("resp", |bencher| {
        bencher.iter(|| assert_eq!(resp_requests(&input), BATCH));
    });
    let input = requests(&Memcache);
    let limits = LineLimits::new(65_536, 250, 100);
    group.bench_function("memcache", |bencher| {
        bencher.iter(|| assert_eq!(memcache_requests(&input, &limits), BATCH));
    });
    let input = requests(&Native);
    let limits = FrameLimits { value_bytes_max: 1 << 20 };
    group.bench_function("native", |bencher| {
        bencher.iter(|| assert_eq!(native_requests(&input, &limits), BATCH));
    });
    group.finish();
}

criterion_group!(benches, parsers);
criterion_main!(benches);
