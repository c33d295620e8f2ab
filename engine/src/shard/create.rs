//! A shard comes to be: its memory is shared out among index, bookkeeping and segments.

use super::job::Reclaim;
use super::spaces::Dropping;
use super::uploads::Uploads;
use super::{SEGMENTS_MIN, Shard, ShardConfig, StoreError};
use crate::command::Millis;
use crate::expiry::Calendar;
use crate::index::{Index, PLACE_BYTES};
use crate::reader::Flushes;
use crate::segments::Segments;
use crate::shared::Published;
use crate::shared::file::ShardFile;
use crate::shared::layout::Layout;
use crate::spaces::Spaces;
use crate::version::HybridClock;
use rapidhash::v3::RapidSecrets;
use std::sync::Arc;

/// The index begins at this share of the memory, and grows as items come.
const INDEX_SHARE: u64 = 512;

impl Shard {
    /// # Errors
    /// See [`StoreError`].
    pub fn new(config: ShardConfig) -> Result<Shard, StoreError> {
        let segment_bytes = config.segment_bytes;
        if !segment_bytes.is_power_of_two() || !(64 << 10..=16 << 20).contains(&segment_bytes) {
            return Err(StoreError::SegmentSize(segment_bytes));
        }
        let max = crate::index::LOCATION_BYTES_MAX;
        if config.memory_bytes > max {
            return Err(StoreError::TooLarge { given: config.memory_bytes, max });
        }
        let index_bytes = (config.memory_bytes / INDEX_SHARE).max(16 << 10);
        let percent = |share: u64| (u128::from(config.memory_bytes) * u128::from(share) / 100) as u64;
        let index_percent = config.places_percent.map_or(50, |share| (share + 25).clamp(50, 90));
        let (homes, index_max) = (index_bytes as usize / 64, percent(index_percent) as usize);
        let eviction = config.eviction.instance(config.memory_bytes as usize)?;
        let file = config.shared_memory.then(|| {
            let constants = (config.shard, config.seed, eviction.frequency_max());
            Shard::file(constants, &config, index_max.max(2 * index_bytes as usize))
        });
        let file = file.transpose()?.map(Arc::new);
        let index = match &file {
            None => Index::new(homes, index_max)?,
            Some(file) => Index::in_file(homes, index_max, file)?,
        };
        let calendar = Calendar::new(config.now, config.memory_bytes);
        let head_bytes = file.as_ref().map_or(0, |file| file.head_bytes());
        let beside = (index.bytes() + calendar.bytes() + head_bytes) as u64;
        let each = (segment_bytes + Segments::headers_bytes(1)) as u64;
        let count_max = (config.memory_bytes.saturating_sub(beside) / each) as usize;
        let aside = (config.aside_bytes + config.ahead_bytes).div_ceil(each) as usize;
        if count_max < SEGMENTS_MIN + aside {
            let needed = SEGMENTS_MIN as u64 * each + beside + config.aside_bytes + config.ahead_bytes;
            return Err(StoreError::TooSmall { given: config.memory_bytes, needed, segment_bytes });
        }
        let (segments, flushes, spaces) = match &file {
            None => {
                let segments = Segments::new(segment_bytes, count_max, config.shard)?;
                (segments, Published::zeros(), Published::zeros())
            }
            Some(file) => (Segments::in_file(file, count_max, config.shard), file.flushes(), file.spaces()),
        };
        let mut shard = Shard {
            secrets: RapidSecrets::seed(config.seed),
            segments,
            frequency_max: eviction.frequency_max(),
            index,
            eviction,
            clock: HybridClock::default(),
            calendar,
            flushed: 0,
            flush_at: Millis::MAX,
            flushes: Flushes::new(flushes),
            spaces: Spaces::new(spaces),
            reclaim: Reclaim::default(),
            dropping: Dropping::default(),
            uploads: Uploads::default(),
            fields: Vec::new(),
            listeners: Vec::new(),
            unsaved: None,
            recovery: None,
            tells: false,
            memory_bytes: config.memory_bytes,
            places_max: config.places_percent.map_or(u64::MAX, |share| percent(share) / PLACE_BYTES),
            aside_bytes: config.aside_bytes,
            value_bytes_max: config.value_bytes_max,
            stats: Arc::default(),
        };
        shard.segments.keep_ahead(config.ahead_bytes.div_ceil(segment_bytes as u64) as usize);
        shard.fit(shard.index.bytes());
        shard.stats.set_databases(&[], Some(0));
        shard.publish();
        Ok(shard)
    }

    /// The file of a shard that other processes may read.
    fn file(
        constants: (u16, u64, u8),
        config: &ShardConfig,
        index_bytes_max: usize,
    ) -> std::io::Result<ShardFile> {
        let chunks = index_bytes_max / config.segment_bytes + 2;
        let frames = (config.memory_bytes as usize / config.segment_bytes).max(chunks);
        let shift = config.segment_bytes.trailing_zeros();
        ShardFile::create(Layout::new(constants, shift, frames, chunks))
    }
}
