//! TLS of `carat serve`: what clients see that nobody here wrote (curl, rustls), and what happens when files change or callers
//! misbehave. The certificates are made by `tests/tls/make.sh`.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::server::Server;
use common::{Sandbox, repo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

const TLS: &str = "access = \"open\"\n[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n";

fn material(name: &str) -> std::path::PathBuf {
    repo("crates/carat-cli/tests/tls").join(name)
}

/// Puts a pair where the configuration says, the key readable by its owner alone.
fn install(sandbox: &Sandbox, certificate: &str, key: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    for (from, to, mode) in [(key, "tls.key", 0o600), (certificate, "tls.pem", 0o644)] {
        let aside = sandbox.path("aside");
        fs::copy(material(from), &aside).expect("copy");
        fs::set_permissions(&aside, fs::Permissions::from_mode(mode)).expect("chmod");
        fs::rename(aside, sandbox.path(to)).expect("rename");
    }
}

fn der(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(material(name)).expect("a certificate")
}

/// Asks with rustls, trusting one authority; gives the server's certificate, the protocol and the answer.
fn ask(
    server: &Server,
    authority: &str,
    versions: &[&'static SupportedProtocolVersion],
    request: &str,
) -> std::io::Result<(CertificateDer<'static>, rustls::ProtocolVersion, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(der(authority)).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(server.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    // Ends with an error unless the server says that it closes (close_notify).
    stream.read_to_string(&mut answer)?;
    let certificate = stream.conn.peer_certificates().expect("certificates")[0].clone();
    let version = stream.conn.protocol_version().expect("a version");
    Ok((certificate.into_owned(), version, answer))
}

const LIVE: &str = "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn shown(server: &Server) -> CertificateDer<'static> {
    ask(server, "ca.pem", rustls::ALL_VERSIONS, LIVE)
        .expect("an answer")
        .0
}

/// Asks with curl; gives its exit status and what it printed.
fn curl(server: &Server, authority: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--cacert"])
        .arg(material(authority))
        .args(more)
        .arg(format!("https://{}/health/live", server.address))
        .output()
        .expect("curl is installed");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !look() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_that_nobody_here_wrote_trust_it_by_its_authority_alone() {
    let sandbox = Sandbox::with_model();
    install(&sandbox, "server.pem", "server.key");
    let server = Server::start(&sandbox, TLS);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (certificate, spoken, answer) =
            ask(&server, "ca.pem", &[version], LIVE).expect("an answer");
        assert_eq!(certificate, der("server.pem"));
        assert_eq!(spoken, version.version);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let refused = ask(&server, "stranger.pem", &[version], LIVE).expect_err("refused");
        assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    }
    assert_eq!(
        curl(&server, "ca.pem", &[]),
        (Some(0), "{\"live\":true}".into())
    );
    // curl's status for a certificate that it does not trust, and for a handshake that failed.
    assert_eq!(curl(&server, "stranger.pem", &[]).0, Some(60));
    let (old, _) = curl(&server, "ca.pem", &["--tls-max", "1.1"]);
    assert_eq!(old, Some(35), "TLS 1.1 is not spoken");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_own_client_upgrades_through_tls() {
    let sandbox = Sandbox::with_model();
    install(&sandbox, "server.pem", "server.key");
    let server = Server::start(&sandbox, TLS);
    let url = format!("https://{}", server.address);
    let body = format!(
        "{{\"inputs\":{}}}",
        fs::read_to_string(sandbox.path("tumor.json")).expect("the input")
    );
    let ask = |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        ask(&server, "ca.pem", rustls::ALL_VERSIONS, &request)
            .expect("an answer")
            .2
    };
    let answer = ask("POST", "/v1/models/tumor/infer?inline=receipt", &body);
    let json: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let encoded = json["receipt"].as_str().expect("the receipt");
    fs::write(sandbox.path("receipt.b64"), encoded).expect("write");
    let decoded = Command::new("base64")
        .arg("-d")
        .arg(sandbox.path("receipt.b64"))
        .output();
    fs::write(sandbox.path("t.carat"), decoded.expect("base64").stdout).expect("write");

    let upgrade = ["upgrade", "t.carat", "--server", &url, "--ca"];
    let path = |name: &str| material(name).display().to_string();
    let refused = sandbox.ends(&[&upgrade[..], &[&path("stranger.pem")]].concat(), 12);
    assert!(refused.err.contains("--ca FILE"), "{}", refused.err);
    // Not the system's authorities either.
    sandbox.ends(&upgrade[..4], 12);
    let proven = sandbox.json(&[&upgrade[..], &[&path("ca.pem")]].concat(), 0);
    assert_eq!(proven["proofs"], 1);
}

#[test]
fn who_speaks_no_tls_or_is_slow_holds_nothing_for_long() {
    let sandbox = Sandbox::with_model();
    install(&sandbox, "server.pem", "server.key");
    let more = format!("{TLS}handshake_seconds = 1\n[limits]\nconnections = 3\n");
    let server = Server::start(&sandbox, &more);
    let said = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.address).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("set");
        stream.write_all(bytes).expect("sent");
        let mut answer = Vec::new();
        // A reset would be an error: it is closed in order.
        stream.read_to_end(&mut answer).expect("closed in order");
        answer
    };
    let plain = String::from_utf8(said(LIVE.as_bytes())).expect("text");
    assert!(
        plain.starts_with("HTTP/1.1 400 ") && plain.contains("https://"),
        "{plain}"
    );
    assert!(!plain.contains("live"));
    // All places are taken by handshakes that do not go on; they are given up, and the next caller is served.
    let slow: Vec<TcpStream> = [&b"\x16\x03\x01"[..], b"\x16", b""]
        .iter()
        .map(|part| {
            let mut stream = TcpStream::connect(server.address).expect("connects");
            stream.write_all(part).expect("sent");
            stream
        })
        .collect();
    assert_eq!(shown(&server), der("server.pem"));
    for mut stream in slow {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    // A handshake in progress does not hold up the end.
    let _half = TcpStream::connect(server.address).expect("connects");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_changed_certificate_is_taken_and_a_pair_that_does_not_fit_is_not() {
    let sandbox = Sandbox::with_model();
    install(&sandbox, "server.pem", "server.key");
    let server = Server::start(&sandbox, TLS);
    assert_eq!(shown(&server), der("server.pem"));
    install(&sandbox, "renewed.pem", "renewed.key");
    until("the renewed certificate", || {
        shown(&server) == der("renewed.pem")
    });
    let log = || fs::read_to_string(sandbox.path("server.log")).expect("the log");
    for (certificate, key, why) in [
        ("server.pem", "renewed.key", "is not the key of"),
        ("expired.pem", "expired.key", "expired"),
        ("ca.pem", "make.sh", "no private key"),
    ] {
        install(&sandbox, certificate, key);
        until(why, || log().contains(why));
        assert_eq!(
            shown(&server),
            der("renewed.pem"),
            "the old one stays: {why}"
        );
    }
    install(&sandbox, "server.pem", "server.key");
    until("the first certificate", || {
        shown(&server) == der("server.pem")
    });
    // No line of the log holds a key.
    let key = fs::read_to_string(material("server.key")).expect("the key");
    let line = key.lines().nth(1).expect("its text");
    assert!(!log().contains(line));
}

#[test]
fn a_start_checks_the_pair() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::with_model();
    let model = "[[model]]\nname = \"tumor\"\npath = \"tumor.carat-model\"\n";
    fs::write(sandbox.path("serve.toml"), format!("{TLS}{model}")).expect("write");
    let check = ["serve", "--config", "serve.toml", "--check"];
    for (certificate, key, why) in [
        ("server.pem", "renewed.key", "is not the key of"),
        ("expired.pem", "expired.key", "expired"),
        ("server.key", "server.key", "no certificate"),
        ("server.pem", "make.sh", "no private key"),
    ] {
        install(&sandbox, certificate, key);
        let ran = sandbox.ends(&check, 2);
        assert!(ran.err.contains(why), "{why}: {}", ran.err);
    }
    install(&sandbox, "server.pem", "server.key");
    let json = sandbox.json(&check, 0);
    assert_eq!(json["tls"]["not_after"], 4_733_510_400_u64);
    fs::set_permissions(sandbox.path("tls.key"), fs::Permissions::from_mode(0o644)).expect("chmod");
    let ran = sandbox.ends(&check, 2);
    assert!(ran.err.contains("chmod o="), "{}", ran.err);
}
