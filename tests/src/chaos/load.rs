//! Clients of every node: changes with retries, rollbacks, decisions, reads, pollers, watchers.
//!
//! A client asks, waits, and asks again, always with a time limit. What it learns is in the history;
//! clients share only what they need to ask sensibly ([`Knowledge`]).

mod changes;
mod reading;
mod watching;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::history::{Call, Kind, Record, Recorder, Reply};
use super::http::{Answer, Ask, NoAnswer};

/// Refusals after which a change may have been made all the same.
const UNKNOWN_CODES: [&str; 5] = ["VD0607", "VD0609", "VD0704", "VD0805", "VD0901"];

/// What clients know together.
#[derive(Default)]
pub struct Knowledge {
    /// Changes and rollbacks that were acknowledged, the newest last: path, body.
    acknowledged: Mutex<VecDeque<(Kind, Json)>>,
    /// Revisions of acknowledged epochs, the newest last.
    epochs: Mutex<VecDeque<u64>>,
    /// The next epoch.
    epoch: AtomicU64,
    /// The newest acknowledged revision.
    revision: AtomicU64,
}

impl Knowledge {
    /// The newest acknowledged revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }
}

/// What every client is made of.
#[derive(Clone)]
pub struct Shared {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Where everything is written down.
    pub recorder: Recorder,
    /// What clients know.
    pub knowledge: Arc<Knowledge>,
}

impl Shared {
    /// A client.
    #[must_use]
    pub fn client(&self, name: impl Into<String>, seed: u64) -> Client {
        Client {
            shared: self.clone(),
            name: name.into(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            number: 0,
            decided: VecDeque::new(),
            stop: None,
        }
    }
}

/// One client.
pub struct Client {
    shared: Shared,
    name: String,
    rng: ChaCha8Rng,
    number: u64,
    /// Decisions that it asked for, the newest last.
    decided: VecDeque<(u64, Json)>,
    /// Between two tries it is looked at: a try that was sent is waited for, or the history would not
    /// know what was sent.
    stop: Option<Stop>,
}

const fn path_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Change => "/v1/changes",
        Kind::Rollback => "/v1/rollback",
        Kind::Decision => "/v1/decisions/pay",
        Kind::Flags => "/ofrep/v1/evaluate/flags",
        Kind::Read => "/v1/objects/flag/epoch?consistency=linearizable",
        Kind::Status => "/v1/status",
    }
}

impl Client {
    fn node(&mut self) -> u64 {
        let ids = self.shared.cluster.ids();
        ids.get(self.rng.random_range(0..ids.len().max(1))).copied().unwrap_or(1)
    }

    fn next(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.name, self.number)
    }

    async fn pause(&mut self, most_ms: u64) {
        let ms = self.rng.random_range(most_ms / 2..=most_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Makes one call and writes it down.
    async fn call(&self, node: u64, kind: Kind, request: &Json, question: Ask<'_>) -> Reply {
        let recorder = &self.shared.recorder;
        let min_revision = question.min_revision;
        let begin_us = recorder.now_us();
        let answer = self.shared.cluster.ask(node, question).await;
        let end_us = recorder.now_us();
        let stale = answer.as_ref().is_ok_and(|answer| answer.stale);
        let reply = reply_of(kind, answer);
        // One that was never sent tells nothing.
        if let Some(reply) = &reply {
            recorder.add(Record::Call(Call {
                client: self.name.clone(),
                node,
                kind,
                request: request.clone(),
                min_revision,
                stale,
                begin_us,
                end_us,
                reply: reply.clone(),
            }));
        }
        let absent = || Reply::Refused {
            status: 0,
            code: "nobody listens".to_owned(),
            revision: None,
            unknown: false,
        };
        reply.unwrap_or_else(absent)
    }
}

fn reply_of(kind: Kind, answer: Result<Answer, NoAnswer>) -> Option<Reply> {
    match answer {
        Err(NoAnswer::NotSent(_)) => None,
        Err(NoAnswer::Unknown(detail)) => Some(Reply::Unknown { detail }),
        Ok(answer) if answer.status == 200 => {
            let mut body = answer.body;
            if kind == Kind::Status {
                // What the checks read; the rest would fill the history.
                let kept = ["revision", "stale", "state"];
                let kept = kept.map(|key| (key.to_owned(), body[key].take()));
                body = Json::Object(kept.into_iter().collect());
            }
            Some(Reply::Ok { revision: answer.revision, body })
        }
        Ok(answer) => {
            let code = answer.body["code"].as_str().unwrap_or("").to_owned();
            let unknown = code.is_empty() || UNKNOWN_CODES.contains(&code.as_str());
            let (status, revision) = (answer.status, answer.revision);
            Some(Reply::Refused { status, code, revision, unknown })
        }
    }
}

/// A load that runs until it is stopped.
pub struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
    watchers: JoinSet<()>,
    goal: watch::Sender<u64>,
}

/// Whether a load was stopped.
#[derive(Clone)]
struct Stop(watch::Receiver<bool>);

impl Stop {
    fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

impl Load {
    /// Starts `scale` clients of each kind a node.
    #[must_use]
    pub fn start(shared: &Shared, seed: u64, scale: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (goal, _) = watch::channel(u64::MAX);
        let mut load = Self { stop, clients: JoinSet::new(), watchers: JoinSet::new(), goal };
        let stopped = Stop(stopped);
        for number in 0..3 * scale {
            let client = |kind: &str, salt: u64| {
                shared.client(format!("{kind}{number}-{seed:x}"), seed ^ (salt << 32) ^ number)
            };
            load.clients.spawn(client("writer", 1).write(stopped.clone()));
            load.clients.spawn(client("decider", 2).decide(stopped.clone()));
        }
        for number in 0..scale {
            let client = shared.client(format!("reader{number}-{seed:x}"), seed ^ 77 ^ number);
            load.clients.spawn(client.read(stopped.clone()));
        }
        load
    }

    /// Adds what looks on: a poller a node and watchers that wander.
    pub fn look_on(&mut self, shared: &Shared, seed: u64, nodes: u64) {
        let stopped = Stop(self.stop.subscribe());
        for node in 1..=nodes {
            let client = shared.client(format!("poller{node}"), seed ^ (9 << 32) ^ node);
            self.clients.spawn(client.poll(node, stopped.clone()));
            let client = shared.client(format!("watcher{node}"), seed ^ (10 << 32) ^ node);
            self.watchers.spawn(client.watch(self.goal.subscribe()));
        }
    }

    /// Stops the clients, not the watchers, and waits for them.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
    }

    /// Lets the watchers go on until they have seen a revision, at most `within`.
    pub async fn finish_watching(&mut self, revision: u64, within: Duration) {
        self.goal.send_replace(revision);
        let all = async { while self.watchers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(within, all).await;
        self.watchers.shutdown().await;
    }
}
