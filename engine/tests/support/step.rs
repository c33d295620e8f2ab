//! One operation, decoded from a few bytes. Zeros are the simplest one, so that failures shrink to it.

use torc_engine::bits::Action;
use torc_engine::command::{ExpireCondition, WriteMode};

/// Bytes of an encoded step.
pub(crate) const STEP_BYTES: usize = 12;

/// An expiry, from the time of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Keep,
    Never,
    /// Milliseconds from now; negative is over.
    In(i64),
}

/// A token to compare with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Compare {
    Nothing,
    Right,
    Lower,
    Higher,
}

/// Where a written value comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Pattern(usize),
    /// A decimal number.
    Number(u64),
    /// Uploaded in slices, now.
    Upload(usize),
    /// An upload begun by an earlier step, for its key.
    Held(usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Increment(u64),
    Decrement(u64),
    Signed(i64),
    Float(f64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Read {
        key: usize,
        expiry: When,
        vivify: Option<When>,
        recache: Option<u64>,
        leases: bool,
        peek: bool,
    },
    Write {
        key: usize,
        mode: WriteMode,
        source: Source,
        flags: u32,
        expiry: When,
        compare: Compare,
        token: Option<u64>,
        vivify: Option<When>,
        invalidate: bool,
        want_old: bool,
        leases: bool,
    },
    Delete {
        key: usize,
        compare: Compare,
        token: Option<u64>,
        stale: Option<When>,
        value_only: bool,
        want_old: bool,
        leases: bool,
    },
    Count {
        key: usize,
        count: Count,
        initial: Option<(u64, When)>,
        expiry: When,
        compare: Compare,
        token: Option<u64>,
        leases: bool,
    },
    Expire {
        key: usize,
        expiry: When,
        condition: ExpireCondition,
        leases: bool,
    },
    SetRange {
        key: usize,
        offset: u64,
        len: usize,
        /// Received in slices.
        upload: bool,
    },
    /// An integer of eight bits, at any bit.
    Field {
        key: usize,
        offset: u64,
        action: Action,
    },
    /// Any bytes, as a packed value of so many.
    Unpack {
        key: usize,
        packed: [u8; 9],
        len: u32,
    },
    Advance(u64),
    Maintain(u32),
    Flush(Option<u64>),
    /// One of the databases.
    FlushDatabase {
        number: usize,
    },
    Swap,
    UploadBegin {
        key: usize,
        slot: usize,
        len: usize,
    },
    UploadFeed {
        slot: usize,
        len: usize,
    },
    UploadAbort {
        slot: usize,
    },
    Lend {
        key: usize,
        from: u64,
        to: u64,
    },
    Release,
    Scan {
        count: u32,
    },
}

/// Decodes whole steps; a rest that is shorter is left out.
pub(crate) fn decode(bytes: &[u8]) -> impl Iterator<Item = Step> + '_ {
    bytes.chunks_exact(STEP_BYTES).map(|bytes| step(bytes.try_into().expect("a chunk of that size")))
}

