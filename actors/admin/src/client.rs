//! Calls the admin actor: connects to one node after the other, signs, checks the answers.
//!
//! A request that may have been done is never sent again under another `request_id`: the same
//! request goes to the next node, and the log applies it once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ractor::ActorCell;
use ractor::message::SerializedMessage;
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use verdict_config::{Code, TimestampMs};
use verdict_consensus::peers::node_of_certificate;

use crate::actor::{ADMIN_GROUP, CALL};
use crate::envelope::{EnvelopeFault, OperatorSigner, RequestEnvelope, Trust};
use crate::key_file::OpenKey;
use crate::renewal::trust_digest;
use crate::request::Request;
use crate::service::{Outcome, Refusal};
use crate::sessions::{Session, SessionsHandle};
use crate::tls::{authority_name, connector};

/// Sessions of this process: their ids stand in the ids of remote actors.
static NEXT_PEER_ID: AtomicU64 = AtomicU64::new(1 << 32);
/// How long a request is valid.
const VALID_MS: i64 = 60_000;

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// For a connection to a node and the greeting.
    pub connect_within: Duration,
    /// For an answer.
    pub answer_within: Duration,
    /// How often the list of addresses is gone through.
    pub rounds: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(3),
            answer_within: Duration::from_secs(30),
            rounds: 2,
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The node that answered.
    pub node_id: u64,
    /// The revision that it served.
    pub revision: u64,
    /// The answer, JSON.
    pub answer: serde_json::Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A node refused, and no other would do otherwise.
    #[error("{}: {}", .0.code, .0.detail)]
    Refused(Refusal),
    /// No node could be asked.
    #[error("no node answers: {0}")]
    Unreachable(String),
    /// It was sent, and nothing is known of what became of it.
    #[error("it may or may not have been done: {0}")]
    Unknown(String),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] EnvelopeFault),
}

impl CallError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => Code::from_text(&refusal.code).unwrap_or(Code::Internal),
            Self::Unreachable(_) => Code::PeerUnreachable,
            Self::Unknown(_) => Code::OutcomeUnknown,
            Self::Key(fault) => fault.code,
        }
    }
}

/// What one attempt came to, where another node may do better.
enum Attempt {
    NotSent(String),
    Sent(String),
    Later(Refusal),
}

/// A client of a cluster's admin actors.
pub struct Client {
    name: String,
    cluster_id: String,
    signer: OperatorSigner,
    authorities: Vec<Vec<u8>>,
    trust: String,
    outdated: bool,
    connector: TlsConnector,
    addresses: Vec<String>,
    options: ClientOptions,
    sessions: SessionsHandle,
    connected: Option<Connected>,
    /// The address of the node that answered last.
    answered_by: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Client({} of {})", self.name, self.cluster_id)
    }
}

struct Connected {
    address: String,
    node_id: u64,
    session: Session,
    admin: ActorCell,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.session.stop();
    }
}

impl Client {
    /// A client that asks the nodes at the given addresses, in their order; those of the key's file
    /// if there are none.
    ///
    /// # Errors
    /// A key that is not enrolled or cannot be used.
    pub async fn new(
        key: &OpenKey,
        addresses: Vec<String>,
        options: ClientOptions,
    ) -> Result<Self, CallError> {
        let file = &key.file;
        if file.chain.is_empty() {
            let detail = "the key is not enrolled: it has no certificate";
            return Err(EnvelopeFault::new(Code::OperatorUnknown, detail).into());
        }
        let authorities = key.authorities();
        let connector = connector(&file.cluster_id, &key.chain(), key.pkcs8(), &authorities)
            .map_err(|error| EnvelopeFault::new(Code::OperatorUnknown, error.to_string()))?;
        let known = || file.addresses.iter().map(|known| known.address.clone()).collect();
        let addresses: Vec<String> = if addresses.is_empty() { known() } else { addresses };
        if addresses.is_empty() {
            return Err(CallError::Unreachable("the key's file names no address".to_owned()));
        }
        let sessions = SessionsHandle::start().await;
        let sessions = sessions.map_err(|error| CallError::Unreachable(error.to_string()))?;
        Ok(Self {
            name: file.name.clone(),
            cluster_id: file.cluster_id.clone(),
            signer: key.signer()?,
            trust: trust_digest(&authorities),
            outdated: false,
            authorities,
            connector,
            addresses,
            options,
            sessions,
            connected: None,
            answered_by: None,
        })
    }

    /// Asks, of whichever node answers first in the order of the addresses; what goes on from an answer,
    /// of the node that gave it.
    ///
    /// # Errors
    /// A refusal, or that nobody answered.
    pub async fn call(&mut self, request: &Request) -> Result<Answered, CallError> {
        let (mut sent, mut last) = (false, String::new());
        let mut refused = None;
        let addresses = match &self.answered_by {
            Some(address) if request.goes_on() => vec![address.clone()],
            _ => self.addresses.clone(),
        };
        for attempt in 0..self.options.rounds.max(1) as usize * self.addresses.len() {
            let address = addresses[attempt % addresses.len()].clone();
            match self.attempt(&address, request).await? {
                Ok(answered) => {
                    self.answered_by = self.connected.as_ref().map(|at| at.address.clone());
                    return Ok(answered);
                }
                Err(Attempt::NotSent(detail)) => last = format!("{address}: {detail}"),
                Err(Attempt::Sent(detail)) => {
                    sent = request.writes();
                    last = format!("{address}: {detail}");
                    if sent && !request.may_be_repeated() {
                        break;
                    }
                }
                Err(Attempt::Later(refusal)) => refused = Some(refusal),
            }
            self.connected = None;
        }
        match refused {
            _ if sent => Err(CallError::Unknown(last)),
            Some(refusal) => Err(CallError::Refused(refusal)),
            None => Err(CallError::Unreachable(last)),
        }
    }

