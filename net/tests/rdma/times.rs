//! Reads of a client's own of what ends at its time. Server and client have one clock here; that two may run at different rates is for the
//! tests of the parts.

use crate::history::{Reader, Redis};
use crate::reads::{get, versioned};
use crate::wire::{Devices, Wire, local, start};
use std::time::{Duration, Instant};
use torc_proto::native::{Expiry, Op, Options, Status};

/// Times are known to the millisecond, and rounded up.
const ROUNDING: Duration = Duration::from_millis(2);

/// When something was to be over that was asked for in this time.
#[derive(Clone, Copy)]
struct Ends {
    earliest: Instant,
    latest: Instant,
}

impl Ends {
    fn of(asked: impl FnOnce(), lasts: Duration) -> Ends {
        let sent = Instant::now();
        asked();
        Ends { earliest: sent + lasts - ROUNDING, latest: Instant::now() + lasts + ROUNDING }
    }
}

fn set_for(wire: &mut Wire, key: &[u8], version: u64, lasts: Duration) -> Ends {
    let options = Options { expiry: Some(Expiry::In(lasts.as_millis() as u64)), ..Options::NONE };
    Ends::of(
        || {
            wire.try_ask(Op::Set, &options, key, &versioned(version)).expect("it goes on");
            assert_eq!(wire.answer().1, Status::Ok as u8);
        },
        lasts,
    )
}

/// Reads a key until it is over for sure; how often it was there without asking.
fn read_until_over(
    reader: &mut Reader<'_>,
    key: &[u8],
    version: u64,
    mut ends: impl FnMut() -> Ends,
) -> usize {
    let mut hits = 0;
    loop {
        reader.look_after();
        let began = Instant::now();
        let found = match get(&mut reader.end, key) {
            Ok(found) => found,
            // Who asks makes it one that others may read.
            Err(_) => reader.get(key),
        };
        let (ended, ends) = (Instant::now(), ends());
        match found {
            Some(value) => {
                assert!(value == versioned(version), "another value");
                assert!(began < ends.latest, "read {:?} after its time", began - ends.latest);
                hits += 1;
            }
            None => {
                assert!(ended > ends.earliest, "missing {:?} before its time", ends.earliest - ended);
                if began > ends.latest {
                    return hits;
                }
            }
        }
    }
}

pub(crate) fn nothing_is_read_after_its_time(devices: &Devices) {
    let server = start(devices, |config| config.rdma.reads = true);
    let local = local(devices);
    let (mut reader, mut writer) = (Reader::new(&server, &local), Wire::new(&server, &local));
    let mut hits = 0;
    for round in 0..24u64 {
        let key = format!("key:{}", round % 5);
        let lasts = Duration::from_millis([20, 60, 150][round as usize % 3]);
        let ends = set_for(&mut writer, key.as_bytes(), round, lasts);
        if round % 4 != 3 {
            hits += read_until_over(&mut reader, key.as_bytes(), round, || ends);
            continue;
        }
        // The same item is given another end while it is read.
        let (mut ends, mut later) = (ends, Some(Duration::from_millis(90)));
        let touch_at = ends.earliest - lasts / 2;
        hits += read_until_over(&mut reader, key.as_bytes(), round, || {
            if Instant::now() >= touch_at
                && let Some(lasts) = later.take()
            {
                let options = Options { expiry: Some(Expiry::In(lasts.as_millis() as u64)), ..Options::NONE };
                let mut was_there = false;
                let other = Ends::of(
                    || {
                        writer.try_ask(Op::Expire, &options, key.as_bytes(), b"").expect("it goes on");
                        was_there = writer.answer().1 == Status::Ok as u8;
                    },
                    lasts,
                );
                assert!(was_there || Instant::now() > ends.earliest, "it went before its time");
                ends = if was_there { other } else { ends };
            }
            ends
        });
    }
    let counts = reader.counts();
    println!("{hits} found; {counts:?}");
    assert!(counts.hits > 200, "{counts:?}");
}

/// memcached's `flush_all` with a time: all that is there by then goes then.
pub(crate) fn a_delayed_flush_comes_in_its_time(devices: &Devices) {
    const DELAY: Duration = Duration::from_secs(1);
    let server = start(devices, |config| config.rdma.reads = true);
    let local = local(devices);
    let (mut reader, mut redis) = (Reader::new(&server, &local), Redis::new(&server));
    let mut memcached = Redis::new(&server);
    redis.set(0, 1);
    let ends = Ends::of(|| memcached.line("flush_all 1"), DELAY);
    // What comes before that time goes, too.
    redis.set(1, 2);
    let (mut looks, mut hits) = (0, 0);
    while Instant::now() < ends.latest + DELAY / 10 {
        looks += 1;
        for (key, version) in [("key:0", 1), ("key:1", 2)] {
            let began = Instant::now();
            match reader.get(key.as_bytes()) {
                Some(value) => {
                    assert!(
                        value == versioned(version) && began < ends.latest,
                        "{key} is there after the flush"
                    );
                    hits += 1;
                }
                None => assert!(Instant::now() > ends.earliest, "{key} went before the flush"),
            }
        }
    }
    println!("{looks} looks, {hits} found; {:?}", reader.counts());
    redis.set(0, 3);
    assert!(reader.get(b"key:0") == Some(versioned(3)) && reader.get(b"key:1").is_none());
    assert!(hits > 20 && reader.counts().hits > 20, "{:?}", reader.counts());
}
