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
                let id = self.next();
                let body = self.decision(&id);
                self.ask_decision(node, &body).await;
                if self.rng.random_range(0..10) == 0 {
                    self.ask_decision(node, &body).await;
                }
            }
            self.pause(40).await;
        }
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
    pub async fn ask_decision(&self, node: u64, body: &Json) {
        let question = Ask::post(path_of(Kind::Decision), body).within(PATIENCE);
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
