//! `torc import`: brings what another cache holds to a running server, expiry and flags included.
//!
//! ```text
//!   source: SCAN, GET, PTTL of Redis | metadump, mg of memcached --batches of items--> client library --> server
//! ```
//!
//! The source serves meanwhile, and is only read. What changes there meanwhile may come in its old form or its new one, so let clients
//! write to the new server first, and import with `--keep`. To begin again is harmless: each item is written whole.

mod address;
mod memcache;
mod redis;
mod target;

use crate::exit::{self, Failure};
use address::{Address, Kind};
use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;
use target::Target;
use torc_bench::LoginArgs;

/// What `torc import` is told.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Where from: `redis://[USER@]HOST:PORT[/DB]` or `memcache://HOST:PORT`
    source: String,
    /// A file with the source's password, if it asks for one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    source_password_file: Option<PathBuf>,
    /// The server that gets the items, in its database 0: host:port or unix:/path
    #[arg(long, short, default_value = "127.0.0.1:7171", env = "TORC_SERVER")]
    server: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Keep what the server has already, rather than overwrite it
    #[arg(long)]
    keep: bool,
    /// Go on from here: what an import that broke off has told. Of redis:// alone
    #[arg(long, value_name = "CURSOR", default_value_t = 0)]
    from: u64,
    /// Seconds to wait for an answer of either side
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// An item as it is read from a source.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    key: Vec<u8>,
    value: Vec<u8>,
    flags: u32,
    /// How long it has to live, milliseconds; none: for ever.
    ttl_ms: Option<u64>,
}

/// The next items of a source.
#[derive(Debug, Default)]
struct Batch {
    items: Vec<Item>,
    /// What is there and cannot be imported: values that are no strings.
    others: u64,
    is_last: bool,
}

/// Something that can be read from beginning to end.
trait Source {
    /// How many keys there are, about; 0: that is not known.
    fn count(&mut self) -> Result<u64, Failure>;
    fn next(&mut self) -> Result<Batch, Failure>;
    /// Where to go on if the import breaks off now; `None`: only from the beginning.
    fn place(&self) -> Option<u64>;
}

pub(crate) fn run(args: &ImportArgs) -> Result<(), Failure> {
    let address = Address::parse(&args.source).map_err(Failure::Usage)?;
    if args.from > 0 && address.kind != Kind::Redis {
        return Err(Failure::Usage("--from: only an import from Redis can go on from a cursor".into()));
    }
    let timeout = Duration::from_secs(args.timeout);
    let source_login = LoginArgs {
        password_file: args.source_password_file.clone(),
        user: address.user.clone().unwrap_or_else(|| "default".into()),
    };
    let password = source_login
        .read()
        .map_err(|error| Failure::Failed(error.replace("--password", "--source-password")))?;
    let mut source: Box<dyn Source> = match address.kind {
        Kind::Redis => Box::new(redis::Redis::connect(&address, password, args.from, timeout)?),
        Kind::Memcache => Box::new(memcache::Memcache::connect(&address, password, timeout)?),
    };
    let target = Target::connect(&args.server, &args.login, args.keep, timeout)?;
    let bar = bar(source.count()?);
    let told = bring_over(source.as_mut(), &target, &bar);
    bar.finish_and_clear();
    match told {
        Ok(told) => exit::print(&told.to_string()),
        Err(failure) => Err(match source.place().filter(|place| *place > 0) {
            Some(place) => Failure::Failed(format!("{failure}; go on with: --from {place}")),
            None => failure,
        }),
    }
}

/// What came of an import.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    items: u64,
    bytes: u64,
    kept: u64,
    refused: u64,
    others: u64,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Told { items, bytes, kept, refused, others } = self;
        writeln!(f, "{items} items, {bytes} bytes of values")?;
        for (count, what) in [
            (kept, "kept as the server had them (--keep)"),
            (others, "left out: their values are no strings, or no request can name their keys"),
            (
                refused,
                "refused by the server, as key or value is longer than it takes, or its memory is full",
            ),
        ] {
            if *count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        Ok(())
    }
}

fn bring_over(source: &mut dyn Source, target: &Target, bar: &ProgressBar) -> Result<Told, Failure> {
    let mut told = Told::default();
    loop {
        let batch = source.next()?;
        bar.inc(batch.items.len() as u64 + batch.others);
        told.others += batch.others;
        target.write(batch.items, &mut told)?;
        if batch.is_last {
            return Ok(told);
        }
    }
}

/// On stderr, and only where that is a terminal.
fn bar(count: u64) -> ProgressBar {
    let bar = if count > 0 { ProgressBar::new(count) } else { ProgressBar::new_spinner() };
    let words = if count > 0 {
        "{human_pos} of about {human_len} keys, {per_sec}, {eta} left {wide_bar}"
    } else {
        "{human_pos} keys, {per_sec}"
    };
    // The words are right, or the bar's own are shown.
    match ProgressStyle::with_template(words) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
