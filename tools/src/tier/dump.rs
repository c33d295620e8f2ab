//! `torc tier dump`: lists what the tables of a tier hold.

use super::walk::{self, Met, Piece};
use crate::exit::{self, Failure};
use serde_json::{Value, json};
use torc_engine::bytes::Bytes;
use torc_engine::item::{HEADER_BYTES, ItemRef};
use torc_engine::version;
use torc_pmem::format::batch::Part;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::recover::Lost;
use torc_pmem::stream::{Miss, Reader};
use torc_pmem::tier::Tier;

/// So much is gathered before it is printed, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A record with what the page says of its item.
struct Listed<'r> {
    piece: Piece,
    record: &'r Record,
    place: Option<Place>,
    /// Key and bytes of the value as they lie there; of a mark there are none.
    item: Option<Result<(String, usize), String>>,
}

pub(super) fn run(tier: &Tier, is_json: bool) -> Result<(), Failure> {
    let (mut reader, mut text) = (tier.reader(), String::new());
    for piece in walk::pieces(tier) {
        let mut visit = |met: Met<'_>| {
            match met {
                Met::Lost(lost) => text += &lost_line(piece, lost, is_json),
                Met::Part(part, records) => text += &part_line(piece, part, records, is_json),
                Met::Records(records) => {
                    for listed in list(&mut reader, piece, records)? {
                        text += &if is_json { listed.json() } else { listed.line() };
                    }
                }
            }
            if text.len() >= PIECE_BYTES {
                exit::print(&std::mem::take(&mut text))?;
            }
            Ok(())
        };
        walk::stream(tier, piece, &mut visit)?;
    }
    exit::print(&text)
}

/// Reads the page of some records once.
fn list<'r>(
    reader: &mut Reader,
    piece: Piece,
    records: &'r [(Record, Option<Place>)],
) -> Result<Vec<Listed<'r>>, Failure> {
    let listed =
        |(record, place): &'r (Record, Option<Place>), item| Listed { piece, record, place: *place, item };
    let Some(place) = records.first().and_then(|(_, place)| *place) else {
        return Ok(records.iter().map(|record| listed(record, None)).collect());
    };
    let page = match reader.page(place) {
        Ok(page) => Ok(page),
        Err(Miss::Corrupt(bad)) => Err(bad.to_string()),
        Err(Miss::Media(error)) => return Err(Failure::failed(error)),
    };
    let item = |place: Option<Place>| {
        let (page, place) = (page.as_ref().map_err(Clone::clone)?, place.ok_or("it has no place")?);
        decode(page.item(place.ordinal()).map_err(|bad| bad.to_string())?)
    };
    Ok(records.iter().map(|record| listed(record, Some(item(record.1)))).collect())
}

/// Key and length of the value of an item.
fn decode(bytes: &[u8]) -> Result<(String, usize), String> {
    let item = (bytes.len() >= HEADER_BYTES).then(|| ItemRef::new(Bytes::from(bytes)));
    let item = item.filter(|item| item.item_len() <= bytes.len()).ok_or("the item is not one of Torc's")?;
    Ok((item.key().to_vec().escape_ascii().to_string(), item.value_len()))
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Item => "item",
        Kind::ChainHead => "chain-head",
        Kind::Chunk => "chunk",
        Kind::Tombstone => "tombstone",
        Kind::Flush => "flush",
        Kind::FlushAll => "flush-all",
        Kind::Packed => "packed",
    }
}

impl Listed<'_> {
    fn line(&self) -> String {
        let Record { hash, version, space, .. } = *self.record;
        let slots = self.record.slots();
        let mut line = format!("{}  {:<10}  version {version}", self.piece, kind_word(self.record.kind));
        line += &match slots.start() == slots.end() {
            true => format!("  slot {:<5}", slots.start()),
            false => format!("  slots {}-{}", slots.start(), slots.end()),
        };
        if space != 0 {
            line += &format!("  space {space}");
        }
        if let Some(end) = self.record.ends_at() {
            line += &format!("  expires {end}");
        }
        if slots.start() == slots.end() {
            line += &format!("  hash {hash:016x}");
        }
        line += &match &self.item {
            None => String::new(),
            Some(Ok((key, value))) => format!("  {value} bytes  \"{key}\""),
            Some(Err(bad)) => format!("  lost: {bad}"),
        };
        line + "\n"
    }

    fn json(&self) -> String {
        let Record { hash, version, space, kind, .. } = *self.record;
        let slots = self.record.slots();
        let mut object = json!({
            "stream": self.piece.stream,
            "journal": self.piece.is_journal,
            "kind": kind_word(kind),
            "version": version,
            "changed_ms": version::millis(version),
            "space": space,
            "slots": [slots.start(), slots.end()],
        });
        if !matches!(kind, Kind::Flush | Kind::FlushAll) {
            object["hash"] = json!(format!("{hash:016x}"));
        }
        if let Some(end) = self.record.ends_at() {
            object["expiry_ms"] = json!(end);
        }
        if let Some(place) = self.place {
            object["place"] = json!(place.to_bits());
        }
        match &self.item {
            None => {}
            Some(Ok((key, value))) => {
                object["key"] = json!(key);
                object["value_bytes"] = json!(value);
            }
            Some(Err(bad)) => object["lost"] = json!(bad),
        }
        format!("{object}\n")
    }
}

fn part_line(piece: Piece, part: Part, records: u32, is_json: bool) -> String {
    let Part { below, number, is_last } = part;
    if is_json {
        return format!(
            "{}\n",
            json!({ "stream": piece.stream, "journal": piece.is_journal, "kind": "snapshot", "below": below, "part": number, "last": is_last, "records": records })
        );
    }
    let last = if is_last { ", the last" } else { "" };
    format!(
        "{piece}  snapshot    of what is below position {below}  part {number}{last}  {records} records\n"
    )
}

fn lost_line(piece: Piece, lost: &Lost, is_json: bool) -> String {
    let Lost { slots, version, .. } = lost;
    let version = Some(*version).filter(|version| *version != u64::MAX);
    if is_json {
        let slots = Value::from(vec![*slots.start(), *slots.end()]);
        return format!(
            "{}\n",
            json!({ "stream": piece.stream, "journal": piece.is_journal, "kind": "damage", "version": version, "slots": slots })
        );
    }
    if slots.is_empty() {
        return format!("{piece}  damage  a part of a snapshot\n");
    }
    let version = version.map(|version| format!("  version {version} or lower")).unwrap_or_default();
    format!("{piece}  damage{version}  slots {}-{}\n", slots.start(), slots.end())
}
