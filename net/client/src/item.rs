//! What answers mean: items and the results of changes.

use crate::Error;
use crate::call::Reply;
use torc_proto::native::extension::ItemMeta;
use torc_proto::native::{Status, marks};

/// An item that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Empty for a placeholder whose lease was [`Lease::Won`] or [`Lease::Given`], and after `without_value`.
    pub value: Vec<u8>,
    /// For compare-and-swap.
    pub token: u64,
    pub flags: u32,
    /// It is marked stale.
    pub stale: bool,
    /// It had been read before.
    pub fetched: bool,
    pub lease: Lease,
    /// If asked for with `with_meta`.
    pub meta: Option<ItemMeta>,
}

/// Who shall fetch the new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lease {
    /// Nobody: the item is good.
    #[default]
    None,
    /// We.
    Won,
    /// Somebody else has been asked to.
    Given,
}

impl Item {
    fn of(reply: Reply) -> Item {
        let Reply { header, facts, value } = reply;
        let lease = match header.marks & (marks::WON | marks::GIVEN) {
            0 => Lease::None,
            marks if marks & marks::WON != 0 => Lease::Won,
            _ => Lease::Given,
        };
        Item {
            value,
            token: header.token,
            flags: facts.client_flags,
            stale: header.marks & marks::STALE != 0,
            fetched: header.marks & marks::FETCHED != 0,
            lease,
            meta: facts.item,
        }
    }
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// As asked.
    Done,
    /// There is no such item.
    Missing,
    /// The item is there (add) or is not (replace, append, prepend).
    NotStored,
    /// The item has another token.
    TokenMismatch,
    /// The condition of a touch does not hold.
    Unchanged,
}

/// The answer to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub done: Done,
    /// The new item's token, 0 if there is none.
    pub token: u64,
    /// The item that was there before, if it was asked for and there was one.
    pub old: Option<Item>,
    /// The change was repeated after a lost connection, and the old item, if there was one, is not known any more.
    pub old_lost: bool,
    /// The new item's, if asked for with `with_meta`.
    pub meta: Option<ItemMeta>,
}

impl Changed {
    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        self.done == Done::Done
    }
}

pub(crate) fn found(reply: Reply) -> Result<Option<Item>, Error> {
    Ok(match reply.accepted()? {
        Status::Miss => None,
        _ => Some(Item::of(reply)),
    })
}

pub(crate) fn changed(reply: Reply) -> Result<Changed, Error> {
    let done = done(reply.accepted()?);
    let (token, meta) = (reply.header.token, reply.facts.item);
    let old_lost = reply.header.marks & marks::OLD_LOST != 0;
    let old = (reply.header.marks & marks::OLD != 0).then(|| Item::of(reply));
    Ok(Changed { done, token, old, old_lost, meta })
}

/// The new number of a counter, as 64 bits of its type.
pub(crate) fn counted(reply: Reply) -> Result<Option<u64>, Error> {
    match done(reply.accepted()?) {
        Done::Missing => Ok(None),
        Done::TokenMismatch => Err(Error::TokenMismatch),
        _ => match <[u8; 8]>::try_from(&reply.value[..]) {
            Ok(raw) => Ok(Some(u64::from_le_bytes(raw))),
            Err(_) => Err(Error::Protocol("a counter of another length than 8 bytes".into())),
        },
    }
}

fn done(status: Status) -> Done {
    match status {
        Status::Miss => Done::Missing,
        Status::NotStored => Done::NotStored,
        Status::Exists => Done::TokenMismatch,
        Status::Untouched => Done::Unchanged,
        _ => Done::Done,
    }
}