fn step(bytes: &[u8; STEP_BYTES]) -> Step {
    let [what, key, a, b, c, d, e, f, g, h, i, j] = *bytes;
    let key = usize::from(key);
    match what % 32 {
        6 if h & 1 == 1 => Step::Field {
            key,
            offset: u64::from(a) * [0, 1, 9, 1100][usize::from(b & 3)] + u64::from(c & 7),
            action: match d & 3 {
                0 => Action::Get,
                1 => Action::Add(i64::from(e)),
                _ => Action::Set(i64::from(e)),
            },
        },
        0..=6 => Step::Read {
            key,
            expiry: if a & 3 == 3 { when(b) } else { When::Keep },
            vivify: (c & 7 == 7).then(|| when(d)),
            recache: (e & 3 == 3).then(|| u64::from(f) * 100),
            leases: g & 1 == 1,
            peek: h & 3 == 3,
        },
        7..=16 => Step::Write {
            key,
            mode: mode(a),
            source: source(b, c, d),
            flags: if e & 3 == 3 { u32::from(e) } else { 0 },
            expiry: when(f),
            compare: compare(g),
            token: token(h),
            vivify: (i & 1 == 1 && matches!(mode(a), WriteMode::Append | WriteMode::Prepend))
                .then(|| when(i >> 1)),
            invalidate: j & 1 == 1,
            want_old: j & 2 == 2,
            leases: j & 4 == 4,
        },
        17 | 18 => Step::Delete {
            key,
            compare: compare(a),
            token: token(b),
            stale: (c & 1 == 1).then(|| when(c >> 1)),
            value_only: d & 3 == 3,
            want_old: d & 4 == 4,
            leases: d & 8 == 8,
        },
        19 | 20 => Step::Count {
            key,
            count: count(a, b),
            initial: (c & 1 == 1).then(|| (u64::from(d), when(c >> 1))),
            expiry: if e & 3 == 3 { when(e >> 2) } else { When::Keep },
            compare: compare(f),
            token: token(g),
            leases: h & 1 == 1,
        },
        21 => Step::Expire { key, expiry: when(a), condition: condition(b), leases: c & 1 == 1 },
        22 => Step::SetRange {
            key,
            offset: u64::from(a) * [0, 1, 50, 700][usize::from(b & 3)],
            len: usize::from(c) * [1, 1, 60, 400][usize::from(d & 3)],
            upload: e & 1 == 1,
        },
        23 => Step::Advance([0, 1, 10, 999, 1000, 3_000, 70_000, 600_000][usize::from(a & 7)]),
        24 if j & 1 == 1 => {
            Step::Unpack { key, packed: [a & 31, b, c, d, e, f, g, h, i], len: u32::from(j >> 1) }
        }
        24 => Step::Maintain(u32::from(a)),
        25 if a < 40 => Step::Flush((a & 3 != 0).then(|| u64::from(b) * 20)),
        25 if a < 60 => Step::FlushDatabase { number: usize::from(a & 1) },
        25 if a < 72 => Step::Swap,
        25 => Step::Release,
        26 => Step::UploadBegin { key, slot: usize::from(a & 3), len: length(b, c).max(1) },
        27 | 28 if a < 250 => Step::UploadFeed { slot: usize::from(a & 3), len: length(b, c) },
        27 | 28 => Step::UploadAbort { slot: usize::from(a & 3) },
        29 => Step::Lend { key, from: u64::from(a) * 100, to: u64::from(b) * 700 },
        30 => Step::Release,
        _ => Step::Scan { count: u32::from(a) + 1 },
    }
}

fn when(byte: u8) -> When {
    match byte & 7 {
        0..=2 => When::Never,
        3 => When::Keep,
        4 => When::In(i64::from(byte >> 3) * 40),
        5 => When::In(i64::from(byte >> 3) * 900 + 1),
        6 => When::In(i64::from(byte >> 3) * 40_000),
        _ => When::In(if byte > 128 { i64::from(byte) * 1_000_000_000 } else { -i64::from(byte) }),
    }
}

fn mode(byte: u8) -> WriteMode {
    match byte & 15 {
        0..=7 => WriteMode::Set,
        8 | 9 => WriteMode::Add,
        10 | 11 => WriteMode::Replace,
        12 | 13 => WriteMode::Append,
        _ => WriteMode::Prepend,
    }
}

fn source(kind: u8, a: u8, b: u8) -> Source {
    match kind & 15 {
        0..=8 => Source::Pattern(length(a, b)),
        9..=11 => Source::Number(if a & 1 == 1 { u64::from(b) } else { u64::MAX - u64::from(b) }),
        // An empty one, with a number appended, would be no number, and nobody sends one in slices.
        12 | 13 => Source::Upload(length(a, b).max(1)),
        _ => Source::Held(usize::from(a & 3)),
    }
}

/// Lengths of every kind: inline, about the longest inline one (16 KiB), chained, too long.
fn length(kind: u8, byte: u8) -> usize {
    let byte = usize::from(byte);
    match kind & 15 {
        0..=7 => byte,
        8 | 9 => byte * 16,
        10 => 16 * 1024 - 128 + byte,
        11 => 8 * 1024 - 128 + byte,
        12 => byte * 130,
        13 => 20_000 + byte * 100,
        14 => byte * 560,
        _ => byte * 600,
    }
}

fn compare(byte: u8) -> Compare {
    match byte & 15 {
        0..=9 => Compare::Nothing,
        10..=13 => Compare::Right,
        14 => Compare::Lower,
        _ => Compare::Higher,
    }
}

fn token(byte: u8) -> Option<u64> {
    (byte & 7 == 7).then_some(u64::from(byte) << 8)
}

fn count(kind: u8, by: u8) -> Count {
    match kind & 7 {
        0..=2 => Count::Increment(u64::from(by)),
        3 => Count::Decrement(u64::from(by)),
        4 => Count::Signed(i64::from(by) - 128),
        5 => Count::Signed(if by & 1 == 1 { i64::MAX } else { i64::MIN }),
        6 => Count::Increment(u64::MAX),
        _ => Count::Float(f64::from(by) / 4.0),
    }
}

fn condition(byte: u8) -> ExpireCondition {
    use ExpireCondition::*;
    [Always, Unset, Set, Later, Earlier, SetAndLater, SetAndEarlier, Always][usize::from(byte & 7)]
}
