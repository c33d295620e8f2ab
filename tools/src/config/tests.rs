use super::*;
use crate::machine::tests::{machine_of, machine_with};
use crate::machine::topology::Topology;
use std::collections::BTreeMap;
use std::path::Path;
use torc_net::tier::TierPath;

fn machine() -> Machine {
    machine_of(&[("proc/meminfo", "MemTotal: 16777216 kB\n")], 4)
}

fn small_machine() -> Machine {
    let topology = Topology {
        cpus: vec![0, 1, 2, 3],
        quota: Some(2.5),
        memory_bytes_max: Some(512 << 20),
        nodes: Vec::new(),
    };
    machine_with(&[("proc/meminfo", "MemTotal: 16777216 kB\n")], topology)
}

/// `--name=value` for flags, `NAME=value` for the environment, anything else is the file.
fn load_from(sources: &[&str], machine: &Machine) -> Result<Config, ConfigError> {
    let mut flags = Flags::default();
    let mut environment = BTreeMap::new();
    let mut file = String::new();
    for source in sources {
        if let Some((name, value)) = source.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
            let name = settings::setting(name).expect(name).name;
            flags.values.entry(name).or_default().push(value.to_owned());
        } else if let Some((name, value)) = source.strip_prefix("TORC_").and_then(|text| text.split_once('='))
        {
            environment.insert(format!("TORC_{name}"), value.to_owned());
        } else {
            flags.config = Some("torc.toml".into());
            file.push_str(source);
            file.push('\n');
        }
    }
    let texts = sources::merge(&flags, &|name| environment.get(name).cloned(), &|_: &Path| Ok(file.clone()))?;
    Config::from_texts(&texts, machine)
}

pub(super) fn load(sources: &[&str]) -> Result<Config, ConfigError> {
    load_from(sources, &machine())
}

fn origin_of(config: &Config, name: &str) -> String {
    config
        .entries
        .iter()
        .find(|entry| entry.name == name)
        .map(|entry| entry.origin.clone())
        .unwrap_or_default()
}

