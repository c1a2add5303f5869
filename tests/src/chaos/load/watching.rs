//! Watchers that wander: whichever node ends the stream or falls silent, the next one goes on from
//! the last event.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::Client;
use crate::chaos::cluster::KEY;
use crate::chaos::history::Record;
use crate::chaos::http::{self, Opened};

/// A stream that is silent for so long is left for another node's.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// After so many events a watcher wanders anyway.
const EVENTS_MAX: usize = 150;
/// The most bytes of an event that has not ended.
const EVENT_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// Watches from the first revision on until it has seen the goal.
    pub(super) async fn watch(mut self, goal: watch::Receiver<u64>) {
        let watcher = self.name.clone();
        self.shared.recorder.add(Record::WatchBegan { watcher, from: 0 });
        let mut seen = 0;
        while seen < *goal.borrow() {
            let node = self.node();
            self.follow(node, &mut seen, &goal).await;
            self.pause(100).await;
        }
    }

    async fn follow(&self, node: u64, seen: &mut u64, goal: &watch::Receiver<u64>) {
        let address = self.shared.cluster.address(node);
        let path = format!("/v1/watch?from={seen}");
        // Both ways to resume are used in turn.
        let last_event = (!seen.is_multiple_of(2)).then_some(*seen);
        let Ok(opened) = http::open(&address, KEY, &path, last_event).await else { return };
        // Kept until the end: the connection goes with it.
        let Opened { response, connection: _carried } = opened;
        if response.status() != 200 {
            return;
        }
        let mut body = response.into_body();
        let (mut text, mut events) = (String::new(), 0);
        while events < EVENTS_MAX && text.len() < EVENT_BYTES_MAX && *seen < *goal.borrow() {
            let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE_MAX, body.frame()).await else {
                return;
            };
            let Ok(bytes) = frame.into_data() else { continue };
            text.push_str(&String::from_utf8_lossy(&bytes));
            while let Some((event, rest)) = text.split_once("\n\n") {
                if let Some((id, data)) = parse(event) {
                    *seen = id;
                    events += 1;
                    self.shared.recorder.add(Record::Watched {
                        watcher: self.name.clone(),
                        node,
                        id,
                        data,
                        at_us: self.shared.recorder.now_us(),
                    });
                }
                text = rest.to_owned();
            }
        }
    }
}

/// Id and data of an event; nothing for a comment.
fn parse(event: &str) -> Option<(u64, Json)> {
    let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let id = line("id: ")?.trim().parse().ok()?;
    let data = line("data: ").and_then(|data| serde_json::from_str(data).ok());
    Some((id, data.unwrap_or(json!(null))))
}
