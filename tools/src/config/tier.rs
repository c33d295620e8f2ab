//! The settings of a second tier.

use super::value::{self, show_cpus, show_durability};
use super::{ConfigError, Parse, Reader, Size, one_of, round};
use crate::machine::Machine;
use torc_net::tier::{Durability, ReadsChoice, Snapshots, TierConfig, TierMember, TierPath, sizes};
use torc_pmem::format::label::MEMBERS_MAX;

/// What `auto` keeps of a tier's pages is this share of the memory, and what may be asked for at most.
const TIER_CACHE_SHARE: u64 = 32;
const TIER_CACHE_SHARE_MOST: u64 = 4;
/// Half of the largest batch.
const TIER_JOURNAL_MOST: u64 = 512 << 10;

/// Each snapshot that is made while a stream is written over takes room of items.
const SNAPSHOTS_MOST: u64 = 16;
/// Eight bytes a key and a third beside.
const SNAPSHOT_MEMORY: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 30;

/// What `--tier-reads` may be.
const TIER_READS: [(&str, ReadsChoice); 3] =
    [("auto", ReadsChoice::Auto), ("uring", ReadsChoice::Uring), ("threads", ReadsChoice::Threads)];

impl Reader<'_> {
    pub(super) fn tier(
        &mut self,
        memory_bytes: u64,
        machine: &Machine,
    ) -> Result<Option<TierConfig>, ConfigError> {
        let (path, bytes) = self.tier_place()?;
        let show = |durability: &Durability| show_durability(*durability);
        let durability = self.one("durability", value::durability, show)?;
        let reads_wait = self.one("tier-recovery", tier_recovery, |reads_wait| {
            if *reads_wait { "wait".into() } else { "miss".into() }
        })?;
        let resets = self.one("tier-on-mismatch", tier_on_mismatch, |resets| {
            if *resets { "reset".into() } else { "refuse".into() }
        })?;
        let Size(journal_bytes) = self.one("tier-journal", tier_journal, |size| size.to_string())?;
        let snapshots = self.tier_snapshots()?;
        let cache_bytes = self.tier_cache(memory_bytes)?;
        let index_percent = self.one("tier-index-share", index_percent, |percent| format!("{percent}%"))?;
        let reads = self.one(
            "tier-reads",
            |text| one_of(text, &TIER_READS),
            |reads| {
                let named = TIER_READS.iter().find(|(_, choice)| choice == reads);
                named.map_or(String::new(), |(name, _)| (*name).into())
            },
        )?;
        let cpus = match self.text("storage-cpus") {
            "any" => Vec::new(),
            _ => self.allowed_cpus("storage-cpus", machine)?,
        };
        self.note("storage-cpus", if cpus.is_empty() { "any".into() } else { show_cpus(&cpus) }, "");
        Ok(path.map(|path| TierConfig {
            path,
            bytes,
            durability,
            cache_bytes,
            journal_bytes,
            snapshots,
            reads_wait,
            resets,
            reads,
            cpus,
            index_percent,
        }))
    }

    /// Where the tier lies, and its size if it is one file or memory.
    fn tier_place(&mut self) -> Result<(Option<TierPath>, Option<u64>), ConfigError> {
        let given = self.tier_sizes()?;
        let texts = self.texts["tier"].texts.clone();
        if let [_] = texts[..] {
            let path = self.one("tier", value::tier_path, |path| match path {
                None => "off".into(),
                Some(TierPath::Memory) => "memory".into(),
                Some(TierPath::File(path)) => path.display().to_string(),
                Some(TierPath::Members(_)) => String::new(),
            })?;
            if given.len() > 1 {
                return Err(self.error("tier-size", "are several sizes, and there is one --tier"));
            }
            if path == Some(TierPath::Memory) && given.is_empty() {
                return Err(self.error("tier-size", "is not possible with --tier memory: give a size"));
            }
            self.note_tier_size(&given);
            return Ok((path, given.first().copied()));
        }
        let mut members: Vec<TierMember> = Vec::new();
        for text in &texts {
            match value::tier_path(text).map_err(|reason| self.error("tier", reason))? {
                Some(TierPath::File(path)) if members.iter().any(|member| member.path == path) => {
                    return Err(self.error("tier", format!("has {} twice", path.display())));
                }
                Some(TierPath::File(path)) => members.push(TierMember { path, bytes: None }),
                _ => return Err(self.error("tier", "has several values, so each has to be a path")),
            }
        }
        if members.len() > usize::from(MEMBERS_MAX) {
            return Err(self.error("tier", format!("has more than {MEMBERS_MAX} paths")));
        }
        if !given.is_empty() {
            let words = "has neither one size for all of --tier nor one for each";
            let sizes = sizes(members.len(), &given).ok_or_else(|| self.error("tier-size", words))?;
            members.iter_mut().zip(sizes).for_each(|(member, bytes)| member.bytes = Some(bytes));
        }
        self.note("tier", texts.join(":"), "");
        self.note_tier_size(&given);
        Ok((Some(TierPath::Members(members)), None))
    }

    /// The sizes that are given; none: `auto`.
    fn tier_sizes(&self) -> Result<Vec<u64>, ConfigError> {
        const NAME: &str = "tier-size";
        if self.texts[NAME].texts.len() == 1 && self.is_auto(NAME) {
            return Ok(Vec::new());
        }
        let texts = self.texts[NAME].texts.iter();
        let sizes = texts.map(|text| value::size(text).map(|Size(bytes)| bytes));
        sizes.collect::<Parse<_>>().map_err(|reason| self.error(NAME, reason))
    }

    fn note_tier_size(&mut self, given: &[u64]) {
        let shown: Vec<String> = given.iter().map(|bytes| Size(*bytes).to_string()).collect();
        self.note("tier-size", if shown.is_empty() { "auto".into() } else { shown.join(",") }, "");
    }

    fn tier_snapshots(&mut self) -> Result<Snapshots, ConfigError> {
        let a_lap = self.one("tier-snapshots", snapshots_a_lap, u64::to_string)?;
        let Size(memory_bytes) =
            self.one("tier-snapshot-memory", snapshot_memory, |size| size.to_string())?;
        Ok(Snapshots {
            a_lap,
            memory_bytes,
            least_bytes: Snapshots::LEAST_BYTES,
            dead_percent: Snapshots::DEAD_PERCENT,
            share_percent: Snapshots::SHARE_PERCENT,
        })
    }

    fn tier_cache(&mut self, memory_bytes: u64) -> Result<u64, ConfigError> {
        const NAME: &str = "tier-cache";
        let (bytes, why) = if self.is_auto(NAME) {
            (round(memory_bytes / TIER_CACHE_SHARE), "a 32nd of --memory, if the tier is a file")
        } else {
            (self.parse(NAME, value::size)?.0, "")
        };
        let most = round(memory_bytes / TIER_CACHE_SHARE_MOST);
        if bytes > most {
            return Err(
                self.error(NAME, format!("is too large; the most is {}, a quarter of --memory", Size(most)))
            );
        }
        self.note(NAME, Size(bytes).to_string(), why);
        Ok(bytes)
    }
}

