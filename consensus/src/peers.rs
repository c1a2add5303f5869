//! Connections between nodes: mutual TLS, framed requests, one connection a peer and channel.
//!
//! ```text
//!  call(peer, channel, bytes) -> slot of (peer, channel): connected? backing off? -> connection
//!     -> TLS, hello (version, cluster, node ids of both ends) -> frames: [length][id][kind][bytes]
//!
//!  accept (bounded) -> TLS and hello within a limit (bounded) -> frames -> PeerService::answer
//! ```
//!
//! Channels do not share connections, because a snapshot or a model on its way must not hold up a
//! heartbeat. Every end proves by its certificate that it is the node it says it is, in the cluster
//! it says; who is a member is the business of whoever answers. What is carried is bytes with a
//! limit, and their meaning is nobody's here.
//!
//! A certificate is valid for one name, `node-ID.CLUSTER.verdict.internal`, so that the usual check
//! of a name is the check of who it is. A connection without a certificate may only ask to join.

mod authority;
mod client;
mod connection;
mod frame;
mod handshake;
mod kept;
mod messages;
mod server;
mod tls;

pub use authority::{Authority, AuthorityError, NodeKey};
pub use client::{PeerClients, PeerClientsOptions};
pub use connection::PeerConnectionCounts;
pub use frame::PEER_FRAME_BYTES_MAX;
pub use kept::KeptIdentity;
pub use messages::{
    Admitted, DecisionRead, FOLDER_PIECE_BYTES, JoinAnswer, JoinRequest, NodeAnswer, NodeRequest,
    Preparation, WIRE_JOIN_BYTES_MAX, WireError,
};
pub use server::{PeerListener, PeerServerOptions, PeerService, ServiceFuture};
pub use tls::{PeerIdentity, PeerIdentityError};

#[cfg(test)]
mod tests;
