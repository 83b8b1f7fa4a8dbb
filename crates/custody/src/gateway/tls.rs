//! TLS of both listeners: certificates from files, taken up again on SIGHUP and when the files change. Connections that are
//! there keep what they were opened with; a set of files that cannot be used leaves the one before in force.

use crate::config::Certificate;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

/// Longest time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// A connection, encrypted or not.
pub type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TlsError {
    /// A file cannot be read, or has nothing of the kind in it.
    #[error("{listener}.tls: {path} has no usable {what}: {why}")]
    #[diagnostic(help("PEM: `cert` holds the server's certificate first and then those above it, `key` its private key, not encrypted"))]
    File {
        /// `agents` or `operators`.
        listener: &'static str,
        /// Which.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Both can be read, and do not go together.
    #[error("{listener}.tls: the certificate in {cert} and the key in {key} cannot be used together: {source}")]
    #[diagnostic(help("`key` must be the private key of the first certificate in `cert`"))]
    Pair {
        /// `agents` or `operators`.
        listener: &'static str,
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: Box<rustls::Error>,
    },
}

/// The TLS of one listener.
pub struct Tls {
    listener: &'static str,
    files: Certificate,
    config: ArcSwap<ServerConfig>,
    stamps: Mutex<Option<[Stamp; 2]>>,
}

/// Tells one version of a file from another.
type Stamp = (u64, u64, i64, i64);

impl Tls {
    /// Reads the files of a listener.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(listener: &'static str, files: &Certificate) -> Result<Arc<Tls>, TlsError> {
        let stamps = stamps(files);
        let config = read(listener, files)?;
        Ok(Arc::new(Tls { listener, files: files.clone(), config: ArcSwap::from(config), stamps: Mutex::new(stamps) }))
    }

    /// The handshake of one connection, in bounded time.
    async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let accepting = TlsAcceptor::from(self.config.load_full()).accept(stream);
        tokio::time::timeout(HANDSHAKE, accepting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads the files again, for connections to come.
    ///
    /// # Errors
    /// See [`TlsError`]; then what was in force stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        // Before the content: what is written in between is seen at the next look.
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        self.config.store(read(self.listener, &self.files)?);
        Ok(())
    }

    /// As [`Tls::reload`], told in the log.
    pub fn reload_and_tell(&self) {
        match self.reload() {
            Ok(()) => tracing::warn!(listener = self.listener, "the certificate is reloaded"),
            Err(error) => tracing::error!(%error, "the certificate is refused; the one before stays in force"),
        }
    }

    /// Follows the files until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            // Half of a pair is not looked at: it is being replaced.
            let Some(now) = stamps(&self.files) else { continue };
            if *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) != Some(now) {
                self.reload_and_tell();
            }
        }
    }
}

/// One accepted connection, with its handshake if the listener has TLS. `None`: it came to nothing, or `stop` came first.
pub async fn secure(tls: Option<&Tls>, stream: TcpStream, stop: &CancellationToken) -> Option<Wire> {
    let Some(tls) = tls else { return Some(Either::Left(stream)) };
    let accepted = tokio::select! {
        () = stop.cancelled() => return None,
        accepted = tls.accept(stream) => accepted,
    };
    match accepted {
        Ok(stream) => Some(Either::Right(Box::new(stream))),
        Err(error) => {
            tracing::debug!(listener = tls.listener, %error, "a TLS handshake failed");
            None
        }
    }
}

fn read(listener: &'static str, files: &Certificate) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |path: &Path, what, why: String| TlsError::File { listener, path: path.to_owned(), what, why };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(|error| unusable(&files.cert, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(&files.cert, "certificate", "no CERTIFICATE section".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, "private key", error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|why| TlsError::Pair { listener, cert: files.cert.clone(), key: files.key.clone(), source: Box::new(why) })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn stamps(files: &Certificate) -> Option<[Stamp; 2]> {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
    };
    Some([stamp(&files.cert)?, stamp(&files.key)?])
}
