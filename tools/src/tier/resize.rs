//! `torc tier resize` and `torc tier copy`: a tier in another size, or elsewhere.

use super::Shape;
use crate::config::value::Size;
use crate::exit::{self, Failure};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use torc_net::tier::Carried;
use torc_pmem::copy::Progress;

pub(super) fn resize(paths: &[PathBuf], sizes: &[Size], streams: Option<u16>) -> Result<(), Failure> {
    let mut shown = Shown::default();
    let progress = &mut |progress| shown.show(progress);
    let carried = torc_net::tier::resize(paths, &bytes(sizes), streams, progress);
    tell(&carried.map_err(Failure::failed)?, paths)
}

/// Without `to`, `paths` are what is copied, and to where.
pub(super) fn copy(paths: &[PathBuf], to: &[PathBuf], shape: &Shape) -> Result<(), Failure> {
    let (from, to) = match (paths, to) {
        ([from, to], []) => (std::slice::from_ref(from), std::slice::from_ref(to)),
        (_, []) => {
            return Err(Failure::Usage(
                "say where to copy to: copy FROM TO, or copy FROM... --to TO...".into(),
            ));
        }
        both => both,
    };
    let mut shown = Shown::default();
    let progress = &mut |progress| shown.show(progress);
    let carried = torc_net::tier::copy(from, to, &bytes(&shape.size), shape.streams, progress);
    tell(&carried.map_err(Failure::failed)?, to)
}

fn bytes(sizes: &[Size]) -> Vec<u64> {
    sizes.iter().map(|Size(bytes)| *bytes).collect()
}

fn tell(carried: &Carried, paths: &[PathBuf]) -> Result<(), Failure> {
    let (copied, path) = (carried.copied, super::names(paths));
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
