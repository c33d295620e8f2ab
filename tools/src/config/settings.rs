//! The table of all settings: the one place where a setting is defined.
//!
//! The flag (`--NAME`), the environment variable (`TORC_NAME`), the key in the TOML file (`NAME`), the help,
//! the shell completions and `torc serve --check` all come from a row of this table. Defaults are written in
//! the setting's own grammar and go through the same parser as everything else.

/// How a setting takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingKind {
    /// One value; given twice as a flag, the last wins.
    One,
    /// Several values: the flag repeated, a list in the file, commas in the environment.
    Many,
    /// As that; in the environment separated by colons, as PATH is.
    Paths,
    /// Yes or no; as a flag without a value.
    Switch,
}

/// One row: a setting and all that users are told about it.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: SettingKind,
    /// What stands for the value in the help.
    pub(crate) value: &'static str,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
    /// Completed by the shell.
    pub(crate) choices: &'static [&'static str],
    pub(crate) group: &'static str,
}

impl Setting {
    /// `TORC_SHARD_PORT_BASE` for `shard-port-base`.
    pub(crate) fn variable(&self) -> String {
        format!("TORC_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }
}

/// The row of a name.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// How alike a key must be to be suggested (Jaro-Winkler, 0 to 1).
const ALIKE_MIN: f64 = 0.8;

/// The setting whose name is most like `key`, if one is.
pub(crate) fn nearest(key: &str) -> Option<&'static str> {
    let key = key.replace('_', "-").to_ascii_lowercase();
    SETTINGS
        .iter()
        .map(|setting| (strsim::jaro_winkler(&key, setting.name), setting.name))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

const fn one(
    group: &'static str,
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, kind: SettingKind::One, value, default, help, choices: &[], group }
}

const fn choice(
    group: &'static str,
    name: &'static str,
    choices: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, kind: SettingKind::One, value: "NAME", default, help, choices, group }
}

const NETWORK: &str = "Network";
const CORES: &str = "Cores";
const MEMORY: &str = "Memory";
const TIER: &str = "Tier";
const LIMITS: &str = "Limits";
const OPERATION: &str = "Operation";

pub(crate) const EVICTIONS: &[&str] = &["s3-fifo", "fifo-reinsertion"];

pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        kind: SettingKind::Many,
        value: "ADDRESS",
        default: "127.0.0.1:7171",
        help: "Where to serve: 127.0.0.1:7171, [::1]:7171, unix:/path; resp+, memcache+ or native+ before tcp:// or unix: pins the protocol; may be repeated",
        choices: &[],
        group: NETWORK,
    },
    one(
        NETWORK,
        "shard-port-base",
        "PORT",
        "auto",
        "Port of shard 0, the others count up from it; 0: any free ports; auto: the first TCP listen port plus 100 if there are several shards; off: no ports of their own",
    ),
    one(
        NETWORK,
        "announce-host",
        "HOST",
        "auto",
        "Host that cluster clients are told for the shards; same: the one that they are connected to; auto: the listen address, or same if that is 0.0.0.0 or [::]",
    ),
    Setting {
        name: "allow-remote",
        kind: SettingKind::Switch,
        value: "",
        default: "false",
        help: "Allow addresses that other machines can reach though no password is asked for; the admin address asks for none, so there it is always needed",
        choices: &[],
        group: NETWORK,
    },
    one(
        NETWORK,
        "requirepass-file",
        "PATH",
        "off",
        "A file with the password that clients have to give, as the user default, in every protocol; with one other machines may be served",
    ),
    one(
        NETWORK,
        "auth-file",
        "PATH",
        "off",
        "A file of users, a line USER:PASSWORD each (memcached's -Y), beside that password or instead of it",
    ),
    one(
        NETWORK,
        "auth-timeout",
        "TIME",
        "30s",
        "A client that gives no password for so long is disconnected; off: never",
    ),
    choice(
        NETWORK,
        "transport",
        &["auto", "uring", "epoll"],
        "auto",
        "How bytes move; auto: io_uring where the kernel lets us, else epoll",
    ),
    Setting {
        name: "shared-memory",
        kind: SettingKind::Switch,
        value: "",
        default: "false",
        help: "Let clients on this host attach to memory that is shared with them, over a Unix socket that it listens on: no system call for a request while both sides are awake",
        choices: &[],
        group: NETWORK,
    },
    Setting {
        name: "shared-memory-users",
        kind: SettingKind::Many,
        value: "USER",
        default: "own",
        help: "Users who may attach, as numbers; own: the server's own; may be repeated",
        choices: &[],
        group: NETWORK,
    },
    Setting {
        name: "cluster-enabled",
        kind: SettingKind::Switch,
        value: "",
        default: "true",
        help: "Let the common port tell clients of Redis Cluster which shard has which keys; false: it is a server alone for all clients of Redis",
        choices: &[],
        group: NETWORK,
    },
    Setting {
        name: "shared-memory-reads",
        kind: SettingKind::Switch,
        value: "",
        default: "true",
        help: "Let such a client read the memory of all shards itself, without asking: everything in them, whatever it may do elsewhere",
        choices: &[],
        group: NETWORK,
    },
    one(
        NETWORK,
        "shared-memory-ring-bytes",
        "SIZE",
        "64k",
        "Length of each of the two rings of such a client, a power of two from 4k to 64m",
    ),
    choice(
        NETWORK,
        "rdma",
        &["auto", "off", "require"],
        "auto",
        "Let native clients go on over RDMA (RoCEv2); auto: where there is a device that can be used at the start",
    ),
    one(
        NETWORK,
        "rdma-device",
        "NAME",
        "auto",
        "The RDMA device, as torc doctor names it; auto: the one that fits best",
    ),
    one(NETWORK, "rdma-port", "NUMBER", "auto", "The device's port"),
    one(NETWORK, "rdma-gid", "INDEX", "auto", "Which of the port's GIDs, of RoCEv2; auto: an IPv4 one first"),
    one(
        NETWORK,
        "rdma-clients",
        "COUNT",
        "32",
        "Connections over RDMA that each shard has at most, 1 to 512; each takes 160k of locked memory from the start",
    ),
    one(
        NETWORK,
        "rdma-pairs",
        "COUNT",
        "64",
        "Queue pairs that one client has at most over all shards, those that it reads by among them; beyond that its requests are passed on between shards",
    ),
    Setting {
        name: "rdma-reads",
        kind: SettingKind::Switch,
        value: "",
        default: "false",
        help: "Let clients over RDMA read the memory of shards themselves, without asking: everything in them, whatever they may do elsewhere",
        choices: &[],
        group: NETWORK,
    },
    one(
        NETWORK,
        "rdma-key-lifetime",
        "TIME",
        "10m",
        "Keys by which they read are replaced so often; the old ones are good for 5 s more; off: never",
    ),
    one(NETWORK, "rdma-traffic-class", "NUMBER", "0", "DSCP and ECN bits of packets over RDMA, 0 to 255"),
    one(
        NETWORK,
        "rdma-down-timeout",
        "TIME",
        "5s",
        "A port that stays down for so long is given up: its device is closed, and looked for again; off: never",
    ),
    one(
        CORES,
        "shards",
        "COUNT",
        "auto",
        "Shards, one thread each; auto: one for each CPU of --cpus and 16m of --memory",
    ),
    one(
        CORES,
        "cpus",
        "LIST",
        "auto",
        "CPUs to pin the shards to, as in 0,2-3; auto: those this process may use, within the cgroup's quota",
    ),
    one(
        CORES,
        "spin",
        "TIME",
        "off",
        "How long a shard that has worked looks for more before it sleeps, 1us to 1ms: less latency below saturation, more CPU",
    ),
    one(
        CORES,
        "min-wait",
        "TIME",
        "off",
        "How long a shard with several active clients waits for a small batch, 1us to 1ms: less CPU below saturation, more latency; io_uring since Linux 6.12",
    ),
    one(
        MEMORY,
        "memory",
        "SIZE",
        "auto",
        "Memory for data, index and buffers together; auto: the smaller of 1g and a quarter of what the cgroup or machine has",
    ),
    choice(MEMORY, "eviction", EVICTIONS, "s3-fifo", "Which items go when memory is full"),
    one(
        MEMORY,
        "segment-size",
        "SIZE",
        "auto",
        "Bytes of a segment, a power of two; auto: 1m, less if memory is small",
    ),
    one(
        MEMORY,
        "client-memory",
        "SIZE",
        "auto",
        "What clients may hold of it: input, answers, requests that wait; auto: a quarter of what the process leaves",
    ),
    one(
        MEMORY,
        "receive-buffers",
        "COUNT",
        "auto",
        "Receive buffers of a shard, 16k each; auto: by its memory",
    ),
    Setting {
        name: "tier",
        kind: SettingKind::Paths,
        value: "PATH",
        default: "off",
        help: "A file for items beyond memory, which outlives the server; on persistent memory it is mapped (DAX); memory: plain memory, on top of what the server may take otherwise. May be repeated, for one tier over the files of several disks (TORC_TIER=/a/tier:/b/tier)",
        choices: &[],
        group: TIER,
    },
    Setting {
        name: "tier-size",
        kind: SettingKind::Many,
        value: "SIZE",
        default: "auto",
        help: "Its size, taken at once; auto: that of the files which are there. Files of another size are copied to this one at the start. Of several files: what they have together, each the same; or repeated, what each has",
        choices: &[],
        group: TIER,
    },
    one(
        TIER,
        "durability",
        "WHEN",
        "interval:1s",
        "When a change is on the tier; interval:TIME: within this time, 10ms to 1h; always: before it is answered; none: not as it happens: the tier takes what memory has no room for, and at an orderly stop the rest; after a crash it is empty",
    ),
    one(
        TIER,
        "tier-journal",
        "SIZE",
        "256k",
        "Changes that have to be on the tier before there is so much of them go to a small journal there first, so that they waste no room; at most 512k. 0: none, and a tier that is made has no journals",
    ),
    one(
        TIER,
        "tier-snapshots",
        "N",
        "0",
        "How often a snapshot of the index is written to the tier while as much is written as it holds, 0 to 16, so that a start reads that in place of older tables, where half of what they say is superseded; 0: never, and a tier that is made has no room for them",
    ),
    one(
        TIER,
        "tier-snapshot-memory",
        "SIZE",
        "64m",
        "Memory that making a snapshot takes meanwhile, on top of what the server may take otherwise, 64k to 64g; 64m are enough for some 50 million keys",
    ),
    one(
        TIER,
        "tier-cache",
        "SIZE",
        "auto",
        "Part of the memory for pages of a tier on a file that are kept once they were read; 0: none; auto: a 32nd",
    ),
    one(
        TIER,
        "tier-index-share",
        "PERCENT",
        "50%",
        "Share of the memory that the index may take for the places of items on the tier, 1% to 80%; an item takes some 32 bytes of it",
    ),
    one(
        TIER,
        "storage-cpus",
        "LIST",
        "any",
        "CPUs of the tier's threads, as in 0,2-3; any: all that this process may use, where the thread that writes takes what the shards leave, as long as it is in time",
    ),
    choice(
        TIER,
        "tier-reads",
        &["auto", "uring", "threads"],
        "auto",
        "Who reads a tier on a file for the shards: one thread over io_uring, or 16 that each wait for a read; auto: the first, if the kernel grants it and the file has direct I/O",
    ),
    choice(
        TIER,
        "tier-recovery",
        &["wait", "miss"],
        "wait",
        "What a read of a key comes to that is not recovered yet after a start; commands that change a key by what it was always wait",
    ),
    choice(
        TIER,
        "tier-on-mismatch",
        &["refuse", "reset"],
        "refuse",
        "What is done with a tier that cannot be used, as it is damaged, void or of another version: not to start, or to make it anew; and with one that there is no room to resize: not to start, or to keep its size",
    ),
    one(LIMITS, "max-value", "SIZE", "64m", "Longest value"),
    one(LIMITS, "max-key", "SIZE", "4k", "Longest key"),
    one(LIMITS, "max-connections", "COUNT", "10000", "Most connections at a time, over all listeners"),
    one(
        LIMITS,
        "output-limit",
        "SIZE",
        "1m",
        "Most bytes of answers that wait for one connection; it is not read meanwhile",
    ),
    one(
        LIMITS,
        "subscriber-limit",
        "SIZE",
        "32m",
        "Most bytes of messages and answers that wait for a client which gets messages; beyond that it is disconnected",
    ),
    one(LIMITS, "max-subscriptions", "COUNT", "100000", "Most channels and patterns of one connection"),
    one(
        LIMITS,
        "tracking-table-max",
        "COUNT",
        "1000000",
        "Most keys that clients are told of (CLIENT TRACKING); beyond that they are told to drop some",
    ),
    one(
        LIMITS,
        "notify-keyspace-events",
        "LETTERS",
        "off",
        "Changes of keys that Redis clients are told of as messages, in the letters of Redis: KEA for all",
    ),
    one(LIMITS, "max-frame", "SIZE", "1m", "Longest request without its value"),
    one(
        LIMITS,
        "databases",
        "COUNT",
        "16",
        "Databases that Redis clients may SELECT, at most 64; others use 0",
    ),
    one(LIMITS, "max-arguments", "COUNT", "65536", "Most keys or arguments of one request"),
    one(
        LIMITS,
        "script-time-max",
        "TIME",
        "100ms",
        "A script (EVAL) that runs for so long is stopped, and has changed nothing; its shard does nothing else meanwhile",
    ),
    one(
        LIMITS,
        "script-memory-max",
        "SIZE",
        "auto",
        "What a script may take, its reply, and the values of its keys; auto: a sixteenth of the shard's memory, 1m to 32m",
    ),
    one(
        LIMITS,
        "script-cache-max",
        "SIZE",
        "4m",
        "What known scripts may take: five times their text, and a little more for each",
    ),
    one(
        LIMITS,
        "max-waiting",
        "COUNT",
        "512",
        "Most requests of one connection that wait for other shards; answers in a row between them count as one",
    ),
    one(LIMITS, "stream-above", "SIZE", "16k", "Values longer than this are received in slices"),
    one(
        LIMITS,
        "slow-client-timeout",
        "TIME",
        "30s",
        "A client that takes nothing of a waiting answer for so long is disconnected",
    ),
    one(
        LIMITS,
        "request-timeout",
        "TIME",
        "30s",
        "A client that does not finish its request for so long, at less than 1k a second, is disconnected",
    ),
    one(LIMITS, "idle-timeout", "TIME", "off", "A client that says nothing for so long is disconnected"),
    one(
        LIMITS,
        "tcp-keepalive",
        "TIME",
        "60s",
        "A client that says nothing for so long is probed, and disconnected if its machine is gone",
    ),
    one(
        LIMITS,
        "tcp-user-timeout",
        "TIME",
        "30s",
        "A client whose machine acknowledges nothing for so long is disconnected",
    ),
    Setting {
        name: "enable-debug-command",
        kind: SettingKind::Switch,
        value: "",
        default: "false",
        help: "Let Redis clients use DEBUG, for tests: SLEEP makes all others wait",
        choices: &[],
        group: OPERATION,
    },
    Setting {
        name: "enable-shutdown-command",
        kind: SettingKind::Switch,
        value: "",
        default: "false",
        help: "Let memcached clients end the server (shutdown), as SIGTERM does",
        choices: &[],
        group: OPERATION,
    },
    one(OPERATION, "drain-timeout", "TIME", "10s", "How long a stop waits for answers under way"),
    one(OPERATION, "admin", "ADDRESS", "127.0.0.1:7172", "HTTP for /metrics, /healthz, /readyz; or off"),
    choice(OPERATION, "log", &["text", "json"], "text", "How log lines are written, to stderr"),
    choice(
        OPERATION,
        "log-level",
        &["error", "warn", "info", "debug", "trace"],
        "info",
        "What is logged: this level and those above",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(setting.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", setting.name);
            assert!(SETTINGS.iter().skip(index + 1).all(|other| other.name != setting.name));
        }
    }

    #[test]
    fn far_off_keys_get_no_suggestion() {
        assert_eq!(nearest("zzz"), None);
        assert_eq!(nearest("Max_Connections"), Some("max-connections"));
    }

    #[test]
    fn defaults_of_choices_are_choices() {
        for setting in SETTINGS.iter().filter(|setting| !setting.choices.is_empty()) {
            assert!(setting.choices.contains(&setting.default), "{}", setting.name);
        }
    }
}
