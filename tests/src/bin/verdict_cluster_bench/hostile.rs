//! Hostile ends at the admin actors of a cluster, while an operator asks on.
//!
//! Each hostile end does one thing over and over: it is silent, slow, sends garbage or a frame that is
//! too long, comes with a certificate of another authority, with a good certificate and a key that was
//! revoked, sends an envelope again that was answered before, or one with a bit that is flipped. None
//! of them may ever be answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use parking_lot::Mutex;
use ractor::message::SerializedMessage;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use verdict_admin::{
    ADMIN_GROUP, CALL, CallError, Client, ClientOptions, KeyFile, OpenKey, Request,
    RequestEnvelope, SessionsHandle, connector,
};
use verdict_config::TimestampMs;
use verdict_consensus::peers::{Authority, node_of_certificate};

use super::cluster::{Cluster, resident_mb};
use super::{Common, quantiles};

/// How long a hostile end waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts of one end.
const PAUSE: Duration = Duration::from_millis(500);

/// Arguments of `hostile`.
#[derive(Args, Clone)]
pub struct Hostile {
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Hostile connections at a time, all to one node.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// What is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What hostile ends do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Silent,
    Slow,
    Garbage,
    Oversized,
    ForeignCertificate,
    RevokedKey,
    Replayed,
    BitFlipped,
}

const KINDS: [Kind; 8] = [
    Kind::Silent,
    Kind::Slow,
    Kind::Garbage,
    Kind::Oversized,
    Kind::ForeignCertificate,
    Kind::RevokedKey,
    Kind::Replayed,
    Kind::BitFlipped,
];

/// What hostile ends have to work with.
struct Arms {
    address: String,
    node_id: u64,
    /// A key of this cluster that was revoked: its certificate is still good.
    revoked: OpenKey,
    /// A certificate of another authority.
    foreign: OpenKey,
    /// A viewer's, whose envelopes are replayed and bent.
    viewer: OpenKey,
}

/// What was tried, and what was answered that should not have been.
#[derive(Default)]
struct Tally {
    tried: BTreeMap<String, u64>,
    breaches: Vec<String>,
}

