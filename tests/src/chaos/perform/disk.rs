//! Disks that lie, forget, and are full.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::Instant;
use verdict_config::model::sha256_hex;

use super::{CONVERGE_WITHIN, Performer, Roles};
use crate::chaos::cluster::LOOK_AGAIN;
use crate::chaos::history::{Kind, Reply};
use crate::chaos::http::Ask;
use crate::chaos::links::Mode;
use crate::chaos::schedule::Step;

/// Values of a list whose body is too large for the log.
const LIST_VALUES: u64 = 2_000;
/// How long a node whose store was damaged may take to say whether it starts.
const SAYS_WITHIN: Duration = Duration::from_secs(20);
/// How much a node's largest file may still grow where the disk is full.
const ROOM_BYTES: u64 = 48 << 10;

/// The bodies in a node's store: how many there are, and the names of those that are not what their
/// hash says.
///
/// # Errors
/// The disk.
pub fn bodies(dir: &Path) -> Result<(u64, Vec<String>)> {
    let (mut count, mut damaged) = (0, Vec::new());
    for (name, path) in stored(dir)? {
        // It may be collected meanwhile.
        let Ok(bytes) = std::fs::read(path) else { continue };
        count += 1;
        if sha256_hex(&bytes) != name {
            damaged.push(name);
        }
    }
    Ok((count, damaged))
}

fn stored(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join("data/blobs/objects"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.len() == 64 {
            found.push((name, path));
        }
    }
    Ok(found)
}

/// Turns a bit of a file, or takes its end, or all of it, away.
///
/// # Errors
/// The disk.
pub fn damage(path: &Path, choice: u64) -> Result<()> {
    let mut bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let place = usize::try_from(choice)? % bytes.len().max(1);
    match choice % 4 {
        0 => bytes.truncate(place),
        1 => bytes.clear(),
        _ => bytes[place] ^= 1 << (choice / 7 % 8),
    }
    // In its place, as a disk would: not renamed over it.
    Ok(std::fs::write(path, bytes)?)
}

fn largest_file(folder: &Path) -> Result<(u64, PathBuf)> {
    let mut largest = (0, folder.to_owned());
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() {
            largest_file(&entry.path())?
        } else {
            (entry.metadata()?.len(), entry.path())
        };
        if found.0 > largest.0 {
            largest = found;
        }
    }
    Ok(largest)
}

impl Performer {
    /// Two large bodies; one is damaged at the leader, while a node that was away can ask only it,
    /// the other at the third node, which is killed and must find the damage by itself.
    pub(super) async fn damaged_blob(&mut self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let away = roles.follower;
        let first = self.put_large(roles.leader).await?;
        self.cluster().kill(away);
        let second = self.put_large(roles.leader).await?;
        let leader = self.leads(away).await?;
        let third = self.cluster().ids().into_iter().find(|id| ![away, leader].contains(id));
        let third = third.context("a third node")?;
        for (node, (hash, _)) in [(leader, &second), (third, &first)] {
            let path = self.cluster().dir(node).join("data/blobs/objects").join(hash);
            // A node that was brought up to date by a snapshot has no file of it.
            if path.is_file() {
                damage(&path, step.choice)?;
            }
        }
        self.cluster().links.set((away, third), Mode::Cut);
        self.cluster().links.set((third, away), Mode::Cut);
        self.cluster().restart(away)?;
        self.serves(away, second.1, Duration::from_millis(2 * step.hold_ms)).await;
        self.cluster().links.heal();
        self.cluster().kill(third);
        self.cluster().restart(third)?;
        let until = Instant::now() + CONVERGE_WITHIN;
        for id in self.cluster().ids() {
            loop {
                let (_, damaged) = bodies(&self.cluster().dir(id))?;
                if damaged.is_empty() {
                    break;
                }
                ensure!(Instant::now() < until, "node {id} does not mend {damaged:?}");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Changes an object whose body stands outside the log; its hash, and the revision.
    async fn put_large(&mut self, node: u64) -> Result<(String, u64)> {
        self.probes += 1;
        let number = self.probes;
        let value = |value: u64| json!({ "value": format!("large-{number}-{value:012}") });
        let list = json!({ "entries": (0..LIST_VALUES).map(value).collect::<Vec<_>>() });
        let body = json!({
            "request_id": format!("large-{number}-{:x}", self.seed), "why": "probe",
            "changes": [{ "kind": "list", "name": "large", "op": "put", "body": list }],
        });
        let hash = sha256_hex(list.to_string().as_bytes());
        let until = Instant::now() + CONVERGE_WITHIN;
        loop {
            match self.client.try_change(Kind::Change, &body, node).await {
                Reply::Ok { body, .. } => {
                    return Ok((hash, body["revision"].as_u64().context("a revision")?));
                }
                other => ensure!(Instant::now() < until, "a large body is not taken: {other:?}"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Who leads while `away` is away.
    async fn leads(&self, away: u64) -> Result<u64> {
        let until = Instant::now() + CONVERGE_WITHIN;
        loop {
            if let Some(leader) = self.cluster().leader().await.filter(|leader| *leader != away) {
                return Ok(leader);
            }
            ensure!(Instant::now() < until, "no leader is seen");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until a node serves a revision, or so long.
    async fn serves(&self, node: u64, revision: u64, limit: Duration) {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            let question = Ask::get("/v1/status").at_least(revision).within(limit);
            if self.cluster().ask(node, question).await.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The leader or a follower goes on where no file has room to grow. It is started anew when the
    /// fault is healed.
    pub(super) fn disk_full(&self, step: Step, roles: &Roles) -> Result<()> {
        let one = if step.choice.is_multiple_of(2) { roles.leader } else { roles.follower };
        self.begin(step, &[]);
        self.cluster().kill(one);
        let (bytes, _) = largest_file(&self.cluster().dir(one).join("data"))?;
        self.cluster().restart_limited(one, bytes + ROOM_BYTES)
    }

    /// A follower whose store has another bit than it wrote says so and does not start, or does not
    /// need it. One that does not start is replaced.
    pub(super) async fn flipped_bit(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let one = roles.follower;
        self.cluster().kill(one);
        let (length, path) = largest_file(&self.cluster().dir(one).join("data/raft"))?;
        let mut bytes = std::fs::read(&path)?;
        let place = usize::try_from(step.choice.wrapping_mul(7_919) % length.max(1))?;
        bytes[place] ^= 1 << (step.choice % 8);
        std::fs::write(&path, bytes)?;
        self.cluster().restart(one)?;
        let until = Instant::now() + SAYS_WITHIN;
        while Instant::now() < until {
            if let Some((id, log)) = self.cluster().ended()
                && id == one
            {
                ensure!(log.contains("VD0"), "node {one} does not say why it ends: {log}");
                self.cluster().kill(one);
                return self.take_its_place(roles).await;
            }
            let ready = self.cluster().ask(one, Ask::get("/readyz")).await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                tokio::time::sleep(Duration::from_millis(step.hold_ms)).await;
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.cluster().kill(one);
        self.take_its_place(roles).await
    }
}