#[test]
fn defaults_serve_on_loopback_with_a_shard_a_cpu() {
    let config = load(&[]).expect("the defaults");
    assert_eq!(config.server.listen.len(), 1);
    assert_eq!(value::show_listen(&config.server.listen[0]), "tcp://127.0.0.1:7171");
    assert_eq!(config.server.shard_port_base, Some(7271));
    assert_eq!((config.server.shards, config.server.cpus.clone()), (4, vec![0, 1, 2, 3]));
    assert_eq!(config.server.memory_bytes, 1 << 30);
    assert_eq!(config.server.value_bytes_max, 45 << 20, "a quarter of what a shard of 256m has for items");
    assert_eq!(config.admin.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:7172"));
}

/// Once the last shards' ports were beyond the last there is, and the server did not start.
#[test]
fn shards_get_free_ports_where_the_listeners_port_leaves_no_room() {
    let base =
        |port: u16| load(&[&format!("--listen=127.0.0.1:{port}")]).expect("a port").server.shard_port_base;
    assert_eq!([65_432, 65_433, 65_535].map(base), [Some(65_532), Some(0), Some(0)]);
}

#[test]
fn every_setting_is_shown_once_with_its_origin() {
    let config = load(&[]).expect("the defaults");
    let mut shown: Vec<&str> = config.entries.iter().map(|entry| entry.name).collect();
    let mut known: Vec<&str> = settings::SETTINGS.iter().map(|setting| setting.name).collect();
    shown.sort_unstable();
    known.sort_unstable();
    assert_eq!(shown, known);
    assert!(config.entries.iter().all(|entry| !entry.value.is_empty() && !entry.origin.is_empty()));
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let all = ["--memory=256m", "TORC_MEMORY=512m", "memory = '768m'"];
    for (sources, bytes, origin) in [
        (&all[..], 256 << 20, "flag"),
        (&all[1..], 512 << 20, "environment TORC_MEMORY"),
        (&all[2..], 768 << 20, "torc.toml:1"),
    ] {
        let config = load(sources).expect("a good configuration");
        assert_eq!(config.server.memory_bytes, bytes);
        assert_eq!(origin_of(&config, "memory"), origin);
    }
}

#[test]
fn a_small_container_gets_a_small_cache() {
    let config = load_from(&[], &small_machine()).expect("the defaults");
    assert_eq!(config.server.memory_bytes, 128 << 20, "a quarter of 512m");
    assert_eq!((config.server.shards, config.server.cpus.clone()), (2, vec![0, 1]), "a quota of 2.5 CPUs");
    assert!(config.entries.iter().any(|e| e.name == "memory" && e.origin.contains("cgroup")));
}

#[test]
fn what_is_kept_of_a_tier_is_a_share_of_the_memory_and_no_more_than_a_quarter() {
    let kept = |sources: &[&str]| {
        let tier = load(&[&["--tier=/tier", "--memory=128m"], sources].concat());
        tier.map(|config| config.server.tier.expect("a tier").cache_bytes)
    };
    for (sources, bytes) in [(&[][..], 4 << 20), (&["--tier-cache=0"], 0), (&["--tier-cache=32m"], 32 << 20)]
    {
        assert_eq!(kept(sources).expect("a good configuration"), bytes, "{sources:?}");
    }
    let error = kept(&["--tier-cache=33m"]).expect_err("too large").to_string();
    assert!(error.contains("tier-cache") && error.contains("the most is 32m"), "{error}");
    assert!(kept(&["--tier-cache=-1"]).is_err());
}

#[test]
fn a_value_limit_by_default_fits_a_small_memory() {
    for (memory, shards, most) in [(64, 1, 10), (256, 2, 22), (1024, 2, 64)] {
        let [memory, shards] = [format!("--memory={memory}m"), format!("--shards={shards}")];
        let config = load(&[&memory, &shards]).expect("a small cache");
        assert_eq!(config.server.value_bytes_max, most << 20, "{memory} {shards}");
        let [fits, too_long] = [most, most + 1].map(|most| format!("--max-value={most}m"));
        assert!(load(&[&memory, &shards, &fits]).is_ok());
        if most < 64 {
            let error = load(&[&memory, &shards, &too_long]).expect_err("too long").to_string();
            assert!(error.contains(&format!("from 1 to {most}m")), "{error}");
        }
    }
}

#[test]
fn listeners_are_many_in_every_source() {
    for source in ["TORC_LISTEN=127.0.0.1:1, unix:/tmp/a", "listen = ['127.0.0.1:1', 'unix:/tmp/a']"] {
        let config = load(&[source]).expect(source);
        assert_eq!(config.server.listen.len(), 2, "{source}");
    }
    let config = load(&["--listen=127.0.0.1:0", "--listen=127.0.0.1:0"]).expect("free ports twice");
    assert_eq!(config.server.shard_port_base, Some(0));
}

#[test]
fn cpus_and_shards_follow_each_other() {
    for (sources, shards, cpus) in [
        (&["--cpus=2-3"][..], 2, vec![2, 3]),
        (&["--shards=1"], 1, vec![0]),
        (&["--shards=1", "--cpus=3"], 1, vec![3]),
        (&["--shards=2", "--cpus=1"], 2, vec![1]),
        (&["--shards=6"], 6, vec![0, 1, 2, 3]),
        (&["--memory=16m"], 1, vec![0]),
        (&["--memory=63m"], 3, vec![0, 1, 2]),
        (&["--memory=32m", "--shards=4"], 4, vec![0, 1, 2, 3]),
    ] {
        let config = load(sources).expect("a good configuration");
        assert_eq!((config.server.shards, config.server.cpus), (shards, cpus), "{sources:?}");
    }
}

#[test]
fn errors_name_the_setting_its_origin_and_the_cure() {
    for (sources, parts) in [
        (&["--memory=2x"][..], &["--memory", "'2x'", "(from flag)", "512m"][..]),
        (&["TORC_MEMORY=1k"], &["--memory", "environment TORC_MEMORY", "fewer --shards"]),
        (&["memory = '9999g'"], &["--memory", "torc.toml:1", "machine's"]),
        (&["--cpus=9"], &["--cpus", "CPU 9", "0-3"]),
        (&["--shards=0"], &["--shards", "from 1 to 1024"]),
        (&["--listen=0.0.0.0:7171"], &["--listen", "0.0.0.0:7171", "authentication", "--allow-remote"]),
        (&["--listen=[::]:7171"], &["--allow-remote"]),
        (&["--admin=0.0.0.0:80"], &["--admin", "--allow-remote"]),
        (&["--listen=127.0.0.1:1", "--listen=127.0.0.1:1"], &["--listen", "twice"]),
        (&["--transport=rdma"], &["--transport", "auto, uring or epoll"]),
        (&["--eviction=best"], &["--eviction", "s3-fifo"]),
        (
            &["--max-value=1g"],
            &["--max-value", "from 1 to", "a quarter of what each of 4 shards", "fewer --shards"],
        ),
        (&["--max-key=1m"], &["--max-key", "65535"]),
        (&["--max-connections=0"], &["--max-connections"]),
        (&["--drain-timeout=5"], &["--drain-timeout", "5s"]),
        (&["--log=xml"], &["--log", "text, json"]),
        (&["TORC_LOG_LEVEL=loud"], &["--log-level", "TORC_LOG_LEVEL", "debug"]),
        (&["--announce-host=a b"], &["--announce-host"]),
        (&["TORC_ALLOW_REMOTE=maybe"], &["--allow-remote", "TORC_ALLOW_REMOTE"]),
        (&["--shard-port-base=70000"], &["--shard-port-base", "65535"]),
        (&["--segment-size=3m"], &["--segment-size", "power of two"]),
        (&["--receive-buffers=1"], &["--receive-buffers"]),
        (&["--stream-above=2m"], &["--stream-above", "1m"]),
        (&["--spin=20"], &["--spin", "write 20us"]),
        (&["TORC_SPIN=2ms"], &["--spin", "TORC_SPIN", "from 1us to 1ms"]),
        (&["min-wait = '1s'"], &["--min-wait", "torc.toml:1", "from 1us to 1ms"]),
        (&["--output-limit=1"], &["--output-limit", "64k"]),
        (&["--notify-keyspace-events=KQ"], &["--notify-keyspace-events", "Ag$lshzxeKEtmdn"]),
    ] {
        let error = load(sources).err().unwrap_or_else(|| panic!("{sources:?} is accepted")).to_string();
        for part in parts {
            assert!(error.contains(part), "{sources:?}: {error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn the_defaults_are_those_of_the_server() {
    let server = load(&["--shards=1", "--memory=1g"]).expect("the defaults").server;
    let default = ServerConfig { cpus: server.cpus.clone(), ..ServerConfig::default() };
    assert_eq!(format!("{server:?}"), format!("{default:?}"));
}

#[test]
fn remote_addresses_are_served_when_allowed() {
    let config = load(&["--listen=0.0.0.0:7171", "--allow-remote=true"]).expect("allowed");
    assert_eq!(value::show_listen(&config.server.listen[0]), "tcp://0.0.0.0:7171");
    assert_eq!(config.server.announce_host.as_deref(), Some(""), "nobody can connect to 0.0.0.0");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_name() {
    let flags = Flags { config: Some("/no/such".into()), ..Flags::default() };
    let missing = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let error = sources::merge(&flags, &|_| None, &missing).expect_err("no file").to_string();
    assert!(error.contains("--config: /no/such"), "{error}");
}

#[test]
fn every_eviction_algorithm_can_be_chosen() {
    let names: Vec<&str> = torc_engine::eviction::Algorithm::ALL.iter().map(|one| one.name()).collect();
    assert_eq!(names, settings::EVICTIONS);
}

#[test]
fn a_tier_may_have_several_paths_from_wherever_they_come() {
    let members = |sources: &[&str]| match load(sources).expect("a tier").server.tier.expect("a tier").path {
        TierPath::Members(members) => {
            members.iter().map(|member| (member.path.display().to_string(), member.bytes)).collect::<Vec<_>>()
        }
        path => panic!("{path:?}"),
    };
    let both = |first, second| vec![("/a".to_owned(), first), ("/b".to_owned(), second)];
    assert_eq!(members(&["--tier=/a", "--tier=/b"]), both(None, None));
    assert_eq!(members(&["TORC_TIER=/a:/b", "--tier-size=1g"]), both(Some(512 << 20), Some(512 << 20)));
    let sizes = both(Some(1 << 30), Some(2 << 30));
    assert_eq!(members(&["tier = ['/a', '/b']", "tier-size = ['1g', '2g']"]), sizes);
    assert_eq!(members(&["TORC_TIER=/a:/b", "TORC_TIER_SIZE=1g,2g"]), sizes);
    assert_eq!(members(&["--tier=/a", "--tier=/b", "--tier-size=1g", "--tier-size=2g"]), sizes);
    let one = |sources: &[&str]| {
        let tier = load(sources).expect("a tier").server.tier.expect("a tier");
        (tier.path, tier.bytes)
    };
    let file = |path: &str| TierPath::File(path.into());
    assert_eq!(one(&["tier = '/a:b'", "--tier-size=1g"]), (file("/a:b"), Some(1 << 30)));
    assert_eq!(one(&["--tier=/a"]), (file("/a"), None));
    for (sources, words) in [
        (&["--tier=/a", "--tier=memory"][..], "each has to be a path"),
        (&["--tier=/a", "--tier=off"], "each has to be a path"),
        (&["--tier=/a", "--tier=/a"], "has /a twice"),
        (&["TORC_TIER=/a:"], "is empty"),
        (
            &["--tier=/a", "--tier=/b", "--tier-size=1g", "--tier-size=1g", "--tier-size=1g"],
            "nor one for each",
        ),
        (&["--tier=/a", "--tier-size=1g", "--tier-size=2g"], "there is one --tier"),
        (&["--tier=memory"], "give a size"),
    ] {
        let error = load(sources).expect_err("it is refused").to_string();
        assert!(error.contains(words), "{sources:?}: {error}");
    }
}
