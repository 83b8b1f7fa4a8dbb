//! The real server's process: paused, resumed and stopped by pidfd, which cannot mean another process of the same number.

use super::{hello::Word, streams::watch};
use rustix::process::{Signal, pidfd_send_signal};
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
    time::timeout,
};

/// A handle on the server; clones are the same server.
#[derive(Debug, Clone)]
pub struct ServerProcess {
    pidfd: Arc<AsyncFd<OwnedFd>>,
    shim: Arc<UnixStream>,
}

impl ServerProcess {
    pub(super) fn new(pidfd: OwnedFd, shim: Arc<UnixStream>) -> io::Result<ServerProcess> {
        Ok(ServerProcess { pidfd: Arc::new(watch(pidfd, Interest::READABLE)?), shim })
    }

    /// Pauses it (SIGSTOP). What it already did it did; it takes no further step.
    ///
    /// # Errors
    /// It has ended, or neither daemon nor shim can signal it.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP, &Word::Pause)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// As [`ServerProcess::pause`].
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT, &Word::Resume)
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        // A pidfd is readable from the end of its process on. An error here means that it is not a pidfd any more: as good as ended.
        let _ = self.pidfd.readable().await;
    }

    /// Ends it: asks, and after `grace` insists. Does nothing when it has ended.
    pub async fn stop(&self, grace: Duration) {
        for signal in [Signal::TERM, Signal::KILL] {
            // ESRCH: it has ended, which is what is wanted. What a stopped process is asked it hears when it goes on.
            let _ = self.signal(signal, &Word::Stop);
            let _ = self.signal(Signal::CONT, &Word::Resume);
            if timeout(grace, self.ended()).await.is_ok() {
                return;
            }
        }
    }

    /// By ourselves, or where the daemon has another account, by the shim.
    fn signal(&self, signal: Signal, word: &Word) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Err(rustix::io::Errno::PERM) => self.say(word),
            other => other.map_err(io::Error::from),
        }
    }

    /// Tells the shim. Never waits: a shim that does not read its few short lines is as good as gone.
    pub(super) fn say(&self, word: &Word) -> io::Result<()> {
        self.shim.try_write(&word.line()).map(|_| ())
    }
}
