//! What a process still does when a signal ends it: it sends a datagram and removes a file.
//!
//! Both are prepared beforehand, because a handler may call only async-signal-safe functions (signal-safety(7)), such as
//! sendto(2) and unlinkat(2).

use std::ffi::CString;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

use nix::sys::signal::Signal;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use signal_hook::low_level::{emulate_default_handler, register};

/// A datagram, its receiver, and the socket that it goes through.
struct Datagram {
    socket: UdpSocket,
    to: SockaddrStorage,
    bytes: Vec<u8>,
}

/// A name in a folder.
struct Name {
    folder: OwnedFd,
    name: CString,
}

static DATAGRAM: AtomicPtr<Datagram> = AtomicPtr::new(ptr::null_mut());
static NAME: AtomicPtr<Name> = AtomicPtr::new(ptr::null_mut());

/// Registers the handler of a signal, which then ends the process as it does by default. A signal that is ignored stays so.
///
/// # Errors
/// EINVAL for a signal that cannot be caught.
pub fn catch(signal: Signal) -> std::io::Result<()> {
    let number = signal as i32;
    if is_ignored(number) {
        return Ok(());
    }
    let end = move || {
        act();
        let _ = emulate_default_handler(number); // ends the process
    };
    // SAFETY: `act` makes system calls of the list of signal-safety(7) and reads memory that is never freed or written to;
    // emulate_default_handler is async-signal-safe by its documentation.
    unsafe { register(number, end) }.map(drop)
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: the kernel fills in the struct, which is plain numbers and may be zero; nothing is changed.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action);
        action
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Sets the datagram to be sent. It takes a few hundred bytes for good, each time.
///
/// # Errors
/// dup(2) fails.
pub fn send(socket: &UdpSocket, to: SocketAddr, bytes: Vec<u8>) -> std::io::Result<()> {
    let datagram = Datagram { socket: socket.try_clone()?, to: to.into(), bytes };
    DATAGRAM.store(Box::into_raw(Box::new(datagram)), SeqCst);
    Ok(())
}

/// Sets the file to be removed; as [`send`] otherwise.
///
/// # Errors
/// The name has a NUL.
pub fn remove(folder: OwnedFd, name: Vec<u8>) -> std::io::Result<()> {
    let name = Name { folder, name: CString::new(name)? };
    NAME.store(Box::into_raw(Box::new(name)), SeqCst);
    Ok(())
}

/// Forgets both.
pub fn forget() {
    DATAGRAM.store(ptr::null_mut(), SeqCst);
    NAME.store(ptr::null_mut(), SeqCst);
}

fn act() {
    // SAFETY: the pointer is null or comes from Box::into_raw, and what it points to is never freed or changed.
    if let Some(Datagram { socket, to, bytes }) = unsafe { DATAGRAM.load(SeqCst).as_ref() } {
        let (bytes, flags) = ((bytes.as_ptr().cast(), bytes.len()), libc::MSG_DONTWAIT);
        // SAFETY: the descriptor is open, and both pairs of pointer and length are those of live memory.
        unsafe {
            libc::sendto(socket.as_raw_fd(), bytes.0, bytes.1, flags, to.as_ptr(), to.len());
        }
    }
    // SAFETY: as above.
    if let Some(Name { folder, name }) = unsafe { NAME.load(SeqCst).as_ref() } {
        // SAFETY: the descriptor is open, and the name ends with NUL.
        unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), 0) };
    }
}
