//! Three members of etcd on this machine, and one of its calls.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Members of etcd; stopped, and their state removed, when this is dropped.
pub struct Etcd {
    pub clients: Vec<SocketAddr>,
    members: Vec<Child>,
    dir: PathBuf,
}

impl Etcd {
    /// Starts three members with TLS between them, and waits until they take writes.
    pub async fn up(dir: &Path, base_port: u16) -> Result<Self> {
        let dir = std::path::absolute(dir)?.join("etcd");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        certificates(&dir)?;
        let peer = |member: u16| format!("https://127.0.0.1:{}", base_port + 10 * member + 1);
        let all: Vec<String> =
            (1..=3).map(|member| format!("m{member}={}", peer(member))).collect();
        let mut etcd = Self { clients: Vec::new(), members: Vec::new(), dir: dir.clone() };
        for member in 1..=3 {
            let client = format!("http://127.0.0.1:{}", base_port + 10 * member);
            let log = std::fs::File::create(dir.join(format!("m{member}.log")))?;
            let child = Command::new("etcd")
                .args(["--name", &format!("m{member}"), "--data-dir"])
                .arg(dir.join(format!("m{member}")))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer(member)])
                .args(["--initial-advertise-peer-urls", &peer(member)])
                .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
                .args(["--peer-client-cert-auth", "--peer-trusted-ca-file"])
                .arg(dir.join("ca.pem"))
                .arg("--peer-cert-file")
                .arg(dir.join("peer.pem"))
                .arg("--peer-key-file")
                .arg(dir.join("peer-key.pem"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .context("etcd (Debian: etcd-server)")?;
            etcd.members.push(child);
            etcd.clients.push(client.trim_start_matches("http://").parse()?);
        }
        let until = Instant::now() + Duration::from_secs(30);
        while !etcd.takes_writes().await {
            ensure!(Instant::now() < until, "etcd takes no writes: see {}", dir.display());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(etcd)
    }

    /// Its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Child::id).collect()
    }

    async fn takes_writes(&self) -> bool {
        for address in &self.clients {
            let put = async { Grpc::connect(*address).await?.put(b"ready", b"1").await };
            let put = tokio::time::timeout(Duration::from_secs(1), put).await;
            if !put.is_ok_and(|put| put.is_ok()) {
                return false;
            }
        }
        true
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            drop(member.kill());
            drop(member.wait());
        }
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// An authority and one certificate for all members.
fn certificates(dir: &Path) -> Result<()> {
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut peer = rcgen::CertificateParams::new(names)?;
    peer.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let peer_key = rcgen::KeyPair::generate()?;
    let peer_certificate = peer.signed_by(&peer_key, &issuer)?;
    std::fs::write(dir.join("ca.pem"), authority_certificate.pem())?;
    std::fs::write(dir.join("peer.pem"), peer_certificate.pem())?;
    std::fs::write(dir.join("peer-key.pem"), peer_key.serialize_pem())?;
    Ok(())
}

/// A connection that speaks gRPC; clones share it.
#[derive(Clone)]
pub struct Grpc {
    sender: SendRequest<Full<Bytes>>,
    _driver: std::sync::Arc<JoinSet<()>>,
}

impl Grpc {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks a connection is told to whoever asks on it.
            drop(connection.await);
        });
        Ok(Self { sender, _driver: std::sync::Arc::new(driver) })
    }

    /// `etcdserverpb.KV/Put`.
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.sender.ready().await?;
        let request = Request::builder()
            .method(hyper::Method::POST)
            .uri("http://etcd/etcdserverpb.KV/Put")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(framed(&put_request(key, value))))?;
        let response = self.sender.send_request(request).await?;
        ensure!(response.status() == 200, "etcd: {}", response.status());
        let refused = |headers: &hyper::HeaderMap| {
            let status = headers.get("grpc-status").filter(|status| *status != "0");
            status.map(|status| (status.clone(), headers.get("grpc-message").cloned()))
        };
        let early = refused(response.headers());
        let body = response.into_body().collect().await?;
        let late = body.trailers().and_then(refused);
        let accepted = body.trailers().is_some_and(|trailers| trailers.contains_key("grpc-status"));
        match early.or(late) {
            Some((status, message)) => bail!("etcd: {status:?} {message:?}"),
            None if !accepted => bail!("etcd ended an answer without a status"),
            None => Ok(()),
        }
    }
}

/// `PutRequest { bytes key = 1; bytes value = 2; }` in protobuf.
fn put_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    const BYTES_FIELD_1: u8 = (1 << 3) | 2;
    const BYTES_FIELD_2: u8 = (2 << 3) | 2;
    let mut message = Vec::with_capacity(key.len() + value.len() + 12);
    for (tag, bytes) in [(BYTES_FIELD_1, key), (BYTES_FIELD_2, value)] {
        message.push(tag);
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(bytes);
    }
    message
}

/// A message of gRPC: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}
