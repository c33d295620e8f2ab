//! Integers in values, and packed values that may be any bytes.

use super::super::model::{Expected, Write};
use super::Run;
use super::compare::Seen;
use torc_engine::bits::{Action, Overflow, Step};
use torc_engine::command::{Bits, Expiry, Op, Read, Refusal, Unpack, WriteMode};

impl Run {
    /// An integer of eight bits, which may lie across two bytes.
    pub(super) fn field(&mut self, key: &[u8], offset: u64, action: Action) {
        let step = Step { action, overflow: Overflow::Wrap, is_signed: false, bits: 8, offset };
        let mut steps = Vec::new();
        step.pack(&mut steps);
        let before = self.model.entries.get(key).cloned();
        let there = self.model.live(key, self.now).filter(|entry| !entry.placeholder);
        let old = there.map(|entry| entry.value.clone()).unwrap_or_default();
        let (first, shift) = ((offset / 8) as usize, offset % 8);
        let byte = |at: usize| u16::from(old.get(at).copied().unwrap_or_default());
        let pair = byte(first) << 8 | byte(first + 1);
        let number = pair >> (8 - shift) & 0xFF;
        let new = match action {
            Action::Get => number,
            Action::Set(to) => to as u16 & 0xFF,
            Action::Add(by) => number.wrapping_add(by as u16) & 0xFF,
        };
        let end = first + if shift == 0 { 1 } else { 2 };
        let pair = pair & !(0xFF << (8 - shift)) | new << (8 - shift);
        let is_same = new == number && end <= old.len();
        let mut expected = Expected::Fields(Vec::new());
        if action != Action::Get && !is_same {
            let bytes = &pair.to_be_bytes()[..end - first];
            let stored = self.model.set_range(key, first as u64, bytes, self.now);
            if matches!(stored, Expected::Refused(_)) {
                expected = stored;
            }
        }
        if let Expected::Fields(results) = &mut expected {
            let result = if let Action::Add(_) = action { new } else { number };
            results.push(if action != Action::Get && !is_same { 3 } else { 1 });
            results.extend_from_slice(&i64::from(result).to_le_bytes());
        }
        let writes = action != Action::Get;
        self.compare_with(key, Op::Bits(Bits::Fields { steps: &steps, writes }), expected, before);
        // It may have counted as a read.
        if let Some(entry) = self.model.entries.get_mut(key) {
            entry.fetched = None;
        }
    }

    /// Packed bytes that are any: they come to a value of the length that was said, or to nothing.
    pub(super) fn unpack(&mut self, key: &[u8], packed: &[u8], len: u32) {
        let ask = Unpack { packed, len, mode: WriteMode::Set, expiry: Expiry::Never };
        match self.ask(key, Op::Unpack(ask)) {
            Seen::Refused(Refusal::BadPacked) => {}
            Seen::Refused(Refusal::OutOfMemory) if !self.exact => {}
            Seen::Stored(meta, None) => {
                self.rise(meta.version);
                let read = Read { peek: true, ..Read::default() };
                let Seen::Item(_, value) = self.ask(key, Op::Read(read)) else {
                    panic!("it was just stored")
                };
                assert_eq!(value.len(), len as usize);
                let (flags, expiry) = (0, Expiry::Never);
                let write =
                    Write { mode: WriteMode::Set, value, complete: true, flags, expiry, ..Write::default() };
                self.model.write(key, write, self.now);
                self.learn(key, &meta);
            }
            seen => panic!("{seen:?} of packed bytes"),
        }
    }
}
