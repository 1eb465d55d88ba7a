//! Connections to other servers over HTTP/1.1, plain or through TLS.

use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exit::{Exit, Failure};
use crate::files;

/// Largest file of authorities.
const MAX_PEM: u64 = 16 << 20;

/// An error of a connection, in words.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Where to connect to, and how.
pub struct Target {
    /// Host and port as they stand in the address.
    pub authority: String,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// The server of an address `http://HOST[:PORT]` or `https://HOST[:PORT]`. The latter's certificate must come from an
    /// authority in the file, or without one from an authority that this system trusts.
    ///
    /// # Errors
    /// What the address lacks, or what is wrong with the authorities.
    pub fn new(uri: &Uri, ca: Option<&Path>) -> Result<Self, Failure> {
        let usage = |what: &str| Failure::new(Exit::Usage, format!("{uri}: {what}"));
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(|| usage("give http://HOST:PORT or https://HOST:PORT, without a user"))?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_string();
        let tls = match uri.scheme_str() {
            Some("http") if ca.is_some() => {
                return Err(usage("--ca is for https, and this address is plain http"));
            }
            Some("http") => None,
            Some("https") => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| usage("the host is neither a name nor an address"))?;
                Some((connector(ca)?, name))
            }
            _ => return Err(usage("it begins with neither http:// nor https://")),
        };
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority
                .as_str()
                .rsplit_once(']')
                .map_or(authority.as_str(), |(_, rest)| rest)
                .contains(':') =>
            {
                return Err(usage("its port is no number up to 65535"));
            }
            None if tls.is_some() => 443,
            None => 80,
        };
        Ok(Self {
            authority: authority.to_string(),
            host,
            port,
            tls,
        })
    }

    /// A new connection. It lives in the runtime that this is called in.
    ///
    /// # Errors
    /// What did not work, with what to do where that is known.
    pub async fn open<B>(&self) -> Result<SendRequest<B>, Broken>
    where
        B: Body<Data: Send, Error: Into<Broken>> + Send + 'static,
    {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some((connector, name)) = &self.tls else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|error| explained(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Says what to do about the mistakes that people make most.
fn explained(error: &std::io::Error) -> Broken {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let hint = match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; nobody who is trusted here issued the server's certificate (--ca FILE names the authority)"
        }
        Some(rustls::Error::InvalidMessage(_)) => "; does the server speak plain http?",
        _ => "",
    };
    format!("TLS: {error}{hint}").into()
}

/// TLS that trusts the authorities in a file, or without one those that this system trusts.
///
/// # Errors
/// What is wrong with the authorities.
pub(crate) fn connector(ca: Option<&Path>) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let refuse = |why: &dyn std::fmt::Display| {
                Failure::new(Exit::Usage, format!("{}: {why}", path.display()))
            };
            let bytes = files::read_capped(path, "certificates of authorities", MAX_PEM)?;
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate = certificate.map_err(|error| refuse(&error))?;
                roots.add(certificate).map_err(|error| refuse(&error))?;
            }
            if roots.is_empty() {
                return Err(refuse(&"no certificate in it; give authorities in PEM"));
            }
        }
        None => {
            // Some of a system's many authorities may be unreadable; those that are left decide.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let message = "this system has no list of certificate authorities (Debian: apt-get install ca-certificates); or name a file of them";
                return Err(Failure::new(Exit::Usage, message));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::of(Exit::Internal))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
