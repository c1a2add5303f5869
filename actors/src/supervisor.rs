//! One-for-one supervision over ractor: restart windows, exponential back-off, escalation.
//!
//! ```text
//!            root                 never gives up: its children are tried again after the longest delay
//!   ┌─────────┼─────────┐
//! branch    branch    service     a branch escalates by failing itself: its supervisor then
//!   │         │                   restarts it with all its children
//! workers   workers               workers are restarted at once, in storms after up to 20 ms
//! ```
//!
//! A child's failure (a panic or an error of its handler) is kept as text, counted, and answered by
//! a restart of that child alone. More failures than its window allows are answered as its
//! [`RestartPolicy`] says. Queues never live in a mailbox: they are shared with the handles, so that
//! what waits survives the worker that died, and only the job in hand is lost.
//!
//! **Nothing here knows what a child does**, and no actor has a global name: several runtimes can
//! live in one process.

mod restart;
mod tree;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent,
};

pub use restart::{Exhausted, RestartPolicy, RestartWindow, Verdict};
pub use tree::{Gauge, NodeState, TreeEntry, TreeNode};

type Started = Pin<Box<dyn Future<Output = Result<ActorCell, ActorProcessingErr>> + Send>>;

/// Starts one child below a supervisor, any number of times.
type StartChild = Arc<dyn Fn(ActorCell) -> Started + Send + Sync>;

/// One child of a supervisor.
#[derive(Clone)]
pub struct ChildSpec {
    entry: Arc<TreeEntry>,
    policy: RestartPolicy,
    start: StartChild,
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ChildSpec({})", self.entry.name())
    }
}

impl ChildSpec {
    /// A child that `make` builds anew for every start.
    pub fn new<A, F>(entry: Arc<TreeEntry>, policy: RestartPolicy, make: F) -> Self
    where
        A: Actor,
        F: Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    {
        let start: StartChild = Arc::new(move |supervisor| {
            let (actor, arguments) = make();
            Box::pin(async move {
                let started = A::spawn_linked(None, actor, arguments, supervisor).await;
                let (child, _) = started.map_err(|error| error.to_string())?;
                Ok(child.get_cell())
            })
        });
        Self { entry, policy, start }
    }

    /// A child that is itself a supervisor of `children`.
    #[must_use]
    pub fn branch(entry: Arc<TreeEntry>, policy: RestartPolicy, children: Vec<Self>) -> Self {
        let below = Arc::clone(&entry);
        Self::new::<Supervisor, _>(entry, policy, move || {
            (Supervisor { entry: Arc::clone(&below) }, children.clone())
        })
    }
}

/// The supervising actor. It owns the restarts of its children and never their work.
#[derive(Debug)]
pub struct Supervisor {
    entry: Arc<TreeEntry>,
}

/// Messages of a supervisor: its own, and those of whoever started the root.
#[derive(Debug)]
pub enum SupervisorMessage {
    /// A back-off has passed: start the child at this position.
    Start(usize),
    /// Start another child, from now on supervised like the others, and answer when it runs, or why
    /// it does not. For the root: a branch that starts again brings the children it began with.
    Add(Box<ChildSpec>, RpcReplyPort<Result<(), String>>),
}

impl ractor::Message for SupervisorMessage {}

/// What a supervisor remembers.
pub struct SupervisorState {
    children: Vec<ChildSpec>,
    windows: Vec<RestartWindow>,
    running: HashMap<ActorId, usize>,
    started_at: Instant,
}

impl Supervisor {
    /// Starts the root of a tree and all its children.
    ///
    /// # Errors
    /// The text of the first child's failure to start.
    pub async fn start_root(
        entry: Arc<TreeEntry>,
        children: Vec<ChildSpec>,
    ) -> Result<ActorRef<SupervisorMessage>, String> {
        let root = Self { entry };
        let started = Self::spawn(None, root, children).await;
        started.map(|(actor, _)| actor).map_err(|error| error.to_string())
    }

    async fn start_child(
        &self,
        myself: &ActorRef<SupervisorMessage>,
        position: usize,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = state.children.get(position) else { return Ok(()) };
        let entry = Arc::clone(&child.entry);
        let cell = (child.start)(myself.get_cell()).await?;
        state.running.insert(cell.get_id(), position);
        entry.set_state(NodeState::Running);
        Ok(())
    }

    /// Records a failure of the child at `position` and plans what follows.
    fn child_failed(
        &self,
        myself: &ActorRef<SupervisorMessage>,
        position: usize,
        state: &mut SupervisorState,
        text: &str,
    ) -> Result<(), ActorProcessingErr> {
        let (Some(child), Some(window)) =
            (state.children.get(position), state.windows.get_mut(position))
        else {
            return Ok(());
        };
        child.entry.record_failure(text);
        child.entry.record_restart();
        child.entry.set_state(NodeState::BackingOff);
        let labels = [
            ("supervisor", self.entry.name().to_owned()),
            ("child", child.entry.name().to_owned()),
        ];
        metrics::counter!("verdict_restarts_total", &labels).increment(1);
        match window.record(&child.policy, state.started_at.elapsed()) {
            Verdict::Restart(delay) => {
                tracing::warn!(
                    supervisor = self.entry.name(),
                    child = child.entry.name(),
                    panic = text,
                    delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                    "a child failed and starts again"
                );
                if delay.is_zero() {
                    myself.cast(SupervisorMessage::Start(position))?;
                } else {
                    drop(myself.send_after(delay, move || SupervisorMessage::Start(position)));
                }
                Ok(())
            }
            Verdict::Escalate => {
                tracing::error!(
                    supervisor = self.entry.name(),
                    child = child.entry.name(),
                    panic = text,
                    "a child fails too often: its branch starts again"
                );
                Err(format!("{} fails too often: {text}", child.entry.name()).into())
            }
        }
    }
}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = Vec<ChildSpec>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        children: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        for child in &children {
            child.entry.set_state(NodeState::Starting);
            self.entry.adopt(&child.entry);
        }
        let mut state = SupervisorState {
            windows: children.iter().map(|_| RestartWindow::default()).collect(),
            running: HashMap::with_capacity(children.len()),
            started_at: Instant::now(),
            children,
        };
        for position in 0..state.children.len() {
            self.start_child(&myself, position, &mut state).await?;
        }
        self.entry.set_state(NodeState::Running);
        Ok(state)
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        for child in &state.children {
            child.entry.set_state(NodeState::Stopped);
        }
        self.entry.set_state(NodeState::Stopped);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Start(position) => {
                // A child that cannot start has failed once more: the same window, the same back-off.
                if let Err(error) = self.start_child(&myself, position, state).await {
                    self.child_failed(&myself, position, state, &error.to_string())?;
                }
                Ok(())
            }
            SupervisorMessage::Add(child, reply) => {
                child.entry.set_state(NodeState::Starting);
                self.entry.adopt(&child.entry);
                let position = state.children.len();
                state.children.push(*child);
                state.windows.push(RestartWindow::default());
                let started = self.start_child(&myself, position, state).await;
                let started = started.map_err(|error| error.to_string());
                let failure = started.as_ref().err().cloned();
                // Whoever asked may have given up.
                drop(reply.send(started));
                match failure {
                    Some(text) => self.child_failed(&myself, position, state, &text),
                    None => Ok(()),
                }
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(id) = event.actor_id() else { return Ok(()) };
        let text = match &event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) => {
                reason.clone().unwrap_or_else(|| "ended without a reason".to_owned())
            }
            _ => return Ok(()),
        };
        match state.running.remove(&id) {
            Some(position) => self.child_failed(&myself, position, state, &text),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
