//! What `/metrics` says after known traffic.

use crate::harness::Server;

#[test]
fn metrics_count_what_was_asked() {
    let server = Server::start(&["--shards=2"]);
    let mut client = server.connect();
    for index in 0..20 {
        client.ask(format!("set key{index} 0 0 1\r\nv\r\n").as_bytes(), b"STORED\r\n");
    }
    client.ask(b"get key0 key1 none\r\n", b"VALUE key0 0 1\r\nv\r\nVALUE key1 0 1\r\nv\r\nEND\r\n");
    assert_eq!(server.metric("torc_hits_total", ""), 2.0);
    assert_eq!(server.metric("torc_misses_total", ""), 1.0);
    assert_eq!(server.metric("torc_items", ""), 20.0);
    assert_eq!(server.metric("torc_connections", ""), 1.0);
    for shard in ["0", "1"] {
        assert!(server.metric("torc_items", &format!("shard=\"{shard}\"")) > 0.0);
    }
    assert!(server.metric("torc_segments_bytes", "") > 0.0);
}

#[test]
fn every_request_has_its_duration_counted() {
    let server = Server::start(&["--shards=2"]);
    let mut client = server.connect();
    for index in 0..50 {
        client.ask(format!("set key{index} 0 0 1\r\nv\r\n").as_bytes(), b"STORED\r\n");
    }
    client.send(&b"get key1\r\n".repeat(100));
    client.expect(&b"VALUE key1 0 1\r\nv\r\nEND\r\n".repeat(100));
    client.ask(b"mn\r\n", b"MN\r\n");
    // A value that comes in slices is one request.
    let value = vec![b'v'; 300_000];
    client.ask(&[b"set long 0 0 300000\r\n", &value[..], b"\r\n"].concat(), b"STORED\r\n");
    assert_eq!(server.metric("torc_request_duration_seconds_count", ""), 152.0);
    assert!(server.metric("torc_request_duration_seconds_sum", "") > 0.0);
    let forwarded = server.metric("torc_forwarded_request_duration_seconds_count", "");
    assert!((1.0..=151.0).contains(&forwarded), "{forwarded}");
}

/// Value of the label `le` of a bucket.
fn bound(series: &str) -> f64 {
    let bound = series.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    bound.parse().unwrap_or_else(|_| panic!("no bound: {series}"))
}

#[test]
fn histograms_rise_to_their_count() {
    let server = Server::start(&[]);
    server.connect().ask(&b"mn\r\n".repeat(20), &b"MN\r\n".repeat(20));
    let (_, body) = server.admin("/metrics");
    let histograms = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram"));
    let mut seen = 0;
    for name in histograms {
        seen += 1;
        assert!(name.ends_with("_seconds"), "{name}");
        let series = |end: &str| {
            let start = format!("{name}{end}{{");
            let lines = body.lines().filter(move |line| line.starts_with(&start));
            lines.filter_map(|line| line.rsplit_once(' ')).collect::<Vec<_>>()
        };
        let buckets: Vec<(f64, u64)> = series("_bucket")
            .iter()
            .map(|(series, count)| (bound(series), count.parse().expect("a count")))
            .collect();
        assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name}: {buckets:?}");
        let (last, count) = buckets.last().expect("buckets");
        assert!(last.is_infinite(), "{name}");
        assert_eq!(series("_count")[0].1, count.to_string(), "{name}");
        assert_eq!(series("_sum").len(), 1, "{name}");
    }
    assert_eq!(seen, 3);
}

#[test]
fn metrics_are_well_formed_and_each_has_help_and_type() {
    let server = Server::start(&[]);
    let (status, body) = server.admin("/metrics");
    assert_eq!(status, 200);
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let name = series.split('{').next().unwrap_or_default();
        assert!(name.starts_with("torc_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| {
                name.strip_suffix(end).filter(|name| body.contains(&format!("# TYPE {name} histogram")))
            })
            .unwrap_or(name);
        assert!(body.contains(&format!("# HELP {family} ")), "{line}");
        assert!(body.contains(&format!("# TYPE {family} ")), "{line}");
    }
}

#[test]
fn the_admin_address_lists_its_paths_and_refuses_others() {
    let server = Server::start(&[]);
    let (status, body) = server.admin("/");
    assert_eq!(status, 200);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(body.contains(path));
    }
    assert_eq!(server.admin("/nothing").0, 404);
}
