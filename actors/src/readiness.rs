//! What a change needs on other nodes before it is proposed, and how far they are.
//!
//! ```text
//!  change set ─> models that it makes active ─> every node: fetch, verify, load, warm
//!             └> bodies above 32 KiB ─────────> as many nodes as the settings say: fetch, verify
//!       enough of them ready? ─ yes ─> propose, with the evidence
//!                             └ no, and the time is up ─> refused, with who is not ready and why
//! ```
//!
//! What counts as enough is a pure function of the members and their answers. A node that cannot be
//! reached does not hold a model back as long as a majority of the voters has it: it fetches the model
//! before it serves the revision, as any node does that joins later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use verdict_consensus::peers::Preparation;
use verdict_consensus::{Member, StoredBody};

use crate::blobs::UNREFERENCED_KEPT;

/// Things that are prepared at the same time; more wait until they are asked for again.
const LOADING_MAX: usize = 2;
/// Things whose state is remembered.
const KNOWN_MAX: usize = 4_096;
/// How long something that failed is not tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What a change needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Content hashes of model folders.
    pub models: Vec<String>,
    /// Bodies that stand outside the log.
    pub objects: Vec<StoredBody>,
}

impl Needs {
    /// Whether there is nothing to prepare.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.models.is_empty() && self.objects.is_empty()
    }

    const fn len(&self) -> usize {
        self.models.len() + self.objects.len()
    }
}

/// The answer of a node, or why there is none.
pub type PreparedFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Preparation>, String>> + Send + 'a>>;

/// The other nodes, asked to prepare.
pub trait ReadyPeers: Send + Sync {
    /// Asks a node to prepare; it answers at once how far it is: models, then objects.
    fn prepare<'a>(&'a self, node_id: u64, needs: &'a Needs) -> PreparedFuture<'a>;
}

/// How a node stands to everything that a change needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It cannot be asked.
    Away(String),
    /// It works on it.
    Loading,
    /// Something failed.
    Failed(String),
    /// It has everything: since when, in milliseconds since the epoch, in the order of the needs.
    Ready(Vec<i64>),
}

impl Standing {
    pub(crate) fn of(answer: Result<Vec<Preparation>, String>, needs: &Needs) -> Self {
        let preparations = match answer {
            Ok(preparations) if preparations.len() == needs.len() => preparations,
            Ok(_) => return Self::Failed("it answered about something else".to_owned()),
            Err(reason) => return Self::Away(reason),
        };
        let mut since = Vec::new();
        let mut loading = false;
        for preparation in preparations {
            match preparation {
                Preparation::Ready { at_ms } => since.push(at_ms),
                Preparation::Loading => loading = true,
                Preparation::Failed { detail } => return Self::Failed(detail),
            }
        }
        if loading { Self::Loading } else { Self::Ready(since) }
    }

    const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Why the node is not ready; `None` if it is.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Ready(_) => None,
            Self::Loading => Some("it is still fetching or loading".to_owned()),
            Self::Failed(detail) => Some(detail.clone()),
            Self::Away(detail) => Some(format!("it cannot be reached: {detail}")),
        }
    }
}

/// How many nodes a change waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enough {
    /// A majority of the voters, and every node that can be reached: for models.
    EveryLiveNode,
    /// A majority of the voters, the leader, and so many nodes, or all that can be reached: for
    /// bodies.
    Replicas {
        /// How many.
        count: usize,
        /// The node that must have them to check the change.
        leader: Option<u64>,
    },
}

