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
mod liveness;
mod messages;
mod server;
mod tls;
mod trust;

pub use authority::{Authority, AuthorityError, NodeKey};
pub use client::{PeerClients, PeerClientsOptions};
pub use connection::PeerConnectionCounts;
pub use frame::PEER_FRAME_BYTES_MAX;
pub use kept::{KeptIdentity, SpareAuthority};
pub use messages::{
    Admitted, AuthorityState, DecisionRead, FOLDER_PIECE_BYTES, JoinAnswer, JoinRequest,
    NodeAnswer, NodeRequest, Order, Preparation, Secret, WIRE_JOIN_BYTES_MAX, WireError,
};
pub use server::{
    PeerListener, PeerServerOptions, PeerService, ServiceFuture, guard as guard_stream,
};
pub use tls::{
    JoiningTls, PeerIdentity, PeerIdentityError, SharedPeerIdentity,
    is_for as is_certificate_of_node, names_of_certificate, node_name as name_of_node,
    node_of_certificate,
};
pub use trust::{check_chain_of_node, is_endorsed, is_signed_by};

#[cfg(test)]
mod tests;
