//! The admin actor: the only actor that a remote end can message.
//!
//! It owns the memory of nonces. It never does a request's work itself: each is a task of its own,
//! within a limit, so that a slow one holds up nobody; how many there are is bounded by the guards
//! of the connections they come from.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use verdict_config::Code;

use crate::admission::{Admission, Answering, Refused};
use crate::envelope::{AnswerEnvelope, EnvelopeFault, NodeSigner};
use crate::request::Request;
use crate::service::{AdminService, Outcome, Refusal, RequestOrigin};
use crate::tls::SharedAdminIdentity;

/// The process group that every node's admin actor is a member of.
pub const ADMIN_GROUP: &str = "verdict-admin";
/// The name of the call.
pub const CALL: &str = "request";
/// A request's work ends after so long, whatever the caller is ready to wait.
const WORK_WITHIN: Duration = Duration::from_secs(50);

/// A message to the admin actor.
pub enum AdminMessage {
    /// A sealed request, where its sealed answer goes, and where it came from, as the guard of its
    /// connection says.
    Request(Vec<u8>, RpcReplyPort<Vec<u8>>, Option<IpAddr>),
    /// Something that is no request.
    Stray,
}

impl ractor::Message for AdminMessage {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        let Self::Request(args, reply, from) = self else { return Err(BoxedDowncastErr) };
        let metadata = from.map(|from| from.to_string().into_bytes());
        Ok(SerializedMessage::Call { variant: CALL.to_owned(), args, reply, metadata })
    }

    fn deserialize(bytes: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        match bytes {
            SerializedMessage::Call { variant, args, reply, metadata } if variant == CALL => {
                let from = metadata.and_then(|from| String::from_utf8(from).ok()?.parse().ok());
                Ok(Self::Request(args, reply, from))
            }
            // An error here would end the actor.
            SerializedMessage::Call { .. }
            | SerializedMessage::Cast { .. }
            | SerializedMessage::CallReply(..) => Ok(Self::Stray),
        }
    }
}

/// What the actor is made of.
#[derive(Clone)]
pub struct AdminActorOptions {
    /// Who answers.
    pub answering: Answering,
    /// Signs the answers, and lets callers in.
    pub identity: SharedAdminIdentity,
    /// Does the work.
    pub service: Arc<dyn AdminService>,
}

/// The actor. It may be started again after a failure: what was signed before is refused then,
/// because the nonces that it had seen are forgotten.
pub struct AdminActor {
    pub(crate) options: AdminActorOptions,
    /// Requests that are worked on.
    pub(crate) working: Arc<AtomicU64>,
}

/// What it holds between messages.
pub struct AdminState {
    admission: Admission,
    work: JoinSet<()>,
}

impl Actor for AdminActor {
    type Msg = AdminMessage;
    type State = AdminState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        ractor::pg::join(ADMIN_GROUP.to_owned(), vec![myself.get_cell()]);
        let Answering { cluster_id, node_id, started_at } = self.options.answering.clone();
        let started_at = started_at.max(self.options.service.now());
        let admission = Admission::new(Answering { cluster_id, node_id, started_at });
        Ok(AdminState { admission, work: JoinSet::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        while state.work.try_join_next().is_some() {}
        match message {
            AdminMessage::Request(bytes, reply, from) => {
                self.request(&bytes, (reply, from), state);
            }
            AdminMessage::Stray => self.options.service.refused(
                None,
                Code::EnvelopeInvalid,
                "a message that is no request",
            ),
        }
        Ok(())
    }
}

/// Counts a request for as long as it is worked on, also when its work ends early.
struct Working(Arc<AtomicU64>);

impl Working {
    fn begin(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AdminActor {
    fn request(
        &self,
        bytes: &[u8],
        (reply, from): (RpcReplyPort<Vec<u8>>, Option<IpAddr>),
        state: &mut AdminState,
    ) {
        let AdminActorOptions { service, identity, answering } = &self.options;
        let admitted = state.admission.admit(bytes, service.now(), |name| service.operator(name));
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(&refused, reply),
        };
        let nonce = admitted.envelope.nonce;
        let origin = RequestOrigin { from, sealed: bytes.into() };
        let request: Request = match serde_json::from_slice(&admitted.envelope.body) {
            Ok(request) => request,
            Err(error) => {
                let detail = format!("the request is not one of this version: {error}");
                let fault = EnvelopeFault::new(Code::EnvelopeInvalid, detail);
                let key = Some(admitted.key.name);
                return self.refuse(&Refused { fault, key, nonce }, reply);
            }
        };
        let (service, identity) = (Arc::clone(service), identity.clone());
        let answering = answering.clone();
        let working = Working::begin(&self.working);
        state.work.spawn(async move {
            let _working = working;
            let work = service.perform(admitted.key, origin, request);
            let outcome = tokio::time::timeout(WORK_WITHIN, work).await.unwrap_or_else(|_| {
                let detail = "it took too long here; whether it was done is unknown";
                Outcome::Refused(Refusal::new(Code::DeadlineExceeded, detail))
            });
            let signer = &identity.current().signer;
            send(&answering, signer, nonce, &outcome, &*service, reply);
        });
    }

    fn refuse(&self, refused: &Refused, reply: RpcReplyPort<Vec<u8>>) {
        let AdminActorOptions { service, identity, answering } = &self.options;
        let signer = &identity.current().signer;
        let EnvelopeFault { code, detail } = &refused.fault;
        service.refused(refused.key.as_deref(), *code, detail);
        let outcome = Outcome::Refused(Refusal::new(*code, detail.clone()));
        send(answering, signer, refused.nonce, &outcome, &**service, reply);
    }
}

fn send(
    answering: &Answering,
    signer: &NodeSigner,
    nonce: [u8; 16],
    outcome: &Outcome,
    service: &dyn AdminService,
    reply: RpcReplyPort<Vec<u8>>,
) {
    let answer = AnswerEnvelope {
        cluster_id: answering.cluster_id.clone(),
        node_id: answering.node_id,
        nonce,
        at: service.now(),
        chain: signer.chain().to_vec(),
        body: serde_json::to_vec(outcome).unwrap_or_default(),
    };
    match signer.seal(&answer) {
        // A caller that is gone asks again.
        Ok(sealed) => drop(reply.send(sealed)),
        Err(error) => tracing::error!(%error, "an admin answer cannot be sealed"),
    }
}
