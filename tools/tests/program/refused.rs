//! io_uring refused: by a setting, and by a seccomp filter as containers have one.

use crate::harness::{Server, finish, serve, stderr_of, torc};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn the_epoll_transport_serves_when_it_is_chosen() {
    let server = Server::start(&["--transport=epoll"]);
    assert_eq!(server.ready["transport"], "epoll");
    server.connect().ask(b"set k 0 0 1\r\nv\r\nget k\r\n", b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n");
}

#[test]
fn a_seccomp_filter_makes_auto_fall_back_and_the_banner_say_why() {
    let mut command = serve(&[]);
    refuse_io_uring(&mut command);
    let mut server = Server::spawn(&mut command);
    assert_eq!(server.ready["transport"], "epoll");
    server.connect().ask(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
    server.signal(libc::SIGTERM);
    let (status, stderr) = server.wait();
    assert!(status.success(), "{stderr}");
    let line = stderr.lines().find(|line| line.trim_start().starts_with("transport")).unwrap_or_default();
    assert!(line.contains("epoll") && line.contains("io_uring") && line.contains("torc doctor"), "{stderr}");
}

#[test]
fn asking_for_uring_where_it_is_refused_is_an_error_with_the_cure() {
    let mut command = serve(&["--transport=uring"]);
    refuse_io_uring(&mut command);
    let output = finish(&mut command);
    let stderr = stderr_of(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.contains("--transport") && last.contains("epoll"), "{stderr}");
}

#[test]
fn the_doctor_names_the_filter_and_its_cure() {
    let mut command = torc();
    command.args(["doctor", "--json"]);
    refuse_io_uring(&mut command);
    let output = finish(&mut command);
    assert!(output.status.success(), "{}", stderr_of(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == "io_uring").expect("io_uring is checked");
    assert_eq!(check["state"], "missing");
    let cure = check["cure"].as_str().unwrap_or_default();
    assert!(cure.contains("seccomp") || cure.contains("sysctl"), "{cure}");
}

/// Makes the kernel answer EPERM to `io_uring_setup`, as the usual container profiles do.
fn refuse_io_uring(command: &mut Command) {
    let load = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let filter = [
        // The number of the system call is the first word of what the filter sees.
        load(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        load(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        load(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let mut filter = filter;
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: no pointers; the flag is needed to install a filter without privileges.
        let quiet = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the program and its instructions live until the call, which copies them, has returned.
        let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
        if quiet == 0 && set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec the closure makes system calls alone: no allocation, no lock.
    unsafe { command.pre_exec(install) };
}
