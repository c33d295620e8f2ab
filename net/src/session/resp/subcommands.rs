//! Which subcommands commands have.

/// The subcommands that are served, by command.
pub(super) const SUBCOMMANDS: &[(&str, &[&str])] = &[
    (
        "client",
        &[
            "caching",
            "getname",
            "getredir",
            "help",
            "id",
            "info",
            "kill",
            "list",
            "no-evict",
            "no-touch",
            "pause",
            "reply",
            "setinfo",
            "setname",
            "tracking",
            "trackinginfo",
            "unblock",
            "unpause",
        ],
    ),
    (
        "cluster",
        &[
            "countkeysinslot",
            "getkeysinslot",
            "help",
            "info",
            "keyslot",
            "links",
            "myid",
            "myshardid",
            "nodes",
            "shards",
            "slots",
        ],
    ),
    ("command", &["count", "docs", "getkeys", "getkeysandflags", "help", "info", "list"]),
    ("config", &["get", "help", "resetstat", "rewrite", "set"]),
    ("hotkeys", &["get", "help"]),
    ("latency", &["doctor", "graph", "help", "histogram", "history", "latest", "reset"]),
    ("memory", &["doctor", "help", "malloc-stats", "purge", "stats", "usage"]),
    ("object", &["encoding", "freq", "help", "idletime", "refcount"]),
    ("pubsub", &["channels", "help", "numpat", "numsub", "shardchannels", "shardnumsub"]),
    ("script", &["debug", "exists", "flush", "help", "kill", "load", "show"]),
    ("slowlog", &["get", "help", "len", "reset"]),
];

/// How many there are.
pub(super) const COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < SUBCOMMANDS.len() {
        count += SUBCOMMANDS[at].1.len();
        at += 1;
    }
    count
};

/// The subcommands of a command.
pub(super) fn subcommands(command: &str) -> &'static [&'static str] {
    SUBCOMMANDS.iter().find(|(name, _)| *name == command).map_or(&[], |(_, names)| names)
}
