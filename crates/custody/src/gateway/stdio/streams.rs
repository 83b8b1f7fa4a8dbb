//! Descriptors of strangers as asynchronous streams: pipes and sockets by readiness, files and terminals by a blocking thread.

use rustix::{
    fs::{FileType, OFlags},
    io::Errno,
};
use std::{io, os::fd::OwnedFd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest, unix::AsyncFd};

/// What can be waited for. Node gives its children sockets, Python pipes, a shell may give a file or a terminal.
fn readiness(descriptor: &OwnedFd) -> io::Result<bool> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode);
    let waits = matches!(kind, FileType::Fifo | FileType::Socket);
    if waits {
        let flags = rustix::fs::fcntl_getfl(descriptor)?;
        rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)?;
    }
    Ok(waits)
}

/// Registers a descriptor with the runtime.
///
/// The safe constructor is deprecated because a descriptor that its owner closes early would be waited for under another meaning.
/// An `OwnedFd` inside the `AsyncFd` cannot be closed early, and the replacement would need `unsafe`, which is forbidden here.
#[allow(deprecated, reason = "sound for an OwnedFd, see above")]
pub(super) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, interest)
}

#[derive(Debug)]
pub(super) enum Input {
    Ready(AsyncFd<OwnedFd>),
    Blocking(tokio::fs::File),
}

impl Input {
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Input> {
        Ok(match readiness(&descriptor)? {
            true => Input::Ready(watch(descriptor, Interest::READABLE)?),
            false => Input::Blocking(std::fs::File::from(descriptor).into()),
        })
    }

    /// Reads some bytes. 0: the end. Cancel-safe.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Blocking(file) => file.read(buffer).await,
            Input::Ready(descriptor) => loop {
                let mut ready = descriptor.readable().await?;
                match rustix::io::read(descriptor.get_ref(), &mut *buffer) {
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(Errno::INTR) => {}
                    // A socket whose other end died.
                    Err(Errno::CONNRESET) => return Ok(0),
                    other => return other.map_err(io::Error::from),
                }
            },
        }
    }
}

#[derive(Debug)]
pub(super) enum Output {
    Ready(AsyncFd<OwnedFd>),
    Blocking(tokio::fs::File),
}

impl Output {
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Output> {
        Ok(match readiness(&descriptor)? {
            true => Output::Ready(watch(descriptor, Interest::WRITABLE)?),
            false => Output::Blocking(std::fs::File::from(descriptor).into()),
        })
    }

    /// Waits until a first byte can be written.
    pub(super) async fn writable(&self) -> io::Result<()> {
        if let Output::Ready(descriptor) = self {
            loop {
                let mut ready = descriptor.writable().await?;
                let mut poll = [rustix::event::PollFd::new(descriptor.get_ref(), rustix::event::PollFlags::OUT)];
                // The readiness that tokio remembers may be stale; the kernel knows.
                if rustix::event::poll(&mut poll, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
                    return Ok(());
                }
                ready.clear_ready();
            }
        }
        Ok(())
    }

    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Blocking(file) => {
                file.write_all(bytes).await?;
                file.flush().await
            }
            Output::Ready(descriptor) => {
                while !bytes.is_empty() {
                    let mut ready = descriptor.writable().await?;
                    match rustix::io::write(descriptor.get_ref(), bytes) {
                        Ok(written) => bytes = &bytes[written..],
                        Err(Errno::AGAIN) => ready.clear_ready(),
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            }
        }
    }
}
