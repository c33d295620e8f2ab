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
