//! Operators' way in: an admin actor on every node, reached by actor RPC.
//!
//! ```text
//! Client ─TLS, both ends prove themselves─> AdminServer: slots, guard ─> session ─> AdminActor
//!    sealed request: cluster, node, key, nonce, times, signature    ──>  admission (pure)
//!    sealed answer:  signed by the node, chain to the authority     <──  AdminService (the node)
//! ```
//!
//! The transport is ractor_cluster's, without its listener and its trust: its cookie keeps nobody
//! out, and whoever is connected could message every remotable actor. So a connection has to come
//! with a certificate of the cluster's authority, a guard passes nothing but calls, the admin actor
//! is the only remotable one, and each request proves by itself who asks, for which node, until
//! when, and that it was not seen before.
//!
//! # Example
//! ```no_run
//! use verdict_admin::{Client, ClientOptions, KeyFile, Request};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let key = KeyFile::load("operator.key".as_ref())?.open(None)?;
//! let mut client = Client::new(&key, Vec::new(), ClientOptions::default()).await?;
//! let status = client.call(&Request::Status {}).await?;
//! println!("node {} serves revision {}", status.node_id, status.revision);
//! # Ok(())
//! # }
//! ```

mod actor;
mod admission;
mod client;
mod envelope;
mod examples;
mod forwarded;
mod guard;
mod key_file;
mod renewal;
mod request;
mod server;
mod service;
mod sessions;
mod tls;
mod transfer;

pub use actor::{ADMIN_GROUP, AdminActor, AdminActorOptions, AdminMessage, CALL};
pub use admission::{Admission, Admitted, Answering, CLOCK_SLACK_MS, OperatorKey, Refused};
pub use client::{Answered, CallError, Client, ClientOptions};
pub use envelope::{
    ANSWER_BYTES_MAX, AnswerEnvelope, ENVELOPE_VERSION, EnvelopeFault, NodeSigner, OperatorSigner,
    REQUEST_BYTES_MAX, RequestEnvelope, Statement, Trust, UnverifiedRequest, VALID_MS_MAX,
};
pub use examples::every_request;
pub use forwarded::{FORWARD_WITHIN_MS, ForwardedBy, verify_forwarded};
pub use guard::{GuardEnd, GuardLimits, pump};
pub use key_file::{AdminAddress, KeyFile, KeyFileError, OpenKey};
pub use renewal::{Enrolment, trust_digest};
pub use request::{
    ChangeRequest, MemberRequest, ObjectChange, ObjectName, Request, RollbackRequest,
    RotateRequest, RotationStep, RouteCall,
};
pub use server::{AdminCounts, AdminServer, AdminServerError, AdminServerOptions, Listener};
pub use service::{AdminService, AnswerFuture, Outcome, Refusal, RequestOrigin};
pub use sessions::{Session, SessionEnded, Sessions, SessionsHandle};
pub use tls::{AdminIdentity, SharedAdminIdentity, TlsError, connector};
pub use transfer::{Transfer, TransferPurpose};
