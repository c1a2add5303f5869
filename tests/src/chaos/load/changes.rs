//! Clients that change: each change is tried at one node after the other under one `request_id`,
//! until its outcome is known or patience ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value as Json, json};

use super::{Client, Stop, path_of};
use crate::chaos::catalogue::{self, EPOCH_OBJECTS, FLAGS, SETTINGS};
use crate::chaos::history::{Kind, Reply};
use crate::chaos::http::Ask;

/// Tries of one change.
const TRIES_MAX: u32 = 12;
/// What clients remember of each kind.
const KEPT_MAX: usize = 200;

impl Client {
    pub(super) async fn write(mut self, stop: Stop) {
        self.stop = Some(stop.clone());
        while !stop.is_set() {
            let (kind, body) = self.next_change();
            if let Some(node) = self.settle(kind, &body, TRIES_MAX).await
                && self.rng.random_range(0..3) == 0
            {
                // Whoever was told of a change is decided for by it.
                self.decide_once(node).await;
            }
            self.pause(50).await;
        }
    }

    fn next_change(&mut self) -> (Kind, Json) {
        match self.rng.random_range(0..100) {
            0..8 => {
                // Asked again though it was acknowledged: as a client whose answer was lost does.
                let known = &self.shared.knowledge.acknowledged;
                let known = known.lock();
                // The newest as often as any other: nodes have just heard of it.
                let newest = known.len().saturating_sub(1);
                let any = self.rng.random_range(0..known.len().max(1));
                let again = if self.rng.random_range(0..2) == 0 { newest } else { any };
                if let Some((kind, body)) = known.get(again) {
                    return (*kind, body.clone());
                }
            }
            8..16 => {
                if let Some(body) = self.next_rollback() {
                    return (Kind::Rollback, body);
                }
            }
            16..40 => {
                let epoch = self.shared.knowledge.epoch.fetch_add(1, Ordering::SeqCst) + 1;
                return (Kind::Change, self.body(catalogue::epoch(epoch)));
            }
            40..55 => {
                // Races with whoever else writes the object: at most one of those that expect the
                // same revision may win.
                let object = self.rng.random_range(0..FLAGS + SETTINGS);
                let mut change = catalogue::small(object, &self.name, self.number);
                let newest = self.shared.knowledge.revision();
                change["expected_revision"] = json!(self.rng.random_range(0..=newest));
                return (Kind::Change, self.body(vec![change]));
            }
            _ => {}
        }
        let object = self.rng.random_range(0..FLAGS + SETTINGS);
        let change = catalogue::small(object, &self.name, self.number);
        (Kind::Change, self.body(vec![change]))
    }

    fn body(&mut self, changes: Vec<Json>) -> Json {
        json!({ "request_id": self.next(), "why": "load", "changes": changes })
    }

    /// A rollback of a whole epoch: several things at once.
    pub fn next_rollback(&mut self) -> Option<Json> {
        let to_revision = {
            let epochs = self.shared.knowledge.epochs.lock();
            *epochs.get(self.rng.random_range(0..epochs.len().max(1)))?
        };
        let objects = EPOCH_OBJECTS.map(|(kind, name)| json!({ "kind": kind, "name": name }));
        Some(json!({
            "request_id": self.next(), "why": "load", "to_revision": to_revision,
            "objects": objects,
        }))
    }

    /// Asks until the outcome is known; the node that did it, if it was done.
    pub async fn settle(&mut self, kind: Kind, body: &Json, tries: u32) -> Option<u64> {
        let mut node = self.node();
        for _ in 0..tries {
            match self.try_change(kind, body, node).await {
                Reply::Ok { body: answer, .. } => {
                    self.learn(kind, body, answer["revision"].as_u64().unwrap_or(0));
                    return Some(node);
                }
                // The catalogue says no: no other node would say otherwise.
                Reply::Refused { status: 400..429, .. } => return None,
                Reply::Refused { .. } | Reply::Unknown { .. } => {}
            }
            if self.stop.as_ref().is_some_and(Stop::is_set) {
                return None;
            }
            self.pause(200).await;
            node = self.node();
        }
        None
    }

    /// One try at one node.
    pub async fn try_change(&mut self, kind: Kind, body: &Json, node: u64) -> Reply {
        let patience = Duration::from_millis(self.rng.random_range(600..4_000));
        let question = Ask::post(path_of(kind), body).within(patience);
        self.call(node, kind, body, question).await
    }

    fn learn(&self, kind: Kind, body: &Json, revision: u64) {
        let knowledge = &self.shared.knowledge;
        knowledge.revision.fetch_max(revision, Ordering::SeqCst);
        let mut acknowledged = knowledge.acknowledged.lock();
        if acknowledged.len() >= KEPT_MAX {
            acknowledged.pop_front();
        }
        acknowledged.push_back((kind, body.clone()));
        if body["changes"].as_array().is_some_and(|changes| changes.len() >= EPOCH_OBJECTS.len()) {
            let mut epochs = knowledge.epochs.lock();
            if epochs.len() >= KEPT_MAX {
                epochs.pop_front();
            }
            epochs.push_back(revision);
        }
    }
}
