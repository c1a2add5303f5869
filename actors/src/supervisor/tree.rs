//! The tree as one can see it: names, states, restarts, last panics and queues.
//!
//! Entries are shared memory that actors write and anybody reads, so that listing the tree costs
//! no message and works while an actor hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

/// What a member of the tree is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Not yet running.
    Starting,
    /// Running.
    Running,
    /// Failed and waiting for its restart.
    BackingOff,
    /// Ended on purpose.
    Stopped,
}

impl NodeState {
    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Running,
            2 => Self::BackingOff,
            3 => Self::Stopped,
            _ => Self::Starting,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Running => 1,
            Self::BackingOff => 2,
            Self::Stopped => 3,
        }
    }
}

/// A snapshot of one member of the supervision tree and all below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeNode {
    /// Its name, unique among its siblings.
    pub name: String,
    /// `supervisor`, `worker`, `compute`, `service`.
    pub kind: &'static str,
    /// What it is doing.
    pub state: NodeState,
    /// How often it was restarted since the process started.
    pub restarts: u64,
    /// Text of its last panic or failure.
    pub last_panic: Option<String>,
    /// Jobs waiting in its queue, if it has one.
    pub queue_depth: Option<u64>,
    /// The most its queue holds.
    pub queue_limit: Option<u64>,
    /// Members below it, in their order of start.
    pub children: Vec<TreeNode>,
}

impl TreeNode {
    /// Restarts of this member and of all below it.
    #[must_use]
    pub fn restarts_total(&self) -> u64 {
        self.restarts + self.children.iter().map(Self::restarts_total).sum::<u64>()
    }

    /// Whether this member and all below it run.
    #[must_use]
    pub fn all_running(&self) -> bool {
        self.state == NodeState::Running && self.children.iter().all(Self::all_running)
    }

    /// The tree as indented text, one member a line.
    #[must_use]
    pub fn draw(&self) -> String {
        let mut text = String::new();
        self.draw_into(&mut text, "", "");
        text
    }

    fn draw_into(&self, text: &mut String, lead: &str, below: &str) {
        use std::fmt::Write as _;
        let queue = match (self.queue_depth, self.queue_limit) {
            (Some(depth), Some(limit)) => format!(", queue {depth}/{limit}"),
            _ => String::new(),
        };
        let state = format!("{:?}", self.state).to_lowercase();
        let restarts = self.restarts;
        let _ = writeln!(
            text,
            "{lead}{} ({}) {state}, restarts {restarts}{queue}",
            self.name, self.kind
        );
        for (position, child) in self.children.iter().enumerate() {
            let last = position + 1 == self.children.len();
            let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            child.draw_into(text, &format!("{below}{branch}"), &format!("{below}{trunk}"));
        }
    }
}

/// Depth and limit of a queue, read without a lock on the hot path.
pub trait Gauge: Send + Sync {
    /// Jobs waiting now, and the most that may wait.
    fn depth_and_limit(&self) -> (u64, u64);
}

impl<F: Fn() -> (u64, u64) + Send + Sync> Gauge for F {
    fn depth_and_limit(&self) -> (u64, u64) {
        self()
    }
}

/// A member's shared entry.
pub struct TreeEntry {
    name: String,
    kind: &'static str,
    state: AtomicU8,
    restarts: AtomicU64,
    last_panic: Mutex<Option<String>>,
    gauge: Option<Arc<dyn Gauge>>,
    children: Mutex<Vec<Arc<TreeEntry>>>,
}

impl std::fmt::Debug for TreeEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TreeEntry({})", self.name)
    }
}

impl TreeEntry {
    /// An entry that is starting.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: &'static str) -> Arc<Self> {
        Self::with_gauge(name, kind, None)
    }

    /// An entry whose member has a queue.
    #[must_use]
    pub fn with_gauge(
        name: impl Into<String>,
        kind: &'static str,
        gauge: Option<Arc<dyn Gauge>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            kind,
            state: AtomicU8::new(0),
            restarts: AtomicU64::new(0),
            last_panic: Mutex::new(None),
            gauge,
            children: Mutex::new(Vec::new()),
        })
    }

    /// The member's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a member below this one. A branch that starts again brings its children anew: they
    /// replace those of the same name.
    pub fn adopt(&self, child: &Arc<Self>) {
        let mut children = self.children.lock();
        match children.iter_mut().find(|known| known.name == child.name) {
            Some(known) => *known = Arc::clone(child),
            None => children.push(Arc::clone(child)),
        }
    }

    /// Removes the member of that name from below this one.
    pub fn disown(&self, name: &str) {
        self.children.lock().retain(|child| child.name != name);
    }

    /// Says what the member is doing.
    pub fn set_state(&self, state: NodeState) {
        self.state.store(state.number(), Ordering::Relaxed);
    }

    /// Counts a failure and keeps its text.
    pub fn record_failure(&self, text: &str) {
        *self.last_panic.lock() = Some(text.chars().take(512).collect());
    }

    /// Counts a restart.
    pub fn record_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// The member and all below it as they are now.
    #[must_use]
    pub fn snapshot(&self) -> TreeNode {
        let gauge = self.gauge.as_ref().map(|gauge| gauge.depth_and_limit());
        let children = self.children.lock().clone();
        TreeNode {
            name: self.name.clone(),
            kind: self.kind,
            state: NodeState::of(self.state.load(Ordering::Relaxed)),
            restarts: self.restarts.load(Ordering::Relaxed),
            last_panic: self.last_panic.lock().clone(),
            queue_depth: gauge.map(|(depth, _)| depth),
            queue_limit: gauge.map(|(_, limit)| limit),
            children: children.iter().map(|child| child.snapshot()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_with_its_branches() {
        let root = TreeEntry::new("root", "supervisor");
        let pool = TreeEntry::new("rules", "supervisor");
        let worker = TreeEntry::new("worker-0", "worker");
        root.adopt(&pool);
        root.adopt(&TreeEntry::new("publisher", "service"));
        pool.adopt(&worker);
        worker.record_failure("boom");
        worker.record_restart();
        for entry in [&root, &pool, &worker] {
            entry.set_state(NodeState::Running);
        }
        let tree = root.snapshot();
        assert_eq!(tree.restarts_total(), 1);
        assert_eq!(tree.children[0].children[0].last_panic.as_deref(), Some("boom"));
        assert!(!tree.all_running(), "the publisher is starting");
        let expected = "root (supervisor) running, restarts 0\n\
                        ├─ rules (supervisor) running, restarts 0\n\
                        │  └─ worker-0 (worker) running, restarts 1\n\
                        └─ publisher (service) starting, restarts 0\n";
        assert_eq!(tree.draw(), expected);
    }
}
