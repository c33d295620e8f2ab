//! The settings of a second tier.

use super::value::{self, show_cpus, show_durability};
use super::{ConfigError, Parse, Reader, Size, auto, one_of, round};
use crate::machine::Machine;
use torc_net::tier::{Durability, ReadsChoice, TierConfig, TierPath};

/// What `auto` keeps of a tier's pages is this share of the memory, and what may be asked for at most.
const TIER_CACHE_SHARE: u64 = 32;
const TIER_CACHE_SHARE_MOST: u64 = 4;
/// Half of the largest batch.
const TIER_JOURNAL_MOST: u64 = 512 << 10;

/// What `--tier-reads` may be.
const TIER_READS: [(&str, ReadsChoice); 3] =
    [("auto", ReadsChoice::Auto), ("uring", ReadsChoice::Uring), ("threads", ReadsChoice::Threads)];

impl Reader<'_> {
    pub(super) fn tier(
        &mut self,
        memory_bytes: u64,
        machine: &Machine,
    ) -> Result<Option<TierConfig>, ConfigError> {
        let path = self.one("tier", value::tier_path, |path| match path {
            None => "off".into(),
            Some(TierPath::Memory) => "memory".into(),
            Some(TierPath::File(path)) => path.display().to_string(),
        })?;
        let size = self.one("tier-size", auto(value::size), |size| {
            size.map_or("auto".into(), |size| size.to_string())
        })?;
        let show = |durability: &Durability| show_durability(*durability);
        let durability = self.one("durability", value::durability, show)?;
        let reads_wait = self.one("tier-recovery", tier_recovery, |reads_wait| {
            if *reads_wait { "wait".into() } else { "miss".into() }
        })?;
        let resets = self.one("tier-on-mismatch", tier_on_mismatch, |resets| {
            if *resets { "reset".into() } else { "refuse".into() }
        })?;
        let Size(journal_bytes) = self.one("tier-journal", tier_journal, |size| size.to_string())?;
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
        if path == Some(TierPath::Memory) && size.is_none() {
            return Err(self.error("tier-size", "is not possible with --tier memory: give a size"));
        }
        let bytes = size.map(|Size(bytes)| bytes);
        Ok(path.map(|path| TierConfig {
            path,
            bytes,
            durability,
            cache_bytes,
            journal_bytes,
            reads_wait,
            resets,
            reads,
            cpus,
            index_percent,
        }))
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
