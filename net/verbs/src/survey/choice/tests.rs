use super::*;
use crate::gid::Gid;
use crate::seam::Limits;
use crate::survey::{KernelDevice, Opened};

const V4: &str = "::ffff:10.0.0.1";
const GLOBAL: &str = "2001:db8::1";
const LOCAL: &str = "fe80::1";

fn entry(index: u8, gid: &str, kind: GidKind) -> GidEntry {
    GidEntry { index, gid: gid.parse::<Gid>().expect("a GID"), kind, interface: None }
}

fn limits() -> Limits {
    Limits {
        ports: 1,
        pairs: 1,
        requests: 1,
        completions: 1,
        regions: 1,
        region_bytes: 1,
        shared_receives: 0,
        reads_out: 1,
        reads_in: 1,
    }
}

const UP: Port = Port { is_up: true, is_ethernet: true, mtu: Some(Mtu::Bytes4096), message_bytes: 1 << 20 };

fn device(name: &str, numa_node: Option<u32>, port: Port, gids: Vec<GidEntry>) -> SurveyedDevice {
    let ports = vec![KernelPort {
        number: 1,
        state: if port.is_up { "ACTIVE" } else { "DOWN" }.into(),
        link_layer: if port.is_ethernet { "Ethernet" } else { "InfiniBand" }.into(),
        rate: String::new(),
        gids,
    }];
    let kernel = KernelDevice { name: name.into(), numa_node, ports };
    SurveyedDevice { kernel, opened: Ok(Opened { limits: limits(), ports: vec![Ok(port)] }) }
}

fn survey(devices: Vec<SurveyedDevice>) -> Survey {
    Survey { library: Ok(()), memlock: None, devices }
}

fn good(name: &str, numa_node: Option<u32>) -> SurveyedDevice {
    device(name, numa_node, UP, vec![entry(1, V4, GidKind::V2)])
}

fn why_not(survey: &Survey, wish: &Wish) -> Unusable {
    match choose(survey, wish) {
        Err(NoChoice::Unusable { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ipv4_over_v2_goes_first_and_v1_is_never_chosen() {
    let mut gids = vec![
        entry(0, V4, GidKind::V1),
        entry(1, LOCAL, GidKind::V2),
        entry(2, GLOBAL, GidKind::V2),
        entry(3, V4, GidKind::V2),
    ];
    for expected in [3, 2, 1] {
        let choice = choose(&survey(vec![device("a", None, UP, gids.clone())]), &Wish::default());
        assert_eq!(choice.expect("a choice").gid.index, expected);
        gids.pop();
    }
    assert_eq!(why_not(&survey(vec![device("a", None, UP, gids)]), &Wish::default()), Unusable::NoGid);
}

#[test]
fn a_wished_gid_is_taken_or_refused_by_name() {
    let gids = vec![entry(0, V4, GidKind::V1), entry(1, V4, GidKind::V2), entry(2, LOCAL, GidKind::V2)];
    let survey = survey(vec![device("a", None, UP, gids)]);
    let wish = |index| Wish { gid: Some(index), ..Wish::default() };
    assert_eq!(choose(&survey, &wish(2)).expect("a choice").gid.index, 2);
    assert_eq!(why_not(&survey, &wish(0)), Unusable::GidKind { index: 0, kind: GidKind::V1 });
    assert_eq!(why_not(&survey, &wish(9)), Unusable::NoSuchGid(9));
}

#[test]
fn each_thing_that_is_missing_has_an_answer_of_its_own() {
    let wish = Wish { memory_bytes: 1 << 20, ..Wish::default() };
    let gids = || vec![entry(1, V4, GidKind::V2)];
    let of = |port| survey(vec![device("a", None, port, gids())]);
    let why = |port| why_not(&of(port), &wish);
    assert_eq!(why(Port { is_up: false, ..UP }), Unusable::LinkDown("DOWN".into()));
    assert_eq!(why(Port { is_ethernet: false, ..UP }), Unusable::NotEthernet("InfiniBand".into()));
    assert_eq!(why(Port { mtu: None, ..UP }), Unusable::Mtu);
    let limited = |limit| Survey { memlock: Some(limit), ..of(UP) };
    assert_eq!(why_not(&limited(65_536), &wish), Unusable::Memlock { limit: 65_536, wanted: 1 << 20 });
    assert!(choose(&limited(1 << 20), &wish).is_ok());
    let error = VerbsError::new("ibv_open_device", libc::EACCES);
    for opened in [NotOpened::NoDriver, NotOpened::Refused(error)] {
        let device = SurveyedDevice { opened: Err(opened.clone()), ..good("a", None) };
        let why = why_not(&survey(vec![device]), &wish);
        assert!(why.cure().is_some(), "{why}");
        assert_eq!(why, Unusable::NotOpened(opened));
    }
}

#[test]
fn no_library_and_no_device_are_told_apart() {
    let error = LibraryError::Missing("not there".into());
    let without = Survey { library: Err(error.clone()), ..survey(Vec::new()) };
    assert_eq!(choose(&without, &Wish::default()), Err(NoChoice::NoLibrary(error)));
    assert_eq!(choose(&survey(Vec::new()), &Wish::default()), Err(NoChoice::NoDevice));
}

#[test]
fn a_usable_device_of_the_wished_node_goes_first() {
    let down = device("a", Some(0), Port { is_up: false, ..UP }, Vec::new());
    let survey = survey(vec![down, good("b", Some(1)), good("c", Some(0))]);
    let chosen = |wish: Wish| choose(&survey, &wish).map(|choice| choice.device);
    assert_eq!(chosen(Wish::default()).as_deref(), Ok("b"));
    assert_eq!(chosen(Wish { numa_node: Some(0), ..Wish::default() }).as_deref(), Ok("c"));
    // None of this node is no reason to go without.
    assert_eq!(chosen(Wish { numa_node: Some(7), ..Wish::default() }).as_deref(), Ok("b"));
    let named = |name: &str, port| Wish { device: Some(name.into()), port, ..Wish::default() };
    assert_eq!(chosen(named("c", Some(1))).as_deref(), Ok("c"));
    assert!(matches!(chosen(named("a", None)), Err(NoChoice::Unusable { .. })));
    assert_eq!(chosen(named("c", Some(2))), Err(NoChoice::NoSuchDevice));
    assert_eq!(chosen(named("d", None)), Err(NoChoice::NoSuchDevice));
}
