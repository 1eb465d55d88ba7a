//! Connections that the node, or the verifying proxy, opens itself: to upstreams that its operator named, and nowhere else.
//!
//! No redirect is followed, no proxy of the environment is used, nothing is unpacked. Every wait has a limit and every answer a size.

pub mod address;
mod exchange;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use axum::body::Body;
use hyper::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

pub use exchange::{Exchange, Limits, Request, Whole};

use crate::connect::connector;
use crate::exit::{Exit, Failure};

/// Largest head of an answer.
const MAX_HEAD: usize = 64 * 1024;

/// What a destination may be.
#[derive(Debug, Clone, Default)]
pub struct Permits<'a> {
    /// Addresses that are refused unless they are named here: link-local ones, metadata services.
    pub addresses: &'a [IpAddr],
    /// Plain HTTP to addresses outside this machine and private networks.
    pub plain_http: bool,
    /// The authorities of its certificate, in PEM; without them those that this system trusts.
    pub authorities: Option<&'a Path>,
}

/// Where requests go: a server, and what its paths begin with.
#[derive(Clone)]
pub struct Destination {
    host: String,
    port: u16,
    prefix: String,
    /// As it stands in the header `Host`.
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    addresses: Vec<IpAddr>,
    plain_http: bool,
}

/// Why there is no answer, or none that may be used. The other side is at fault unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Its address is one that nothing is sent to.
    #[error(
        "its name gives the address {address}, which is {what}; the operator can allow it by name (allow_addresses)"
    )]
    Address {
        /// The address.
        address: IpAddr,
        /// What it is.
        what: &'static str,
    },
    /// Plain HTTP to the world.
    #[error(
        "its name gives the public address {0}, and plain HTTP would show everything on the way; use https, or say plain_http = true"
    )]
    PlainHttp(IpAddr),
    /// No connection.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// A limit on time passed.
    #[error("{what} did not come within {limit_ms} ms")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        limit_ms: u64,
    },
    /// The connection ended early.
    #[error("its connection ended before the answer did")]
    Cut,
    /// What it sent is not HTTP.
    #[error("its answer is not HTTP: {0}")]
    Http(String),
    /// It sends elsewhere.
    #[error("it answered {0} and sends elsewhere; redirects are not followed")]
    Redirect(u16),
    /// It packs its answer.
    #[error("it packed its answer ({0}) although it was asked not to; nothing is unpacked")]
    Encoding(String),
    /// Too much.
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// A connection for one request. It ends when this is dropped.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Body>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

