//! Commands on the bits of a value.

use super::call::{Call, keyed};
use super::error::Error;
use super::reply_kind::Kind;
use super::row::Origin;
use super::several;
use crate::session::joint::{BitOperation, Joint};
use crate::session::part::Part;
use torc_engine::bits::{Action, Overflow, Step};
use torc_engine::command::{BitRange, Bits, Op, Read};
use torc_proto::resp::{BULK_BYTES_MAX, parse_i64};

type Parts<'p, 'a> = &'p mut Vec<Part<'a>>;

pub(super) fn getbit<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let key = call.key(1)?;
    one_bit(key, call, Action::Get, parts)
}

pub(super) fn setbit<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let key = call.key(1)?;
    offset(call.argument(2), None)?;
    let bit = parse_i64(call.argument(3)).filter(|bit| matches!(bit, 0 | 1)).ok_or(Error::Bit)?;
    one_bit(key, call, Action::Set(bit), parts)
}

fn one_bit<'a>(
    key: &'a [u8],
    call: &Call<'_, 'a>,
    action: Action,
    parts: Parts<'_, 'a>,
) -> Result<(), Error> {
    let offset = offset(call.argument(2), None)?;
    let step = Step { action, overflow: Overflow::Wrap, is_signed: false, bits: 1, offset };
    parts.push(keyed(key, fields(call, &[step])?, Kind::Field));
    Ok(())
}

fn fields<'a>(call: &Call<'_, 'a>, steps: &[Step]) -> Result<Op<'a>, Error> {
    let ends = steps.iter().filter(|step| step.writes()).map(|step| step.bytes().end);
    if ends.max().is_some_and(|end| end > call.limits.value_bytes_max) {
        return Err(Error::ValueTooLong);
    }
    let mut packed = Vec::new();
    steps.iter().for_each(|step| step.pack(&mut packed));
    let writes = steps.iter().any(Step::writes);
    Ok(Op::Bits(Bits::Fields { steps: call.scratch.keep(&packed), writes }))
}

/// A place among bits. `bits`: a `#` counts integers of so many.
fn offset(word: &[u8], bits: Option<u8>) -> Result<u64, Error> {
    let number = match (word, bits) {
        ([b'#', digits @ ..], Some(bits)) => parse_i64(digits).map(|number| number.wrapping_mul(bits.into())),
        _ => parse_i64(word),
    };
    let number = number.and_then(|number| u64::try_from(number).ok());
    number.filter(|number| number / 8 < BULK_BYTES_MAX).ok_or(Error::BitOffset)
}

pub(super) fn bitcount<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let asked = count_range(call).map(|range| Bits::Count { range });
    unless_missing(call, asked, 0, parts)
}

/// Redis looks for the key before the range: without one, a wrong range is no error.
fn unless_missing<'a>(
    call: &Call<'_, 'a>,
    asked: Result<Bits<'a>, Error>,
    missing: i64,
    parts: Parts<'_, 'a>,
) -> Result<(), Error> {
    let key = call.key(1)?;
    parts.push(match asked {
        Ok(bits) => keyed(key, Op::Bits(bits), Kind::NumberElse(missing)),
        Err(error) => {
            let look = Op::Read(Read { peek: true, ..Read::default() });
            keyed(key, look, Kind::ErrorElse(missing, error))
        }
    });
    Ok(())
}

fn count_range(call: &Call<'_, '_>) -> Result<Option<BitRange>, Error> {
    match call.len() {
        2 => Ok(None),
        4 | 5 => {
            let (start, end) = (call.integer(2)?, call.integer(3)?);
            Ok(Some(BitRange { start, end, by_bits: unit(call, 4)? }))
        }
        _ => Err(Error::Syntax),
    }
}

/// Whether a range counts bits.
fn unit(call: &Call<'_, '_>, index: usize) -> Result<bool, Error> {
    match call.argument(index) {
        [] if call.len() == index => Ok(false),
        word if word.eq_ignore_ascii_case(b"BIT") => Ok(true),
        word if word.eq_ignore_ascii_case(b"BYTE") => Ok(false),
        _ => Err(Error::Syntax),
    }
}

pub(super) fn bitpos<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let bit = match call.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(Error::BitArgument),
    };
    unless_missing(call, find_range(call, bit), if bit { -1 } else { 0 }, parts)
}

