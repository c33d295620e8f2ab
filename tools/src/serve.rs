use crate::args::ServeArgs;
use crate::exit::{self, Failure};
use crate::machine::Machine;
use crate::{config, logging};

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let machine = Machine::here();
    let config = config::load(&args.flags, &machine)?;
    if args.check {
        return exit::print(&table(&config.entries));
    }
    logging::init(&config);
    Ok(())
}

/// Settings in columns: name, value, origin.
fn table(entries: &[config::Entry]) -> String {
    let width = |text: fn(&config::Entry) -> usize| entries.iter().map(text).max().unwrap_or(0);
    let (names, values) = (width(|entry| entry.name.len()), width(|entry| entry.value.len()));
    let line =
        |entry: &config::Entry| format!("{:names$}  {:values$}  {}\n", entry.name, entry.value, entry.origin);
    entries.iter().map(line).collect()
}
