//! May this process use io_uring, with all that the transport needs?

use super::buffers::BufferRing;
use super::build_ring;
use super::enter::RegisteredRing;
use io_uring::{Probe, opcode};
use std::{fs, io};

/// The sysctl that forbids io_uring: 1 to the unprivileged, 2 to all.
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Tries everything once on a small ring. The error is a sentence with the cause and the cure.
pub fn probe() -> Result<(), String> {
    let ring = build_ring(8, 16, true).map_err(|error| explain(&error))?;
    let registered =
        RegisteredRing::new(&ring).map_err(|error| missing("a registered ring descriptor", &error))?;
    let mut operations = Probe::new();
    ring.submitter().register_probe(&mut operations).map_err(|error| explain(&error))?;
    let needed = [
        ("accept", opcode::AcceptMulti::CODE),
        ("receive", opcode::RecvMulti::CODE),
        ("send", opcode::Send::CODE),
        ("sendmsg", opcode::SendMsg::CODE),
        ("poll", opcode::PollAdd::CODE),
        ("read", opcode::Read::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
    ];
    if let Some((name, _)) = needed.iter().find(|(_, code)| !operations.is_supported(*code)) {
        return Err(format!("the kernel's io_uring has no '{name}' operation; Linux 6.1 or newer has it"));
    }
    let mut buffers = BufferRing::new(8, 64).map_err(|error| explain(&error))?;
    // SAFETY: no receive is ever submitted to this ring, and the ring goes before the buffers do.
    unsafe { buffers.register(&ring.submitter()) }
        .map_err(|error| missing("a ring of provided buffers", &error))?;
    registered.unregister(&ring);
    drop(ring);
    drop(buffers);
    Ok(())
}

/// Whether a wait can be given a minimum (since Linux 6.12).
pub fn has_min_wait() -> bool {
    build_ring(8, 16, false).is_ok_and(|ring| ring.params().is_feature_min_timeout())
}

fn missing(feature: &str, error: &io::Error) -> String {
    format!("io_uring here lacks {feature} ({error}); Linux 6.1 or newer has it")
}

fn explain(error: &io::Error) -> String {
    let disabled = fs::read_to_string(SYSCTL).unwrap_or_default();
    match (error.raw_os_error(), disabled.trim()) {
        (Some(libc::EPERM), "1") => {
            format!("{SYSCTL} is 1: io_uring is for privileged processes only; set it to 0")
        }
        (Some(libc::EPERM), "2") => format!("{SYSCTL} is 2: io_uring is forbidden; set it to 0"),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is forbidden to this process (a container's seccomp profile, most likely); allow the \
             io_uring_* system calls"
                .into()
        }
        (Some(libc::ENOSYS), _) => {
            "the kernel has no io_uring, or a seccomp profile hides it; Linux 6.1 or newer has it".into()
        }
        (Some(libc::EINVAL), _) => {
            "the kernel's io_uring lacks deferred task work or a single issuer; Linux 6.1 or newer has them"
                .into()
        }
        (Some(libc::ENOMEM), _) => {
            "io_uring could not lock its memory; raise the memlock limit (ulimit -l)".into()
        }
        _ => format!("io_uring could not be set up: {error}"),
    }
}