impl Destination {
    /// Reads an address such as `https://api.example/v1`.
    ///
    /// # Errors
    /// [`Exit::Usage`] for what is no such address; what is wrong with the file of authorities.
    pub fn new(url: &str, permits: &Permits<'_>) -> Result<Self, Failure> {
        let refuse = |why: &str| Failure::new(Exit::Usage, format!("{url}: {why}"));
        let uri: Uri = url.parse().map_err(|error| refuse(&format!("{error}")))?;
        let Some(authority) = uri.authority() else {
            return Err(refuse("give http://HOST[:PORT][/PATH] or https://..."));
        };
        if authority.as_str().contains('@') {
            return Err(refuse(
                "no user and password stand in an address; keys have keys of their own",
            ));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(refuse("an address ends with its path"));
        }
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("give http:// or https://")),
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if https => 443,
            None => 80,
        };
        let tls = if https {
            let name = ServerName::try_from(host.to_string())
                .map_err(|error| refuse(&format!("{error}")))?;
            Some((connector(permits.authorities)?, name))
        } else if permits.authorities.is_some() {
            return Err(refuse(
                "authorities say nothing about plain HTTP; use https",
            ));
        } else {
            None
        };
        Ok(Self {
            host: host.to_string(),
            port,
            prefix: uri.path().trim_end_matches('/').to_string(),
            authority: authority.to_string(),
            tls,
            addresses: permits.addresses.to_vec(),
            plain_http: permits.plain_http,
        })
    }

    /// As it stands in the header `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Checks what the name gives.
    fn allow(&self, found: &[SocketAddr]) -> Result<(), Fault> {
        for address in found.iter().map(SocketAddr::ip) {
            if self.addresses.contains(&address) {
                continue;
            }
            if let Some(what) = address::forbidden(address) {
                return Err(Fault::Address { address, what });
            }
            if self.tls.is_none() && !self.plain_http && !address::near(address) {
                return Err(Fault::PlainHttp(address));
            }
        }
        Ok(())
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Fault> {
        let unreachable = |error: &dyn ToString| Fault::Unreachable(error.to_string());
        let found: Vec<SocketAddr> = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| unreachable(&error))?
            .collect();
        self.allow(&found)?;
        let mut last = io::Error::other("its name has no address");
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return self.speak(stream).await;
                }
                Err(error) => last = error,
            }
        }
        Err(unreachable(&last))
    }

    async fn speak(&self, stream: TcpStream) -> Result<Connection, Fault> {
        let mut http = http1::Builder::new();
        http.max_buf_size(MAX_HEAD);
        let failed = |error: hyper::Error| Fault::Http(error.to_string());
        let (sender, task) = match &self.tls {
            None => {
                let (sender, connection) =
                    http.handshake(TokioIo::new(stream)).await.map_err(failed)?;
                (sender, tokio::spawn(connection).abort_handle())
            }
            Some((tls, name)) => {
                let stream = tls
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| Fault::Unreachable(format!("TLS: {error}")))?;
                let (sender, connection) =
                    http.handshake(TokioIo::new(stream)).await.map_err(failed)?;
                (sender, tokio::spawn(connection).abort_handle())
            }
        };
        Ok(Connection { sender, task })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(url: &str, permits: &Permits<'_>) -> Result<Destination, String> {
        Destination::new(url, permits).map_err(|failure| failure.message)
    }

    #[test]
    fn addresses_name_a_server_and_a_path() {
        let permits = Permits::default();
        for good in [
            "http://127.0.0.1:8000/v1",
            "http://[::1]/",
            "http://up.example",
        ] {
            assert!(destination(good, &permits).is_ok(), "{good}");
        }
        for bad in [
            "up.example",
            "/v1",
            "ftp://up.example/v1",
            "http://a:b@up.example/v1",
            "http://up.example/v1?key=x",
            "http://up.example/v1#x",
            "http://",
        ] {
            assert!(destination(bad, &permits).is_err(), "{bad}");
        }
        let found = destination("http://up.example:81/api/v1/", &permits).expect("good");
        assert_eq!(format!("{found:?}"), "http://up.example:81/api/v1");
    }

    #[test]
    fn a_name_is_judged_by_all_of_its_addresses() {
        let allow = |url: &str, permits: &Permits<'_>, found: &[&str]| {
            let found: Vec<SocketAddr> = found
                .iter()
                .map(|text| SocketAddr::new(text.parse().expect("an address"), 80))
                .collect();
            destination(url, permits).expect("good").allow(&found)
        };
        let none = Permits::default();
        assert_eq!(
            allow("http://a.example", &none, &["127.0.0.1", "10.0.0.1"]),
            Ok(())
        );
        assert!(matches!(
            allow("http://a.example", &none, &["127.0.0.1", "169.254.169.254"]),
            Err(Fault::Address { .. })
        ));
        assert!(matches!(
            allow("http://a.example", &none, &["93.184.216.34"]),
            Err(Fault::PlainHttp(_))
        ));
        let plain = Permits {
            plain_http: true,
            ..Permits::default()
        };
        assert_eq!(
            allow("http://a.example", &plain, &["93.184.216.34"]),
            Ok(())
        );
        assert!(allow("http://a.example", &plain, &["169.254.169.254"]).is_err());
        let address = ["169.254.7.7".parse().expect("an address")];
        let named = Permits {
            addresses: &address,
            ..Permits::default()
        };
        assert_eq!(allow("http://a.example", &named, &["169.254.7.7"]), Ok(()));
        assert!(allow("http://a.example", &named, &["169.254.7.8"]).is_err());
    }
}
