//! The last step of an episode: a backup, the end of the cluster, and another one made of the backup.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};

use verdict_consensus::REVISION_STEP;

use super::Performer;
use crate::chaos::cluster::Cluster;
use crate::chaos::history::Record;
use crate::chaos::http::Ask;

impl Performer {
    /// A backup of the cluster, its end, and a cluster of the backup.
    ///
    /// # Errors
    /// Of the harness; what the restored cluster does wrong is in the history.
    pub async fn backup_destroy_restore(&mut self, program: &Path, folder: &Path) -> Result<()> {
        let least = self.shared.knowledge.revision();
        let restored = self.restored(program, folder, least).await;
        let (entries, failure): (Vec<Json>, _) = match restored {
            Ok(entries) => (entries, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        self.shared.recorder.add(Record::Restored { least, entries, failure });
        Ok(())
    }

    async fn restored(&self, program: &Path, folder: &Path, least: u64) -> Result<Vec<Json>> {
        let at = *self.cluster().ids().last().context("a node")?;
        let question = Ask::get("/v1/admin/backup").at_least(least).within(Duration::from_secs(30));
        let backup = self.cluster().ask(at, question).await;
        let backup = backup.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        anyhow::ensure!(backup.status == 200, "{}", backup.body);
        std::fs::write(folder.join("backup.tar"), &backup.bytes)?;
        self.kill_all();
        let (into, backup) = (folder.join("restored"), folder.join("backup.tar"));
        let new = Cluster::restored(program, &into, &backup).await?;
        let body = json!({ "request_id": "after-the-restore", "why": "probe", "changes": [
            { "kind": "setting", "name": "probe", "op": "put", "body": { "n": 0 } } ] });
        let entries = new.history(1).await?;
        let changed = new.ask(1, Ask::post("/v1/changes", &body)).await;
        let changed = changed.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        anyhow::ensure!(changed.status == 200, "a change is refused: {}", changed.body);
        // What the restored cluster was given; it has made changes of its own since.
        let given = entries.iter().filter_map(|entry| entry["revision"].as_u64());
        let newest = given.filter(|revision| *revision < REVISION_STEP).max().unwrap_or(0);
        let next = changed.body["revision"].as_u64().unwrap_or(0);
        anyhow::ensure!(
            next > REVISION_STEP,
            "revision {next} follows {newest}: the cluster of before may have given it"
        );
        // A client of the cluster of before that has seen more than the backup reads anew.
        let behind = new.ask(1, Ask::get("/v1/status").at_least(newest + 1)).await;
        let behind = behind.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        anyhow::ensure!(
            behind.status == 410,
            "a minimum of the cluster of before gets {}: {}",
            behind.status,
            behind.body
        );
        Ok(entries)
    }
}
