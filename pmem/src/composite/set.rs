//! Whether media are the members of one tier.

use std::collections::BTreeSet;
use thiserror::Error;

use super::Label;
use crate::format::label::LABELS;
use crate::format::superblock::{Refused, SUPERBLOCKS, Superblock};
use crate::media::{BLOCK_BYTES, MediaError, Medium, blocks_of, bytes, zeroed};

/// Why media are not the members of one tier.
#[derive(Debug, Error)]
pub enum SetError {
    #[error("they hold no tier")]
    Blank,
    #[error("{name} is a tier of its own, and no member of one that lies on several media")]
    Alone { name: String },
    #[error("{name} cannot be a member of the tier: {source}")]
    Refused { name: String, source: Refused },
    #[error("{name} was made for {recorded} bytes and has {found}")]
    Size { name: String, recorded: u64, found: u64 },
    #[error(
        "member {number} of {of} is missing: {name} holds nothing, and {other} is of a tier that is there"
    )]
    Missing { name: String, number: u16, of: u16, other: String },
    #[error("{name} is a member of another tier than {other}")]
    Foreign { name: String, other: String },
    #[error("{name} is member {number} of {of}, and {given} are given")]
    Count { name: String, number: u16, of: u16, given: usize },
    #[error("{name} and {other} are both member {number} of {of}: one is a copy of the other")]
    Twice { name: String, other: String, number: u16, of: u16 },
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// What lies on a medium that may be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing was ever kept on it.
    Blank,
    /// `holds`: a superblock lies behind the label, as it does on the first member of a tier that holds something.
    Member {
        label: Label,
        holds: bool,
    },
    /// A tier that lies on it alone.
    Alone,
    Other(Refused),
}

/// What comes of what lies on several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: a tier may be made.
    Blank,
    /// All members of one tier: by number, which of those that were given it is.
    Whole { order: Vec<usize>, extent_bytes: u64 },
}

/// Looks at the labels of a medium.
///
/// # Errors
/// The medium's; [`SetError::Size`].
pub fn look(name: &str, medium: &dyn Medium) -> Result<Look, SetError> {
    let mut blocks = zeroed((LABELS + SUPERBLOCKS) as usize);
    // What is shorter, as when it was being made, has zeros behind its end.
    let there = blocks.len().min(blocks_of(medium.bytes() as usize));
    medium.read(0, &mut blocks[..there])?;
    let (labels, superblocks) = bytes(&blocks).split_at(LABELS as usize * BLOCK_BYTES);
    let (labels, superblocks) = (labels.split_at(BLOCK_BYTES), superblocks.split_at(BLOCK_BYTES));
    if let Some(label) = Label::decode(labels.0).or_else(|| Label::decode(labels.1)) {
        let found = medium.bytes();
        if found != label.bytes {
            return Err(SetError::Size { name: name.into(), recorded: label.bytes, found });
        }
        let holds = Superblock::newer([superblocks.0, superblocks.1]) != Err(Refused::Empty);
        return Ok(Look::Member { label, holds });
    }
    Ok(match Superblock::newer([labels.0, labels.1]) {
        Ok(_) => Look::Alone,
        Err(Refused::Empty) => Look::Blank,
        // The second label is written first.
        Err(_) if is_zero(labels.0) && Label::is_torn(labels.1) => Look::Blank,
        Err(refused) => Look::Other(refused),
    })
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Says what comes of what lies on several media, with the name of each.
///
/// # Errors
/// [`SetError`].
pub fn judge(looks: &[(String, Look)]) -> Result<Verdict, SetError> {
    let mut labels: Vec<(usize, &str, Label)> = Vec::new();
    let mut holds = false;
    for (place, (name, look)) in looks.iter().enumerate() {
        let name = name.as_str();
        match look {
            Look::Blank => {}
            Look::Alone => return Err(SetError::Alone { name: name.into() }),
            Look::Other(source) => {
                return Err(SetError::Refused { name: name.into(), source: source.clone() });
            }
            Look::Member { label, holds: has } => {
                // Whether the set holds something is known by its first member alone.
                holds |= label.number == 0 && *has;
                labels.push((place, name, *label));
            }
        }
    }
    labels.sort_by_key(|(_, _, label)| label.number);
    let Some((_, first_name, first)) = labels.first().copied() else { return Ok(Verdict::Blank) };
    for pair in labels.windows(2) {
        let [(_, other, before), (_, name, label)] = [pair[0], pair[1]];
        let (name, other, Label { number, of, .. }) = (name.to_owned(), other.to_owned(), label);
        if (label.set, of) != (before.set, before.of) {
            return Err(SetError::Foreign { name, other });
        }
        if number == before.number {
            return Err(SetError::Twice { name, other, number: number + 1, of });
        }
    }
    if usize::from(first.of) != looks.len() {
        let (number, of) = (first.number + 1, first.of);
        return Err(SetError::Count { name: first_name.into(), number, of, given: looks.len() });
    }
    if labels.len() == looks.len() {
        let order = labels.iter().map(|(place, ..)| *place).collect();
        return Ok(Verdict::Whole { order, extent_bytes: u64::from(first.extent_bytes) });
    }
    if first.number == 0 && !holds {
        // The first label of a set is the first to be written, and the last to go.
        return Ok(Verdict::Blank);
    }
    Err(missing(looks, &labels, first_name))
}

/// The first one that is missing, and the path that holds nothing.
fn missing(looks: &[(String, Look)], labels: &[(usize, &str, Label)], other: &str) -> SetError {
    let numbers: BTreeSet<u16> = labels.iter().map(|(_, _, label)| label.number).collect();
    let number = (0..).find(|number| !numbers.contains(number)).unwrap_or_default();
    let blank = looks.iter().find(|(_, look)| *look == Look::Blank);
    let name = blank.map(|(name, _)| name.clone()).unwrap_or_default();
    SetError::Missing { name, number: number + 1, of: looks.len() as u16, other: other.into() }
}
