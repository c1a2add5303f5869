//! Clients that read: decisions, flags, linearizable reads, and pollers of one node.

use std::time::Duration;

use rand::RngExt;
use serde_json::{Value as Json, json};

use super::{Client, Stop, path_of};
use crate::chaos::catalogue::CARDS;
use crate::chaos::history::Kind;
use crate::chaos::http::Ask;

/// Between two looks of a poller.
const POLL_PERIOD: Duration = Duration::from_millis(100);
/// Decisions that a client remembers to ask for again.
const DECIDED_MAX: usize = 60;
/// Every so many looks the state hash is asked for.
const HASH_EVERY: u64 = 8;

impl Client {
    pub(super) async fn decide(mut self, stop: Stop) {
        while !stop.is_set() {
            let node = self.node();
            if self.rng.random_range(0..6) == 0 {
                let body = json!({ "context": { "targetingKey": "u" } });
                let question = Ask::post(path_of(Kind::Flags), &body).within(PATIENCE);
                self.call(node, Kind::Flags, &body, question).await;
            } else {
                self.decide_once(node).await;
            }
            self.pause(40).await;
        }
    }

    pub(super) async fn decide_once(&mut self, node: u64) {
        let known = self.rng.random_range(0..DECIDED_MAX * 8);
        if let Some((node, body)) = self.decided.get(known).cloned() {
            // Asked again much later, perhaps of a node that was killed in between.
            self.ask_decision(node, &body, None).await;
            return;
        }
        let id = self.next();
        let body = self.decision(&id);
        let wanted = self.shared.knowledge.revision();
        let min_revision = (self.rng.random_range(0..4) == 0).then_some(wanted);
        self.ask_decision(node, &body, min_revision).await;
        if self.decided.len() >= DECIDED_MAX {
            self.decided.pop_front();
        }
        self.decided.push_back((node, body));
    }

    fn decision(&mut self, id: &str) -> Json {
        let amount = self.rng.random_range(0..1_000);
        let mut input = json!({ "amount": amount });
        if self.rng.random_range(0..8) > 0 {
            input["card"] = json!(format!("card-{}", self.rng.random_range(0..CARDS)));
        }
        json!({ "request_id": id, "input": input })
    }

    /// Asks one node for a decision.
    async fn ask_decision(&self, node: u64, body: &Json, min_revision: Option<u64>) {
        let question = Ask::post(path_of(Kind::Decision), body).within(PATIENCE);
        let question = Ask { min_revision, ..question };
        self.call(node, Kind::Decision, body, question).await;
    }

    pub(super) async fn read(mut self, stop: Stop) {
        while !stop.is_set() {
            let node = self.node();
            let path = path_of(Kind::Read);
            self.call(node, Kind::Read, &json!(path), Ask::get(path)).await;
            self.pause(250).await;
        }
    }

    pub(super) async fn poll(self, node: u64, stop: Stop) {
        let mut looks = 0u64;
        while !stop.is_set() {
            looks += 1;
            let hashed = looks.is_multiple_of(HASH_EVERY);
            let path = if hashed { "/v1/status?state_hash=true" } else { path_of(Kind::Status) };
            let question = Ask::get(path).within(PATIENCE);
            self.call(node, Kind::Status, &json!(path), question).await;
            tokio::time::sleep(POLL_PERIOD).await;
        }
    }
}

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(4);
