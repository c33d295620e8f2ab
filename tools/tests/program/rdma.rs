//! One list for machines without libibverbs, with the library and no device, and with a device: the same program serves on each, and
//! says what it has. `TORC_TEST_RDMA_STATE` says which of them this is (`library`, `no-library`, `device`); the guest is made each of
//! them in turn (tools/guest/suite.sh).

use crate::harness::{Server, finish, serve, stderr_of, torc};
use std::io::{Read, Write};
use std::net::TcpStream;

/// What this machine has, and the words for it.
fn state() -> Option<(bool, &'static str, &'static str)> {
    let state = std::env::var("TORC_TEST_RDMA_STATE").ok()?;
    Some(match state.as_str() {
        "device" => (true, "usable: MTU", "RDMA: rxe_"),
        "library" => (false, "libibverbs, and no device", "no RDMA: this machine has no RDMA device"),
        "no-library" => (false, "no device; there is no libibverbs", "no RDMA: there is no libibverbs"),
        other => panic!("TORC_TEST_RDMA_STATE={other}"),
    })
}

fn serves_over_tcp(server: &Server) {
    let mut socket = TcpStream::connect(server.address()).expect("it accepts");
    socket.write_all(b"PING\r\n").expect("sent");
    let mut answer = [0; 7];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+PONG\r\n");
}

/// What a server says that ends when it is asked to.
fn said(mut server: Server) -> String {
    serves_over_tcp(&server);
    server.signal(libc::SIGTERM);
    let (status, said) = server.wait();
    assert!(status.success(), "{status}: {said}");
    said
}

#[test]
fn the_doctor_says_what_there_is() {
    let Some((_, doctor, _)) = state() else { return };
    let output = finish(torc().arg("doctor"));
    assert!(output.status.success(), "{}", stderr_of(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_rdma: Vec<&str> = told.lines().filter(|line| line.contains("RDMA")).collect();
    assert!(of_rdma.iter().any(|line| line.contains(doctor)), "{told}");
}

#[test]
fn a_server_serves_and_its_banner_says_what_it_has() {
    let Some((_, _, banner)) = state() else { return };
    let said_by_default = said(Server::start(&[]));
    assert!(said_by_default.contains(banner), "{said_by_default}");
    let said = said(Server::start(&["--rdma=off"]));
    assert!(!said.contains("RDMA"), "{said}");
}

/// SoftRoCE counts them all from the start.
#[test]
fn what_the_device_counts_is_shown_where_there_is_one() {
    let Some((has_device, _, _)) = state() else { return };
    let (_, metrics) = Server::start(&[]).admin("/metrics");
    for event in ["completer_retry_err", "rcvd_rnr_err", "out_of_seq_request"] {
        let series = format!("torc_rdma_device_events_total{{event=\"{event}\"}} ");
        assert_eq!(metrics.contains(&series), has_device, "{metrics}");
    }
}

#[test]
fn who_requires_it_gets_it_or_hears_why_not() {
    let Some((has_device, _, banner)) = state() else { return };
    if has_device {
        let said = said(Server::start(&["--rdma=require"]));
        assert!(said.contains(banner), "{said}");
        return;
    }
    let output = finish(&mut serve(&["--rdma=require"]));
    assert!(!output.status.success());
    let said = stderr_of(&output);
    let why = banner.trim_start_matches("no RDMA: ");
    assert!(said.contains("--rdma require: ") && said.contains(why), "{said}");
}