impl Enough {
    /// Whether these nodes are enough.
    pub(crate) fn is_met(self, members: &[Member], standings: &BTreeMap<u64, Standing>) -> bool {
        let is_ready = |id: &u64| standings.get(id).is_some_and(Standing::is_ready);
        let is_away =
            |id: &u64| !matches!(standings.get(id), Some(s) if !matches!(s, Standing::Away(_)));
        let voters = members.iter().filter(|member| member.voter).count();
        let ready_voters =
            members.iter().filter(|member| member.voter && is_ready(&member.node_id)).count();
        let majority = ready_voters > voters / 2;
        match self {
            Self::EveryLiveNode => {
                majority && members.iter().all(|m| is_ready(&m.node_id) || is_away(&m.node_id))
            }
            Self::Replicas { count, leader } => {
                let live = members.iter().filter(|member| !is_away(&member.node_id)).count();
                let ready = members.iter().filter(|member| is_ready(&member.node_id)).count();
                majority && ready >= count.min(live) && leader.is_none_or(|id| is_ready(&id))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Loading,
    Ready { at_ms: i64 },
    Failed { detail: String, at: Instant },
}

struct Known {
    state: State,
    /// When it was last asked for.
    asked: Instant,
}

/// What this node prepares, and keeps loaded for an hour. Cloning shares it.
#[derive(Clone, Default)]
pub struct Staging {
    known: Arc<Mutex<HashMap<Arc<str>, Known>>>,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Staging({} known)", self.known.lock().len())
    }
}

impl Staging {
    /// How far something is, and whether the caller is to begin with it.
    pub(crate) fn ask(&self, key: &Arc<str>, now: Instant) -> (Preparation, bool) {
        let mut known = self.known.lock();
        known.retain(|_, known| {
            known.state == State::Loading
                || now.saturating_duration_since(known.asked) < UNREFERENCED_KEPT
        });
        let loading = known.values().filter(|known| known.state == State::Loading).count();
        if let Some(known) = known.get_mut(key) {
            known.asked = now;
            match &known.state {
                State::Loading => return (Preparation::Loading, false),
                State::Ready { at_ms } => return (Preparation::Ready { at_ms: *at_ms }, false),
                State::Failed { detail, at }
                    if loading >= LOADING_MAX
                        || now.saturating_duration_since(*at) < RETRY_AFTER =>
                {
                    return (Preparation::Failed { detail: detail.clone() }, false);
                }
                State::Failed { .. } => {}
            }
        }
        if loading >= LOADING_MAX || (known.len() >= KNOWN_MAX && !known.contains_key(key)) {
            return (Preparation::Loading, false);
        }
        known.insert(Arc::clone(key), Known { state: State::Loading, asked: now });
        (Preparation::Loading, true)
    }

    /// What became of it.
    pub(crate) fn settle(&self, key: &Arc<str>, result: Result<i64, String>, now: Instant) {
        let state = match result {
            Ok(at_ms) => State::Ready { at_ms },
            Err(detail) => State::Failed { detail, at: now },
        };
        let mut known = self.known.lock();
        if known.len() < KNOWN_MAX || known.contains_key(key) {
            known.insert(Arc::clone(key), Known { state, asked: now });
        }
    }

    /// Whether anything is known of it.
    pub(crate) fn is_known(&self, key: &str) -> bool {
        self.known.lock().contains_key(key)
    }

    /// If it was ready, it is no more: it is begun anew when it is asked for.
    pub(crate) fn forget_ready(&self, key: &str) {
        let mut known = self.known.lock();
        if known.get(key).is_some_and(|known| matches!(known.state, State::Ready { .. })) {
            known.remove(key);
        }
    }

    /// What was served is no longer kept for a change to come: it goes when it is swapped out.
    pub(crate) fn release(&self, served: &BTreeSet<Arc<str>>) {
        let mut known = self.known.lock();
        known.retain(|key, known| known.state == State::Loading || !served.contains(key));
    }

    /// What is loaded, or being loaded, for changes that may come yet.
    pub(crate) fn kept(&self, now: Instant) -> Vec<Arc<str>> {
        let known = self.known.lock();
        let kept = known.iter().filter(|(_, known)| {
            !matches!(known.state, State::Failed { .. })
                && now.saturating_duration_since(known.asked) < UNREFERENCED_KEPT
        });
        kept.map(|(key, _)| Arc::clone(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use verdict_consensus::NodeAttributes;

    use super::*;

    fn members(voters: u64, learners: u64) -> Vec<Member> {
        let member = |node_id| Member {
            node_id,
            voter: node_id <= voters,
            attributes: NodeAttributes::default(),
        };
        (1..=voters + learners).map(member).collect()
    }

    fn standings(text: &str) -> BTreeMap<u64, Standing> {
        let standing = |letter| match letter {
            'r' => Standing::Ready(vec![1]),
            'l' => Standing::Loading,
            'f' => Standing::Failed(String::new()),
            _ => Standing::Away(String::new()),
        };
        (1..).zip(text.chars().map(standing)).collect()
    }

    #[test]
    fn a_model_waits_for_a_majority_and_every_live_node() {
        let check = |voters, learners, text: &str, expected: bool| {
            let met = Enough::EveryLiveNode.is_met(&members(voters, learners), &standings(text));
            assert_eq!(met, expected, "{voters} voters, {learners} learners: {text}");
        };
        check(1, 0, "r", true);
        check(3, 0, "rrr", true);
        check(3, 0, "rra", true);
        check(3, 0, "raa", false);
        check(3, 0, "rrl", false);
        check(3, 0, "rrf", false);
        check(3, 1, "rrrl", false);
        check(3, 1, "rrra", true);
        check(3, 2, "raarr", false);
        // Of whom there is no answer at all yet, nothing is known: as one that is away.
        check(3, 0, "rr", true);
        check(3, 0, "r", false);
    }

    #[test]
    fn a_body_waits_for_its_replicas_a_majority_and_the_leader() {
        let check = |count, leader, text: &str, expected: bool| {
            let enough = Enough::Replicas { count, leader: Some(leader) };
            assert_eq!(enough.is_met(&members(5, 0), &standings(text)), expected, "{text}");
        };
        check(3, 1, "rrrll", true);
        check(1, 1, "rrlll", false);
        check(4, 1, "rrrll", false);
        check(4, 1, "rrraa", true);
        check(3, 4, "rrrll", false);
        check(3, 4, "rrlrl", true);
    }

    #[test]
    fn one_answer_says_how_a_node_stands() {
        let needs = Needs { models: vec![String::new(); 2], objects: Vec::new() };
        let (ready, loading) = (Preparation::Ready { at_ms: 5 }, Preparation::Loading);
        let failed = Preparation::Failed { detail: "no".to_owned() };
        let of = |all: Vec<Preparation>| Standing::of(Ok(all), &needs);
        assert_eq!(of(vec![ready.clone(), ready.clone()]), Standing::Ready(vec![5, 5]));
        assert_eq!(of(vec![ready.clone(), loading.clone()]), Standing::Loading);
        assert_eq!(of(vec![loading, failed]), Standing::Failed("no".to_owned()));
        assert!(matches!(of(vec![ready]), Standing::Failed(_)));
        assert!(matches!(Standing::of(Err("x".to_owned()), &needs), Standing::Away(_)));
    }

    #[test]
    fn things_are_prepared_two_at_a_time_and_kept_for_an_hour() {
        let (staging, start) = (Staging::default(), Instant::now());
        let key = |name: &str| Arc::<str>::from(name);
        let ask = |name: &str, after: Duration| staging.ask(&key(name), start + after);
        assert_eq!(ask("a", Duration::ZERO), (Preparation::Loading, true));
        assert_eq!(ask("a", Duration::ZERO), (Preparation::Loading, false));
        assert_eq!(ask("b", Duration::ZERO), (Preparation::Loading, true));
        assert_eq!(ask("c", Duration::ZERO), (Preparation::Loading, false));
        staging.settle(&key("a"), Ok(7), start);
        assert_eq!(ask("a", Duration::ZERO), (Preparation::Ready { at_ms: 7 }, false));
        staging.settle(&key("b"), Err("no".to_owned()), start);
        let failed = Preparation::Failed { detail: "no".to_owned() };
        assert_eq!(ask("b", Duration::ZERO), (failed, false));
        assert_eq!(ask("b", RETRY_AFTER), (Preparation::Loading, true));
        let mut kept = staging.kept(start);
        kept.sort();
        assert_eq!(kept, [key("a"), key("b")]);
        staging.settle(&key("b"), Ok(8), start);
        staging.release(&BTreeSet::from([key("b")]));
        assert_eq!(staging.kept(start), [key("a")], "what was served goes with its state");
        staging.settle(&key("b"), Ok(8), start);
        assert!(staging.kept(start + UNREFERENCED_KEPT).is_empty());
        assert_eq!(ask("a", UNREFERENCED_KEPT), (Preparation::Loading, true));
    }
}
