//! What ractor_cluster calls a node server, without its listener.
//!
//! A session of the library reports to an actor that takes `NodeServerMessage`. The library's own
//! opens a listener that one silent connection blocks, and lets a connection push another aside
//! that goes by the same name. This one has neither: it knows its sessions by their ids, lets each
//! stand for itself, and names nobody to anybody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_cluster::node::{NodeConnectionMode, SessionCheckReply};
use ractor_cluster::{NetworkStream, NodeServerMessage, NodeSession};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Both ends say it. It keeps nobody out and is not meant to: certificates and signatures are.
const COOKIE: &str = "verdict-admin-1";
/// The longest frame that a session takes from behind its guard.
const FRAME_BYTES_MAX: u64 = 9 << 20;

/// Sessions that have finished their greeting.
type Ready = watch::Sender<HashSet<ActorId>>;

/// The actor that sessions report to. It may be started again after a failure: the sessions that it
/// had end with it, and their ends connect anew.
pub struct Sessions {
    handle: SessionsHandle,
}

/// A handle to the sessions of a process or a client.
#[derive(Debug, Clone, Default)]
pub struct SessionsHandle {
    /// The actor that runs now.
    actor: Arc<Mutex<Option<ActorRef<NodeServerMessage>>>>,
    ready: Arc<Ready>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// What remote actors of this session have in their ids.
    pub peer_id: u64,
    cell: ActorCell,
    ready: watch::Receiver<HashSet<ActorId>>,
}

/// What a process is called towards the other end.
#[derive(Clone, PartialEq, prost::Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    flags: Option<Flags>,
    #[prost(string, tag = "3")]
    connection_string: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Flags {
    #[prost(uint32, tag = "1")]
    version: u32,
}

impl SessionsHandle {
    /// Starts the actor.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn start() -> Result<Self, SpawnErr> {
        let handle = Self::default();
        Actor::spawn(None, handle.sessions(), ()).await?;
        Ok(handle)
    }

    /// The actor, to be started by somebody else, any number of times.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions { handle: self.clone() }
    }

    /// Begins a session over a stream, as the side that was called or as the one that calls.
    /// `peer_id` has to be new to this process.
    ///
    /// # Errors
    /// The session's actor does not start.
    pub async fn begin<S>(
        &self,
        peer_id: u64,
        name: &str,
        is_server: bool,
        stream: S,
    ) -> Result<Session, SpawnErr>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        let stream = NetworkStream::External {
            peer_label: None,
            local_label: None,
            reader: Box::new(reader),
            writer: Box::new(writer),
        };
        let name = Name {
            name: name.to_owned(),
            flags: Some(Flags { version: 1 }),
            connection_string: name.to_owned(),
        };
        // The library's type of a name has no name outside of it; its encoding has.
        let name = prost::Message::decode(name.encode_to_vec().as_slice())
            .map_err(|error| SpawnErr::StartupFailed(Box::new(error)))?;
        let server = self.actor.lock().clone();
        let server =
            server.ok_or_else(|| SpawnErr::StartupFailed("nobody takes sessions".into()))?;
        let (parent, mode) = (server.get_cell(), NodeConnectionMode::Isolated);
        let session = NodeSession::new(peer_id, is_server, COOKIE.to_owned(), server, name, mode)
            .with_max_inbound_frame_size(FRAME_BYTES_MAX);
        let ready = self.ready.subscribe();
        let (actor, _) = Actor::spawn_linked(None, session, stream, parent).await?;
        Ok(Session { peer_id, cell: actor.get_cell(), ready })
    }

    /// Ends every session and the actor itself.
    pub fn stop(&self) {
        if let Some(actor) = self.actor.lock().take() {
            actor.stop(None);
        }
    }
}

impl Session {
    /// Waits until both ends have told each other what they have. The caller sets a limit.
    ///
    /// # Errors
    /// The session ended before.
    pub async fn ready(&mut self) -> Result<(), SessionEnded> {
        let id = self.cell.get_id();
        let ready = self.ready.wait_for(|ready| ready.contains(&id));
        ready.await.map(|_| ()).map_err(|_| SessionEnded)
    }

    /// Ends the session.
    pub fn stop(&self) {
        self.cell.stop(None);
    }
}

/// The session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session ended")]
pub struct SessionEnded;

impl Actor for Sessions {
    type Msg = NodeServerMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        self.handle.ready.send_modify(HashSet::clear);
        *self.handle.actor.lock() = Some(myself);
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeServerMessage::CheckSession { reply, .. } => {
                // Whoever asked may be gone.
                let _ = reply.send(SessionCheckReply::NoOtherConnection);
            }
            NodeServerMessage::GetSessions(reply) => {
                let _ = reply.send(HashMap::new());
            }
            NodeServerMessage::ConnectionReady(id) => {
                self.handle.ready.send_modify(|ready| {
                    ready.insert(id);
                });
            }
            // Streams come by `begin`, names say nothing, and events are the guard's business.
            NodeServerMessage::ConnectionOpened { .. }
            | NodeServerMessage::ConnectionOpenedExternal { .. }
            | NodeServerMessage::ConnectionAuthenticated(_)
            | NodeServerMessage::UpdateSession { .. }
            | NodeServerMessage::SubscribeToEvents { .. }
            | NodeServerMessage::UnsubscribeToEvents(_)
            | NodeServerMessage::PortChanged { .. } => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(cell, _)
        | SupervisionEvent::ActorTerminated(cell, ..) = &event
        {
            let id = cell.get_id();
            self.handle.ready.send_if_modified(|ready| ready.remove(&id));
        }
        Ok(())
    }
}
