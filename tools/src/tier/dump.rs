//! `torc tier dump`: lists what the tables of a tier hold.

use super::walk::{self, Met, Part};
use crate::exit::{self, Failure};
use serde_json::{Value, json};
use torc_engine::bytes::Bytes;
use torc_engine::item::{HEADER_BYTES, ItemRef};
use torc_engine::version;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::recover::Lost;
use torc_pmem::stream::{Miss, Reader};
use torc_pmem::tier::Tier;

/// So much is gathered before it is printed, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A record with what the page says of its item.
struct Listed<'r> {
    part: Part,
    record: &'r Record,
    place: Option<Place>,
    /// Key and bytes of the value as they lie there; of a mark there are none.
    item: Option<Result<(String, usize), String>>,
}

pub(super) fn run(tier: &Tier, is_json: bool) -> Result<(), Failure> {
    let (mut reader, mut text) = (tier.reader(), String::new());
    for part in walk::parts(tier) {
        let mut visit = |met: Met<'_>| {
            match met {
                Met::Lost(lost) => text += &lost_line(part, lost, is_json),
                Met::Records(records) => {
                    for listed in list(&mut reader, part, records)? {
                        text += &if is_json { listed.json() } else { listed.line() };
                    }
                }
            }
            if text.len() >= PIECE_BYTES {
                exit::print(&std::mem::take(&mut text))?;
            }
            Ok(())
        };
        walk::stream(tier, part, &mut visit)?;
    }
    exit::print(&text)
}

/// Reads the page of some records once.
fn list<'r>(
    reader: &mut Reader,
    part: Part,
    records: &'r [(Record, Option<Place>)],
) -> Result<Vec<Listed<'r>>, Failure> {
    let listed =
        |(record, place): &'r (Record, Option<Place>), item| Listed { part, record, place: *place, item };
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
        let mut line = format!("{}  {:<10}  version {version}", self.part, kind_word(self.record.kind));
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
            "stream": self.part.stream,
            "journal": self.part.is_journal,
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

fn lost_line(part: Part, lost: &Lost, is_json: bool) -> String {
    let Lost { slots, version, .. } = lost;
    let version = Some(*version).filter(|version| *version != u64::MAX);
    if is_json {
        let slots = Value::from(vec![*slots.start(), *slots.end()]);
        return format!(
            "{}\n",
            json!({ "stream": part.stream, "journal": part.is_journal, "kind": "damage", "version": version, "slots": slots })
        );
    }
    let version = version.map(|version| format!("  version {version} or lower")).unwrap_or_default();
    format!("{part}  damage{version}  slots {}-{}\n", slots.start(), slots.end())
}
