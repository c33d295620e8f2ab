//! What a command asks for, and what is shown of the answer.

use super::Trouble;
use super::line::{Line, time};
use crate::cli::print::quoted;
use torc_client::request::{Count, Set};
use torc_client::{Changed, Client, Done, Expiry, Item, Lease, Request, TouchIf};

/// Lines that `hotkeys` shows without a number.
const HOT_KEYS: usize = 16;

pub(super) fn get(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    if line.operands.len() > 1 && line.options.is_empty() {
        let items = client.get_many(&line.operands).wait()?;
        return Ok(items.iter().map(|found| item(found.as_ref())).collect());
    }
    if line.operands.len() > 1 {
        return Err(Trouble::Usage("options go with one key".into()));
    }
    let mut request = client.get(line.bytes(0)).with_meta();
    if let Some(ttl) = line.time("touch")? {
        request = request.touch(ttl);
    }
    if let Some(ttl) = line.time("vivify")? {
        request = request.vivify(ttl);
    }
    if line.option("peek").is_some() {
        request = request.peek();
    }
    if line.option("leases").is_some() {
        request = request.leases();
    }
    Ok(item(request.wait()?.as_ref()))
}

pub(super) fn set(mut request: Request<Set>, line: &Line<'_>) -> Result<String, Trouble> {
    if let Some(ttl) = line.time("ttl")? {
        request = request.ttl(ttl);
    }
    if line.option("keep-ttl").is_some() {
        request = request.keep_ttl();
    }
    if let Some(flags) = line.number("flags")? {
        request = request.flags(flags);
    }
    if let Some(token) = line.number("compare")? {
        request = request.compare(token);
    }
    if line.option("old").is_some() {
        request = request.want_old();
    }
    Ok(changed(&line.wish(request).wait()?))
}

pub(super) fn delete(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let mut request = client.delete(line.bytes(0));
    if let Some(token) = line.number("compare")? {
        request = request.compare(token);
    }
    if let Some(ttl) = line.time("stale")? {
        request = request.stale(ttl);
    }
    if line.option("old").is_some() {
        request = request.want_old();
    }
    let answer = line.wish(request).wait()?;
    Ok(match answer.done {
        Done::Done => format!("deleted\n{}", old(&answer)),
        _ => changed(&answer),
    })
}

pub(super) fn touch(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let text = String::from_utf8_lossy(line.bytes(1)).into_owned();
    let mut request = match text.as_str() {
        "never" => client.expire(line.bytes(0), Expiry::Never),
        _ => client.touch(line.bytes(0), time(&text)?),
    };
    if let Some(condition) = line.option("if") {
        request = request.only_if(match condition {
            "unset" => TouchIf::Unset,
            "set" => TouchIf::Set,
            "later" => TouchIf::Later,
            "earlier" => TouchIf::Earlier,
            _ => return Err(Trouble::Usage(format!("if={condition} is no condition"))),
        });
    }
    let answer = line.wish(request).wait()?;
    Ok(if answer.is_done() { "touched\n".into() } else { changed(&answer) })
}

pub(super) fn count(mut request: Request<Count>, line: &Line<'_>) -> Result<String, Trouble> {
    if let Some(initial) = line.number("initial")? {
        request = request.initial(initial, Expiry::Never);
    }
    Ok(match line.wish(request).wait()? {
        Some(number) => format!("{number}\n"),
        None => "(missing)\n".into(),
    })
}

/// The keys that are asked for most: the share of a sample of requests that each has, and the database, if it is not 0.
pub(super) fn hot_keys(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let count = line.shown(HOT_KEYS)?;
    let figures = client.statistics("hotkeys").wait()?;
    let mut lines = figures.iter();
    let sampled =
        lines.next().and_then(|(_, value)| value.parse::<f64>().ok()).filter(|sampled| *sampled > 0.0);
    let Some(sampled) = sampled else { return Ok("no requests were sampled yet\n".into()) };
    let mut text = String::new();
    for (key, value) in lines.take(count) {
        let (requests, database) = value.split_once(' ').unwrap_or((value, "0"));
        let share = requests.parse::<f64>().unwrap_or_default() * 100.0 / sampled;
        let database = if database == "0" { String::new() } else { format!(" in database {database}") };
        text.push_str(&format!("{share:6.2}% {key}{database}\n"));
    }
    Ok(text)
}

pub(super) fn statistics(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let figures = client.statistics(&String::from_utf8_lossy(line.bytes(0))).wait()?;
    let width = figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    Ok(figures.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect())
}

pub(super) fn topology(client: &Client, _: &Line<'_>) -> Result<String, Trouble> {
    let topology = client.topology().wait()?;
    let mut text = format!("epoch {}\n", topology.epoch);
    for shard in &topology.shards {
        let ranges = topology.ranges.iter().filter(|range| range.shard == shard.shard);
        let slots: Vec<String> = ranges.map(|range| format!("{}-{}", range.first, range.last)).collect();
        text.push_str(&format!(
            "shard {} at {}:{}: slots {}\n",
            shard.shard,
            shard.host,
            shard.port,
            slots.join(", ")
        ));
    }
    Ok(text)
}

pub(super) fn flush(client: &Client, line: &Line<'_>) -> Result<String, Trouble> {
    let request = line.wish(client.flush());
    match line.time("after")? {
        Some(after) => request.after(after).wait()?,
        None => request.wait()?,
    }
    Ok("flushed\n".into())
}

/// The value, and below it what else is known of the item.
fn item(item: Option<&Item>) -> String {
    let Some(item) = item else { return "(missing)\n".into() };
    let mut facts = vec![format!("token {}", item.token)];
    if item.flags != 0 {
        facts.push(format!("flags {}", item.flags));
    }
    if let Some(meta) = &item.meta {
        facts.push(match meta.remaining_ms {
            None => "never expires".into(),
            Some(ms) => format!("expires in {}.{:03}s", ms / 1000, ms % 1000),
        });
    }
    if item.stale {
        facts.push("stale".into());
    }
    match item.lease {
        Lease::None => {}
        Lease::Won => facts.push("the lease is yours: bring the new value".into()),
        Lease::Given => facts.push("another has the lease".into()),
    }
    format!("{}\n  {}\n", quoted(&item.value), facts.join(", "))
}

pub(super) fn changed(answer: &Changed) -> String {
    match answer.done {
        Done::Done => format!("stored, token {}\n{}", answer.token, old(answer)),
        Done::Missing => "(missing)\n".into(),
        Done::NotStored => format!("(not stored)\n{}", old(answer)),
        Done::TokenMismatch => "(another token)\n".into(),
        Done::Unchanged => "(unchanged: the condition does not hold)\n".into(),
    }
}

fn old(answer: &Changed) -> String {
    answer.old.as_ref().map(|old| format!("  old: {}\n", quoted(&old.value))).unwrap_or_default()
}
