//! Descriptors over a Unix socket (`SCM_RIGHTS`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors of one message; the kernel takes 253.
const MESSAGE_DESCRIPTORS: usize = 64;
/// Room for them, and for the head of the control data, in words of 8 bytes.
const CONTROL_WORDS: usize = 4 + MESSAGE_DESCRIPTORS * size_of::<RawFd>() / 8;

/// Sends bytes, then the descriptors, each message of them with one zero byte ([N-SHM-2]). Never waits.
///
/// # Errors
/// The socket does not take all of it at once, or the kernel refused. Something may have been sent.
pub fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_message(socket, bytes, &[])?;
    descriptors.chunks(MESSAGE_DESCRIPTORS).try_for_each(|some| send_message(socket, &[0], some))
}

fn send_message(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: a header of zeros is a valid one: no address, no slices, no control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let data = size_of_val(descriptors) as u32;
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: the two only calculate.
        let (space, len) = unsafe { (libc::CMSG_SPACE(data), libc::CMSG_LEN(data)) };
        header.msg_controllen = space as usize;
        // SAFETY: the control data has room for one head and `MESSAGE_DESCRIPTORS` descriptors, and is aligned as heads are.
        unsafe {
            let head = libc::CMSG_FIRSTHDR(&raw const header);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = len as usize;
            let list = libc::CMSG_DATA(head).cast::<RawFd>();
            for (number, descriptor) in descriptors.iter().enumerate() {
                list.add(number).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: header, slice, bytes and control data are live and only read.
    match unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) } {
        sent if sent == bytes.len() as isize => Ok(()),
        0.. => Err(io::Error::new(io::ErrorKind::WriteZero, "the socket is full")),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Receives bytes behind what `bytes` holds, at most `max`, and whatever descriptors come with them. Waits as long as the socket's
/// own time-out says. Says how many bytes came.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    max: usize,
    bytes: &mut Vec<u8>,
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let before = bytes.len();
    bytes.resize(before + max, 0);
    let received = receive_message(socket, &mut bytes[before..], descriptors);
    bytes.truncate(before + received.as_ref().copied().unwrap_or_default());
    received
}

fn receive_message(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut slice = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: a header of zeros is a valid one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: header, slice, room and control data are live, and writable for the lengths that the header names.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written `msg_controllen` bytes of control data, as whole heads with their data; the macros walk
    // those. The descriptors are new, and nobody else knows them.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&raw const header);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*head).cmsg_len - libc::CMSG_LEN(0) as usize;
                let list = libc::CMSG_DATA(head).cast::<RawFd>();
                for number in 0..bytes / size_of::<RawFd>() {
                    descriptors.push_back(OwnedFd::from_raw_fd(list.add(number).read_unaligned()));
                }
            }
            head = libc::CMSG_NXTHDR(&raw const header, head);
        }
    }
    Ok(received as usize)
}