    /// Goes to the next address with the following call: for those who ask one node after another.
    pub fn ask_only(&mut self, address: &str) {
        self.addresses = vec![address.to_owned()];
        self.connected = None;
    }

    /// Whether a node that answered trusts other authorities than the key's file names: the file
    /// should be renewed with what [`Request::Renew`] is answered with.
    #[must_use]
    pub const fn is_outdated(&self) -> bool {
        self.outdated
    }

    async fn attempt(
        &mut self,
        address: &str,
        request: &Request,
    ) -> Result<Result<Answered, Attempt>, CallError> {
        if self.connected.is_none() {
            let within = self.options.connect_within;
            match timeout(within, self.connect(address)).await {
                Ok(Ok(connected)) => self.connected = Some(connected),
                Ok(Err(detail)) => return Ok(Err(Attempt::NotSent(detail))),
                Err(_) => return Ok(Err(Attempt::NotSent("it takes too long".to_owned()))),
            }
        }
        let Some(connected) = &self.connected else {
            return Ok(Err(Attempt::NotSent("there is no connection".to_owned())));
        };
        let node_id = connected.node_id;
        let nonce = nonce()?;
        let sealed = self.seal(node_id, nonce, request)?;
        let (port, answer) = oneshot::channel();
        let message = SerializedMessage::Call {
            variant: CALL.to_owned(),
            args: sealed,
            reply: (port, self.options.answer_within).into(),
            metadata: None,
        };
        if connected.admin.send_serialized(message).is_err() {
            return Ok(Err(Attempt::NotSent("the connection is gone".to_owned())));
        }
        let bytes = match timeout(self.options.answer_within, answer).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => return Ok(Err(Attempt::Sent("the connection ended".to_owned()))),
            Err(_) => return Ok(Err(Attempt::Sent("no answer came in time".to_owned()))),
        };
        let trust =
            Trust { cluster_id: &self.cluster_id, authorities: &self.authorities, now: now() };
        let body = trust.read(&bytes, node_id, nonce)?;
        let outcome: Outcome = serde_json::from_slice(&body).map_err(|error| {
            EnvelopeFault::new(Code::EnvelopeInvalid, format!("the answer: {error}"))
        })?;
        Ok(match outcome {
            Outcome::Done { revision, answer, trust } => {
                self.outdated = !trust.is_empty() && trust != self.trust;
                Ok(Answered { node_id, revision, answer })
            }
            Outcome::Refused(refusal) if helps_elsewhere(&refusal) => Err(Attempt::Later(refusal)),
            Outcome::Refused(refusal) => return Err(CallError::Refused(refusal)),
        })
    }

    fn seal(
        &self,
        node_id: u64,
        nonce: [u8; 16],
        request: &Request,
    ) -> Result<Vec<u8>, EnvelopeFault> {
        let issued_at = now();
        let body = serde_json::to_vec(request)
            .map_err(|error| EnvelopeFault::new(Code::EnvelopeInvalid, error.to_string()))?;
        self.signer.seal(&RequestEnvelope {
            cluster_id: self.cluster_id.clone(),
            node_id,
            key: self.name.clone(),
            nonce,
            issued_at,
            expires_at: TimestampMs(issued_at.0 + VALID_MS),
            body,
        })
    }

    async fn connect(&self, address: &str) -> Result<Connected, String> {
        let tell = |error: &dyn std::fmt::Display| error.to_string();
        let stream = TcpStream::connect(address).await.map_err(|error| tell(&error))?;
        stream.set_nodelay(true).map_err(|error| tell(&error))?;
        // The certificate says which node this is; the name that is asked for says which authority
        // this client knows.
        let known = self.authorities.first().map(|signs| authority_name(signs));
        let name = known.unwrap_or_else(|| "node.verdict.internal".to_owned());
        let name = ServerName::try_from(name).map_err(|error| tell(&error))?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| tell(&error))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let node_id = certificate
            .and_then(|certificate| node_of_certificate(certificate, &self.cluster_id))
            .ok_or("the node has no certificate of this cluster")?;
        let peer_id = NEXT_PEER_ID.fetch_add(1, Ordering::Relaxed);
        let called = format!("operator-{peer_id}@{}", std::process::id());
        let session = self.sessions.begin(peer_id, &called, false, stream).await;
        let mut session = session.map_err(|error| tell(&error))?;
        session.ready().await.map_err(|error| tell(&error))?;
        let members = ractor::pg::get_members(&ADMIN_GROUP.to_owned());
        let admin = members.into_iter().find(|member| {
            matches!(member.get_id(), ractor::ActorId::Remote { node_id, .. } if node_id == peer_id)
        });
        let admin = admin.ok_or("the node has no admin actor")?;
        Ok(Connected { address: address.to_owned(), node_id, session, admin })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connected = None;
        self.sessions.stop();
    }
}

/// Whether another node might not refuse.
fn helps_elsewhere(refusal: &Refusal) -> bool {
    matches!(
        Code::from_text(&refusal.code),
        Some(
            Code::NoLeader
                | Code::Draining
                | Code::Overloaded
                | Code::PeerUnreachable
                | Code::NotAVoter
        )
    )
}

fn nonce() -> Result<[u8; 16], EnvelopeFault> {
    let mut nonce = [0; 16];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map_err(|_| EnvelopeFault::new(Code::Internal, "the system has no randomness"))?;
    Ok(nonce)
}

#[allow(clippy::disallowed_methods, reason = "the clock of whoever asks, not of a node")]
fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    TimestampMs(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