fn find_range<'a>(call: &Call<'_, '_>, bit: bool) -> Result<Bits<'a>, Error> {
    if call.len() == 3 {
        return Ok(Bits::Find { bit, start: 0, end: None, by_bits: false });
    }
    if call.len() > 6 {
        return Err(Error::Syntax);
    }
    let start = call.integer(3)?;
    let by_bits = if call.len() == 6 { unit(call, 5)? } else { false };
    let end = if call.len() > 4 { Some(call.integer(4)?) } else { None };
    Ok(Bits::Find { bit, start, end, by_bits })
}

pub(super) fn bitfield<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let steps = steps(call)?;
    parts.push(keyed(call.key(1)?, fields(call, &steps)?, Kind::Fields));
    Ok(())
}

pub(super) fn bitfield_ro<'a>(call: &Call<'_, 'a>, parts: Parts<'_, 'a>) -> Result<(), Error> {
    let steps = steps(call)?;
    if steps.iter().any(Step::writes) {
        return Err(Error::BitfieldReadOnly);
    }
    parts.push(keyed(call.key(1)?, fields(call, &steps)?, Kind::Fields));
    Ok(())
}

fn steps(call: &Call<'_, '_>) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut index = 2;
    while index < call.len() {
        let behind = call.len() - index - 1;
        let is = |name: &str| call.argument(index).eq_ignore_ascii_case(name.as_bytes());
        let words = match () {
            () if is("GET") && behind >= 2 => 3,
            () if (is("SET") || is("INCRBY")) && behind >= 3 => 4,
            () if is("OVERFLOW") && behind >= 1 => {
                overflow = overflow_of(call.argument(index + 1))?;
                index += 2;
                continue;
            }
            () => return Err(Error::Syntax),
        };
        let (is_signed, bits) = integer_of(call.argument(index + 1)).ok_or(Error::BitfieldType)?;
        let offset = offset(call.argument(index + 2), Some(bits))?;
        let action = match words {
            3 => Action::Get,
            _ if is("SET") => Action::Set(call.integer(index + 3)?),
            _ => Action::Add(call.integer(index + 3)?),
        };
        steps.push(Step { action, overflow, is_signed, bits, offset });
        index += words;
    }
    Ok(steps)
}

fn overflow_of(word: &[u8]) -> Result<Overflow, Error> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("WRAP") => Ok(Overflow::Wrap),
        () if is("SAT") => Ok(Overflow::Saturate),
        () if is("FAIL") => Ok(Overflow::Fail),
        () => Err(Error::OverflowType),
    }
}

/// An integer like `i16` or `u8`: whether it is signed, and its bits.
fn integer_of(word: &[u8]) -> Option<(bool, u8)> {
    let (sign, digits) = word.split_first()?;
    let is_signed = match sign {
        b'i' => true,
        b'u' => false,
        _ => return None,
    };
    let bits = u8::try_from(parse_i64(digits)?).ok()?;
    let most = if is_signed { 64 } else { 63 };
    (1..=most).contains(&bits).then_some((is_signed, bits))
}

/// `BITOP operation destination key ...`; the later operations are those of Redis 8.2.
pub(super) fn bitop(call: &Call<'_, '_>, _: Origin) -> Result<Joint, Error> {
    const OPERATIONS: [(&str, BitOperation); 8] = [
        ("AND", BitOperation::And),
        ("OR", BitOperation::Or),
        ("XOR", BitOperation::Xor),
        ("NOT", BitOperation::Not),
        ("DIFF", BitOperation::Diff),
        ("DIFF1", BitOperation::Diff1),
        ("ANDOR", BitOperation::AndOr),
        ("ONE", BitOperation::One),
    ];
    let word = call.argument(1);
    let found = OPERATIONS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let &(name, operation) = found.ok_or(Error::Syntax)?;
    match (operation, call.len() - 3) {
        (BitOperation::Not, 2..) => return Err(Error::SeveralSources),
        (BitOperation::Diff | BitOperation::Diff1 | BitOperation::AndOr, 1) => {
            return Err(Error::FewSources(name));
        }
        _ => {}
    }
    several::check(call)?;
    Ok(Joint::Combine(operation))
}