fn tier_journal(text: &str) -> Parse<Size> {
    let size = value::size(text)?;
    if size.0 > TIER_JOURNAL_MOST {
        return Err(format!("is too large; the most is {}", Size(TIER_JOURNAL_MOST)));
    }
    Ok(size)
}

fn snapshots_a_lap(text: &str) -> Parse<u64> {
    let number = text.parse().ok().filter(|number| *number <= SNAPSHOTS_MOST);
    number.ok_or_else(|| format!("is not a number from 0 to {SNAPSHOTS_MOST}"))
}

fn snapshot_memory(text: &str) -> Parse<Size> {
    let size = value::size(text)?;
    if !SNAPSHOT_MEMORY.contains(&size.0) {
        let (least, most) = (Size(*SNAPSHOT_MEMORY.start()), Size(*SNAPSHOT_MEMORY.end()));
        return Err(format!("is not a size from {least} to {most}"));
    }
    Ok(size)
}

fn index_percent(text: &str) -> Parse<u64> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok();
    percent.filter(|percent| (1..=80).contains(percent)).ok_or_else(|| "is not 1% to 80%".into())
}

fn tier_on_mismatch(text: &str) -> Parse<bool> {
    one_of(text, &[("refuse", false), ("reset", true)])
}

fn tier_recovery(text: &str) -> Parse<bool> {
    one_of(text, &[("wait", true), ("miss", false)])
}
