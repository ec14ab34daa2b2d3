//! Opens TCP and TLS streams.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

/// A connected stream of bytes, plain or encrypted.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection attempt under way. Dropping it abandons the attempt.
pub type Connecting<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Opens streams to the host and port of a URL, encrypted for `wss` and `https`.
pub trait Connector: Send + Sync + fmt::Debug {
    /// Connects. It has no time limit of its own: the caller sets one.
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a>;
}

/// Why the trusted certificates cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read or holds no certificate in PEM form.
    #[error("cannot read certificates from {path}: {reason}")]
    CaFile {
        /// Which file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The TLS library refused the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Connects through the operating system, with rustls for TLS. It uses its own crypto provider, so
/// the embedding program need not install one.
#[derive(Clone)]
pub struct SystemConnector {
    tls: Arc<ClientConfig>,
}

impl SystemConnector {
    /// Trusts Mozilla's roots, and beside them the certificates of a PEM file if one is given.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        if let Some(path) = ca_file {
            let unreadable =
                |reason: String| TlsError::CaFile { path: path.display().to_string(), reason };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unreadable(error.to_string()))?;
            if certificates.is_empty() {
                return Err(unreadable("no certificate in it".into()));
            }
            for certificate in certificates {
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }
}

impl fmt::Debug for SystemConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemConnector")
    }
}

impl Connector for SystemConnector {
    fn connect<'a>(&'a self, url: &'a Url) -> Connecting<'a> {
        Box::pin(async move {
            let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason);
            let host = url.host_str().ok_or_else(|| invalid("the address has no host"))?;
            let encrypted = matches!(url.scheme(), "wss" | "https");
            let port = url.port().unwrap_or(if encrypted { 443 } else { 80 });
            let bare_host = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((bare_host, port)).await?;
            tcp.set_nodelay(true)?;
            if !encrypted {
                return Ok(Box::new(tcp) as Box<dyn ByteStream>);
            }
            let name = ServerName::try_from(bare_host.to_owned())
                .map_err(|_| invalid("the host is no name that TLS can check"))?;
            let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?;
            Ok(Box::new(tls) as Box<dyn ByteStream>)
        })
    }
}
