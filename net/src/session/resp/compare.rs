//! LCS: what two values have in common.

use super::call::Call;
use super::error::Error;
use super::row::Origin;
use super::several;
use crate::session::joint::{Compare, Joint, Stretch};
use torc_proto::resp::compose::{self, Version};

pub(super) fn lcs(call: &Call<'_, '_>, _: Origin) -> Result<Joint, Error> {
    several::check(call)?;
    let (mut length, mut stretches, mut with_lengths, mut bytes_min) = (false, false, false, 0);
    let mut index = 3;
    while index < call.len() {
        let is = |name: &str| call.argument(index).eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("IDX") => stretches = true,
            () if is("LEN") => length = true,
            () if is("WITHMATCHLEN") => with_lengths = true,
            () if is("MINMATCHLEN") && index + 1 < call.len() => {
                index += 1;
                bytes_min = u64::try_from(call.integer(index)?).unwrap_or_default();
            }
            () => return Err(Error::Syntax),
        }
        index += 1;
    }
    match (length, stretches) {
        (true, true) => Err(Error::LengthAndStretches),
        (true, false) => Ok(Joint::Compare(Compare::Length)),
        (false, true) => Ok(Joint::Compare(Compare::Stretches { bytes_min, with_lengths })),
        (false, false) => Ok(Joint::Compare(Compare::Bytes)),
    }
}

/// Writes what was found: its length, and as `found` its bytes, or its stretches.
pub(super) fn write(asked: Compare, (length, found): (u64, &[u8]), version: Version, out: &mut Vec<u8>) {
    let with_lengths = match asked {
        Compare::Length => return compose::integer(out, length as i64),
        Compare::Bytes => return compose::bulk(out, found),
        Compare::Stretches { with_lengths, .. } => with_lengths,
    };
    let stretches = Stretch::each(found);
    compose::map(out, 2, version);
    compose::bulk(out, b"matches");
    compose::array(out, stretches.len());
    for Stretch { starts, len } in stretches {
        compose::array(out, if with_lengths { 3 } else { 2 });
        for start in starts {
            compose::array(out, 2);
            compose::integer(out, start.into());
            compose::integer(out, i64::from(start) + i64::from(len) - 1);
        }
        if with_lengths {
            compose::integer(out, len.into());
        }
    }
    compose::bulk(out, b"len");
    compose::integer(out, length as i64);
}
