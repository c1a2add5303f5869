//! Whether a cluster that was healed is well again.

use anyhow::Result;
use serde_json::json;
use tokio::time::Instant;

use super::{CONVERGE_WITHIN, LOOK_WITHIN, Performer};
use crate::chaos::cluster::LOOK_AGAIN;
use crate::chaos::history::{Kind, Record, Reply};
use crate::chaos::http::Ask;

impl Performer {
    /// Waits until every node is ready, takes a change, serves what all of them took, and is not
    /// stale.
    ///
    /// # Errors
    /// A node ended by itself, or the time is over; it is in the history as well.
    pub async fn converge(&mut self, name: &str) -> Result<()> {
        let begun = Instant::now();
        let mut failure = "nothing was looked at".to_owned();
        while begun.elapsed() < CONVERGE_WITHIN {
            if let Some((id, log)) = self.cluster().ended() {
                failure = format!("node {id} ended by itself: {log}");
                break;
            }
            match self.look().await {
                Ok(()) => {
                    self.converged(name, begun, None);
                    return Ok(());
                }
                Err(why) => failure = why,
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.converged(name, begun, Some(failure.clone()));
        anyhow::bail!("after {name}: {failure}")
    }

    fn converged(&self, name: &str, begun: Instant, failure: Option<String>) {
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.recorder.add(Record::Converged { name: name.to_owned(), took_ms, failure });
    }

    async fn look(&mut self) -> Result<(), String> {
        let ids = self.cluster().ids();
        for id in &ids {
            let ready = self.cluster().ask(*id, Ask::get("/readyz").within(LOOK_WITHIN)).await;
            match ready {
                Ok(answer) if answer.status == 200 => {}
                other => return Err(format!("node {id} is not ready: {other:?}")),
            }
        }
        let mut revision = self.shared.knowledge.revision();
        for id in &ids {
            self.probes += 1;
            let body = json!({
                "request_id": format!("probe-{}-{:x}", self.probes, self.seed), "why": "probe",
                "changes": [{ "kind": "setting", "name": "probe", "op": "put",
                    "body": { "n": self.probes } }],
            });
            match self.client.try_change(Kind::Change, &body, *id).await {
                Reply::Ok { body, .. } => {
                    revision = revision.max(body["revision"].as_u64().unwrap_or(0));
                }
                other => return Err(format!("node {id} takes no change: {other:?}")),
            }
        }
        for id in &ids {
            let question = Ask::get("/v1/status").at_least(revision).within(LOOK_WITHIN);
            match self.cluster().ask(*id, question).await {
                Ok(answer) if answer.status == 200 && answer.body["stale"] == false => {}
                Ok(answer) if answer.status == 200 => return Err(format!("node {id} is stale")),
                other => {
                    let told = other.map(|answer| answer.body.to_string());
                    return Err(format!("node {id} does not serve revision {revision}: {told:?}"));
                }
            }
        }
        Ok(())
    }
}
