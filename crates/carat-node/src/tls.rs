//! TLS of the server: a certificate and its key from two files, which may change while the server runs.
//!
//! Versions 1.2 and 1.3, by rustls with ring. A new pair is checked before it replaces the old one: the key must be the
//! certificate's, the certificate must be in force, and nobody but the owner and their group may read the key.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::files;

/// Largest file of certificates or of a key.
const MAX_PEM: u64 = 1 << 20;
/// The first byte of a TLS connection: a record of type handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// What a caller is told that speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 41\r\n\r\nthis port speaks TLS: ask with https://\r\n";

/// A certificate with its key; the two belong together.
struct Pair {
    certified: Arc<CertifiedKey>,
    /// Unix seconds after which the certificate is not in force any more.
    not_after: u64,
    /// The files' bytes, hashed: what a change is noticed by.
    digest: carat_receipt::Digest,
}

/// The certificate in force. Replaced as a whole or not at all.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    pair: RwLock<Pair>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificates({})", self.certificate.display())
    }
}

impl Certificates {
    /// Reads and checks a pair. `now` is in Unix seconds.
    ///
    /// # Errors
    /// What is wrong with one of the files, or with the two together.
    pub fn load(certificate: &Path, key: &Path, now: u64) -> Result<Self, Failure> {
        Ok(Self {
            pair: RwLock::new(pair(certificate, key, &read(certificate, key)?, now)?),
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
        })
    }

    /// Reads the files again. A pair that changed and can be used replaces the old one at once; new connections get it.
    ///
    /// # Errors
    /// Why the files on disk are not in force.
    pub fn refresh(&self, now: u64) -> Result<bool, Failure> {
        let bytes = read(&self.certificate, &self.key)?;
        if bytes.digest() == self.with(|pair| pair.digest) {
            return Ok(false);
        }
        let new = pair(&self.certificate, &self.key, &bytes, now)?;
        *self.pair.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }

    /// Unix seconds after which the certificate is not in force any more.
    pub fn not_after(&self) -> u64 {
        self.with(|pair| pair.not_after)
    }

    fn with<T>(&self, look: impl FnOnce(&Pair) -> T) -> T {
        look(&self.pair.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.with(|pair| pair.certified.clone()))
    }
}

/// The two files as they are on disk.
struct Bytes {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Bytes {
    fn digest(&self) -> carat_receipt::Digest {
        carat_receipt::Digest::of("carat/tls-pair/v1", &[&self.certificate, &self.key])
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Bytes, Failure> {
    files::refuse_public(key)?;
    Ok(Bytes {
        certificate: files::read_capped(certificate, "a TLS certificate", MAX_PEM)?,
        key: Zeroizing::new(files::read_capped(key, "a TLS key", MAX_PEM)?),
    })
}

fn pair(certificate: &Path, key: &Path, bytes: &Bytes, now: u64) -> Result<Pair, Failure> {
    let refuse = |path: &Path, why: String| {
        Failure::new(Exit::Usage, format!("TLS: {}: {why}", path.display()))
    };
    let chain = CertificateDer::pem_slice_iter(&bytes.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(certificate, format!("{error}")))?;
    let Some(first) = chain.first() else {
        return Err(refuse(
            certificate,
            "no certificate in it: give the server's certificate in PEM, then those that issued it"
                .into(),
        ));
    };
    let (not_before, not_after) = validity(first).map_err(|why| refuse(certificate, why))?;
    if now > not_after {
        return Err(refuse(
            certificate,
            format!("it expired {} ago: renew it", ago(now - not_after)),
        ));
    }
    if now < not_before {
        return Err(refuse(
            certificate,
            format!(
                "it comes into force in {}: check this machine's clock",
                ago(not_before - now)
            ),
        ));
    }
    let secret = PrivateKeyDer::from_pem_slice(&bytes.key)
        .map_err(|error| refuse(key, format!("no private key in PEM: {error}")))?;
    let provider = rustls::crypto::ring::default_provider();
    let certified =
        CertifiedKey::from_der(chain, secret, &provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => refuse(
                key,
                format!("it is not the key of {}", certificate.display()),
            ),
            error => refuse(key, error.to_string()),
        })?;
    Ok(Pair {
        certified: Arc::new(certified),
        not_after,
        digest: bytes.digest(),
    })
}

/// From when to when a certificate is in force, in Unix seconds.
fn validity(certificate: &CertificateDer<'_>) -> Result<(u64, u64), String> {
    let certificate = Certificate::from_der(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let validity = certificate.tbs_certificate().validity();
    Ok((
        validity.not_before.to_unix_duration().as_secs(),
        validity.not_after.to_unix_duration().as_secs(),
    ))
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{seconds} s"),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Takes connections that speak TLS.
pub struct Acceptor {
    tls: TlsAcceptor,
    patience: Duration,
}

impl Acceptor {
    /// With the certificate in force, and a time for each handshake.
    ///
    /// # Errors
    /// A fault of the build: the provider lacks a version of the protocol.
    pub fn new(certificates: Arc<Certificates>, patience: Duration) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Failure::of(Exit::Internal))?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            patience,
        })
    }

    /// The handshake. `None`: it failed or took too long, and the connection is closed.
    pub async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        tokio::time::timeout(self.patience, self.shake(stream))
            .await
            .ok()
            .flatten()
    }

    async fn shake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first[0] == HANDSHAKE => self.tls.accept(stream).await.ok(),
            // The methods of HTTP are capitals.
            Ok(1) if first[0].is_ascii_uppercase() => {
                say(&stream, PLAIN_HTTP).await;
                None
            }
            _ => None,
        }
    }
}

/// Answers whoever speaks HTTP here. What they sent is read first: closing over unread bytes would reset the connection.
async fn say(stream: &TcpStream, answer: &[u8]) {
    let mut sent = [0; 16 * 1024];
    let _ = stream.try_read(&mut sent);
    if stream.writable().await.is_ok() {
        let _ = stream.try_write(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_is_told_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len()))
                || head.ends_with(&format!("content-length: {}", body.len()))
        );
    }

    #[test]
    fn times_are_said_in_units_that_people_use() {
        assert_eq!(ago(59), "59 s");
        assert_eq!(ago(7200), "2 hours");
        assert_eq!(ago(30 * 86_400), "30 days");
    }
}
