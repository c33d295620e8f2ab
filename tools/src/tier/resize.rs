//! `torc tier resize` and `torc tier copy`: a tier in another size, or elsewhere.

use super::Shape;
use crate::config::value::Size;
use crate::exit::{self, Failure};
use std::io::{IsTerminal, Write};
use std::path::Path;
use torc_net::tier::Carried;
use torc_pmem::copy::Progress;

pub(super) fn resize(path: &Path, Size(bytes): Size, streams: Option<u16>) -> Result<(), Failure> {
    let mut shown = Shown::default();
    let carried = torc_net::tier::resize(path, bytes, streams, &mut |progress| shown.show(progress));
    tell(&carried.map_err(Failure::failed)?, path)
}

pub(super) fn copy(from: &Path, to: &Path, shape: &Shape) -> Result<(), Failure> {
    let mut shown = Shown::default();
    let bytes = shape.size.map(|Size(bytes)| bytes);
    let carried = torc_net::tier::copy(from, to, bytes, shape.streams, &mut |progress| shown.show(progress));
    tell(&carried.map_err(Failure::failed)?, to)
}

fn tell(carried: &Carried, path: &Path) -> Result<(), Failure> {
    let (copied, path) = (carried.copied, path.display());
    let mut words = format!(
        "{path} has {} bytes in {} streams; {} records were copied",
        carried.to_bytes, carried.streams, copied.records
    );
    if copied.dropped > 0 {
        words += &format!(", the items of {} of which had no room, oldest first", copied.dropped);
    }
    if copied.lost > 0 {
        words += &format!(", {} items were damaged or too long", copied.lost);
    }
    exit::print(&format!("{words}\n"))
}

/// How far it is, for whoever looks on.
#[derive(Debug, Default)]
struct Shown {
    percent: u64,
}

impl Shown {
    fn show(&mut self, progress: Progress) {
        let percent = progress.percent();
        if percent == self.percent || !std::io::stderr().is_terminal() {
            return;
        }
        self.percent = percent;
        let end = if percent == 100 { "\n" } else { "" };
        // Where stderr is closed nobody wants to know.
        let _ = write!(std::io::stderr(), "\r{percent} % are copied{end}");
    }
}