#[allow(clippy::disallowed_methods, reason = "of a measurement")]
fn now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    TimestampMs(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

impl Hostile {
    pub async fn run(&self, common: &Common) -> Result<Json> {
        let cluster = Cluster::up(common, true)?;
        let desk = Desk::of(common)?;
        let operator = desk.open("operator.key")?;
        let arms = Arc::new(desk.arms()?);
        let before: Vec<f64> = self.resident(&cluster)?;
        let until = Instant::now() + Duration::from_secs_f64(self.minutes * 60.0);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut ends = JoinSet::new();
        for place in 0..self.connections {
            let kind = KINDS[place % KINDS.len()];
            let random = ChaCha8Rng::seed_from_u64(self.seed + place as u64);
            let end = End { kind, arms: Arc::clone(&arms), tally: Arc::clone(&tally), random };
            ends.spawn(end.run(until));
        }
        let (asked, most_mb) = self.ask_on(&operator, &arms.address, &cluster, until).await?;
        while ends.join_next().await.is_some() {}
        let after = self.resident(&cluster)?;
        let tally = tally.lock();
        let result = json!({
            "measure": "hostile", "minutes": self.minutes, "connections": self.connections,
            "tried": tally.tried, "breaches": tally.breaches, "operator": asked,
            "resident_mb": { "before": before, "most": most_mb, "after": after },
        });
        if !common.json {
            println!("tried: {}", result["tried"]);
            println!("answered that should not have been: {}", result["breaches"]);
            println!("the operator meanwhile: {}", result["operator"]);
            println!("resident MB: {}", result["resident_mb"]);
        }
        ensure!(tally.breaches.is_empty(), "hostile ends were answered: {:?}", tally.breaches);
        Ok(result)
    }

    fn resident(&self, cluster: &Cluster) -> Result<Vec<f64>> {
        cluster.nodes.iter().map(|node| Ok(resident_mb(node.pid)?.round())).collect()
    }

    /// An operator asks ten times a second on a connection that stands, and each second on a new one.
    async fn ask_on(
        &self,
        key: &OpenKey,
        address: &str,
        cluster: &Cluster,
        until: Instant,
    ) -> Result<(Json, Vec<f64>)> {
        let (mut standing_ms, mut fresh_ms, mut failed) = (Vec::new(), Vec::new(), 0_u64);
        let mut most_mb = vec![0.0_f64; cluster.nodes.len()];
        let mut standing = client(key, address).await?;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        for turn in 0_u64.. {
            tick.tick().await;
            if Instant::now() >= until {
                break;
            }
            let begun = Instant::now();
            let (answered, into) = if turn % 10 == 0 {
                for (most, now) in most_mb.iter_mut().zip(self.resident(cluster)?) {
                    *most = most.max(now);
                }
                let mut fresh = client(key, address).await?;
                (fresh.call(&Request::Status {}).await, &mut fresh_ms)
            } else {
                (standing.call(&Request::Status {}).await, &mut standing_ms)
            };
            match answered {
                Ok(_) => into.push(begun.elapsed().as_secs_f64() * 1_000.0),
                Err(_) => failed += 1,
            }
        }
        let told = json!({
            "standing_ms": quantiles(standing_ms), "new_connection_ms": quantiles(fresh_ms),
            "failed": failed,
        });
        Ok((told, most_mb))
    }
}

async fn client(key: &OpenKey, address: &str) -> Result<Client> {
    let options = ClientOptions { rounds: 1, ..ClientOptions::default() };
    Ok(Client::new(key, vec![address.to_owned()], options).await?)
}

/// The operator's folder.
struct Desk {
    program: PathBuf,
    folder: PathBuf,
}

impl Desk {
    fn of(common: &Common) -> Result<Self> {
        let program = match &common.verdict {
            Some(program) => std::path::absolute(program)?,
            None => std::env::current_exe()?.with_file_name("verdict"),
        };
        Ok(Self { program, folder: std::path::absolute(&common.dir)?.join("verdict") })
    }

    fn open(&self, name: &str) -> Result<OpenKey> {
        Ok(KeyFile::load(&self.folder.join(name))?.open(None)?)
    }

    fn admin(&self, arguments: &[&str]) -> Result<Json> {
        let output = Command::new(&self.program)
            .args(["--json", "admin", "--key", "operator.key"])
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {told}");
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// A key that is enrolled.
    fn enrol(&self, name: &str) -> Result<OpenKey> {
        let (file, enrolment) = (format!("{name}.key"), format!("{name}.enrolment"));
        let made = self.admin(&["keys", "new", name, "--out", &file])?;
        let public = made["public_key"].as_str().context("a public key")?.to_owned();
        let rights = ["--public-key", &public, "--out", &enrolment, "--role", "viewer"];
        self.admin(&[&["keys", "enrol", name][..], &rights].concat())?;
        self.admin(&["keys", "enrolled", &file, &enrolment])?;
        self.open(&file)
    }

    fn arms(&self) -> Result<Arms> {
        let (revoked, viewer) = (self.enrol("mallory")?, self.enrol("viola")?);
        self.admin(&["keys", "revoke", "mallory"])?;
        let mut foreign = KeyFile::generate("viola", None)?;
        let authority = Authority::generate(&viewer.file.cluster_id, now())?;
        let public = hex::decode(&foreign.file.public_key)?;
        let certificate = authority.issue_operator("viola", &public, now())?;
        foreign.file.chain = vec![hex::encode(certificate)];
        foreign.file.cluster_id.clone_from(&viewer.file.cluster_id);
        foreign.file.authorities.clone_from(&viewer.file.authorities);
        let first = viewer.file.addresses.first().context("an address")?;
        let (address, node_id) = (first.address.clone(), first.node_id);
        Ok(Arms { address, node_id, revoked, foreign, viewer })
    }
}

/// One hostile end.
struct End {
    kind: Kind,
    arms: Arc<Arms>,
    tally: Arc<Mutex<Tally>>,
    random: ChaCha8Rng,
}

impl End {
    async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            let answered = match tokio::time::timeout(PATIENCE, self.attempt()).await {
                Ok(Ok(answered)) => answered,
                // It was turned away, or nothing ever came: both are well.
                Ok(Err(_)) | Err(_) => None,
            };
            self.note(answered);
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn note(&self, answered: Option<String>) {
        let mut tally = self.tally.lock();
        *tally.tried.entry(format!("{:?}", self.kind)).or_default() += 1;
        tally.breaches.extend(answered.map(|what| format!("{:?}: {what}", self.kind)));
    }

    /// What was answered that should not have been.
    async fn attempt(&mut self) -> Result<Option<String>> {
        match self.kind {
            Kind::Silent => self.bytes(&[]).await,
            Kind::Garbage => {
                let mut garbage = vec![0; 4_096];
                self.random.fill(&mut garbage[..]);
                self.bytes(&garbage).await
            }
            Kind::Slow => {
                let mut stream = TcpStream::connect(&self.arms.address).await?;
                for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3] {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Ok(None)
            }
            Kind::Oversized => {
                let mut stream = tls(&self.arms.revoked, &self.arms.address).await?;
                stream.write_all(&u64::MAX.to_be_bytes()).await?;
                stream.write_all(&[7; 1_024]).await?;
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await?;
                Ok(None)
            }
            Kind::ForeignCertificate => called(&self.arms.foreign, &self.arms.address).await,
            Kind::RevokedKey => called(&self.arms.revoked, &self.arms.address).await,
            Kind::Replayed => {
                let sealed = self.sealed()?;
                let first = send(&self.arms, sealed.clone()).await?;
                ensure!(!first.is_empty(), "the first time it is answered");
                let again = send(&self.arms, sealed).await?;
                Ok(self.accepted(&again)?)
            }
            Kind::BitFlipped => {
                let mut sealed = self.sealed()?;
                let bit = self.random.random_range(0..sealed.len() * 8);
                sealed[bit / 8] ^= 1 << (bit % 8);
                let answer = send(&self.arms, sealed).await?;
                Ok(self.accepted(&answer)?)
            }
        }
    }

    async fn bytes(&self, bytes: &[u8]) -> Result<Option<String>> {
        let mut stream = TcpStream::connect(&self.arms.address).await?;
        stream.write_all(bytes).await?;
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await?;
        // A TLS alert is all that strangers get.
        let alert = read.is_empty() || read[0] == 0x15;
        Ok((!alert).then(|| format!("{} bytes", read.len())))
    }

    /// An envelope of the viewer's, as good as any.
    fn sealed(&mut self) -> Result<Vec<u8>> {
        let mut nonce = [0; 16];
        self.random.fill(&mut nonce[..]);
        let issued_at = now();
        let signer = self.arms.viewer.signer()?;
        Ok(signer.seal(&RequestEnvelope {
            cluster_id: self.arms.viewer.file.cluster_id.clone(),
            node_id: self.arms.node_id,
            key: self.arms.viewer.file.name.clone(),
            nonce,
            issued_at,
            expires_at: TimestampMs(issued_at.0 + 60_000),
            body: serde_json::to_vec(&Request::Status {})?,
        })?)
    }

    /// What an answer says that is no refusal.
    fn accepted(&self, answer: &[u8]) -> Result<Option<String>> {
        // Answers are sealed; their outcome stands in them as JSON.
        let text = String::from_utf8_lossy(answer);
        Ok(text.contains("\"done\"").then(|| "an answer".to_owned()))
    }
}

/// Asks with a key that must be refused.
async fn called(key: &OpenKey, address: &str) -> Result<Option<String>> {
    match client(key, address).await?.call(&Request::Status {}).await {
        Ok(_) => Ok(Some("a status".to_owned())),
        Err(CallError::Refused(refusal)) if refusal.code == "VD0817" => Ok(None),
        Err(CallError::Refused(refusal)) => Ok(Some(refusal.code)),
        Err(_) => Ok(None),
    }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn tls(key: &OpenKey, address: &str) -> Result<Tls> {
    let file = &key.file;
    let connector = connector(&file.cluster_id, &key.chain(), key.pkcs8(), &key.authorities())?;
    let stream = TcpStream::connect(address).await?;
    let name = "node.verdict.internal".to_owned().try_into()?;
    Ok(connector.connect(name, stream).await?)
}

/// Sends an envelope as it is; the sealed answer.
async fn send(arms: &Arms, sealed: Vec<u8>) -> Result<Vec<u8>> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 48);
    let stream = tls(&arms.viewer, &arms.address).await?;
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let node = peer.and_then(|peer| node_of_certificate(peer, &arms.viewer.file.cluster_id));
    ensure!(node == Some(arms.node_id), "another node");
    let peer_id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let sessions = SessionsHandle::start().await?;
    let mut session = sessions.begin(peer_id, &format!("hostile-{peer_id}"), false, stream).await?;
    session.ready().await?;
    let admin = ractor::pg::get_members(&ADMIN_GROUP.to_owned()).into_iter().find(
        |member| matches!(member.get_id(), ractor::ActorId::Remote { node_id, .. } if node_id == peer_id),
    );
    let admin = admin.context("no admin actor")?;
    let (port, answer) = tokio::sync::oneshot::channel();
    let reply = (port, Duration::from_secs(10)).into();
    let call = CALL.to_owned();
    let message = SerializedMessage::Call { variant: call, args: sealed, reply, metadata: None };
    let sent = admin.send_serialized(message);
    ensure!(sent.is_ok(), "the connection is gone");
    let answered = tokio::time::timeout(Duration::from_secs(10), answer).await;
    session.stop();
    sessions.stop();
    Ok(answered??)
}
