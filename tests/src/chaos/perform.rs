//! Carries out the faults of a schedule on a cluster, heals them, and waits until all is well.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::cluster::{Cluster, LOOK_AGAIN};
use super::history::{Kind, Record, Reply};
use super::http::Ask;
use super::links::Mode;
use super::load::{Client, Load, Shared};
use super::schedule::{Fault, Step};

/// How long a healed cluster may take until every node serves, takes changes and is not stale.
pub const CONVERGE_WITHIN: Duration = Duration::from_secs(60);
/// How long a leader may take to be seen while nothing is wrong.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
/// One question of a convergence check.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// Carries out faults.
pub struct Performer {
    shared: Shared,
    client: Client,
    probes: u64,
    seed: u64,
}

/// Who is who when a fault begins.
struct Roles {
    leader: u64,
    follower: u64,
    others: Vec<u64>,
}

impl Performer {
    /// A performer for a cluster.
    #[must_use]
    pub fn new(shared: Shared, seed: u64) -> Self {
        let client = shared.client(format!("nemesis-{seed:x}"), seed ^ 0xFA17);
        Self { shared, client, probes: 0, seed }
    }

    fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    async fn roles(&self, choice: u64) -> Result<Roles> {
        let until = Instant::now() + LEADER_WITHIN;
        let leader = loop {
            if let Some(leader) = self.cluster().leader().await {
                break leader;
            }
            anyhow::ensure!(Instant::now() < until, "no leader is seen");
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let others: Vec<u64> =
            self.cluster().ids().into_iter().filter(|id| *id != leader).collect();
        let place = usize::try_from(choice)? % others.len().max(1);
        let follower = *others.get(place).context("a follower")?;
        Ok(Roles { leader, follower, others })
    }

    /// Performs one step and heals it. An error is one of the harness or a cluster that never
    /// became well.
    ///
    /// # Errors
    /// See above.
    pub async fn perform(&mut self, step: Step) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(step.quiet_ms)).await;
        let roles = self.roles(step.choice).await?;
        let name = step.fault.name();
        let performed = self.fault(step, &roles).await;
        self.heal()?;
        let at_us = self.shared.recorder.now_us();
        self.shared.recorder.add(Record::Healed { name: name.to_owned(), at_us });
        performed.with_context(|| name.to_owned())?;
        self.converge(name).await
    }

    fn begin(&self, step: Step, isolated: &[u64]) {
        self.shared.recorder.add(Record::Fault {
            name: step.fault.name().to_owned(),
            isolated: isolated.to_vec(),
            at_us: self.shared.recorder.now_us(),
        });
    }

    fn heal(&self) -> Result<()> {
        self.cluster().links.heal();
        for id in self.cluster().ids() {
            if self.cluster().runs(id) {
                self.cluster().signal(id, "-CONT")?;
            } else {
                self.cluster().restart(id)?;
            }
        }
        Ok(())
    }

    async fn fault(&mut self, step: Step, roles: &Roles) -> Result<()> {
        let hold = Duration::from_millis(step.hold_ms);
        match step.fault {
            Fault::KillLeader | Fault::KillFollower | Fault::KillMajority => {
                self.kill(step, roles);
            }
            Fault::RestartAll => {
                self.begin(step, &[]);
                self.kill_all();
                return Ok(());
            }
            Fault::ColdStartAlone => {
                self.kill_all();
                self.cluster().restart(roles.follower)?;
                // It is isolated once it answers: before, there is nothing to mark.
                self.cluster().wait_ready(roles.follower).await?;
                self.begin(step, &[roles.follower]);
            }
            Fault::PauseLeader | Fault::PauseFollower => {
                let paused =
                    if step.fault == Fault::PauseLeader { roles.leader } else { roles.follower };
                self.begin(step, &[]);
                self.cluster().signal(paused, "-STOP")?;
            }
            Fault::IsolateLeader => self.isolate(step, roles.leader),
            Fault::IsolateFollower => self.isolate(step, roles.follower),
            Fault::MuteLeader | Fault::MuteFollower | Fault::DeafLeader => {
                self.begin(step, &[]);
                let one =
                    if step.fault == Fault::MuteFollower { roles.follower } else { roles.leader };
                for other in self.cluster().ids() {
                    let heard = step.fault == Fault::DeafLeader;
                    let way = if heard { (other, one) } else { (one, other) };
                    self.cluster().links.set(way, Mode::Cut);
                }
            }
            Fault::Delay => self.everywhere(step, Mode::Delay { ms: 75, jitter_ms: 50 }),
            Fault::Loss => self.everywhere(step, Mode::Loss { percent: 50 }),
            Fault::Corrupt => self.everywhere(step, Mode::Corrupt { permille: 100 }),
            Fault::FlapLeader | Fault::Reset => return self.flap(step, roles).await,
            Fault::Learner => return self.learner(step, roles).await,
            Fault::Replace => return self.replace(step, roles).await,
            Fault::RollbackCutOff => return self.rollback_cut_off(step, roles).await,
            Fault::RollbackLeaderChange => return self.rollback_leader_change(step, roles).await,
            Fault::Overload => {
                self.begin(step, &[]);
                let mut burst = Load::start(&self.shared, self.seed ^ step.choice, 10);
                tokio::time::sleep(hold).await;
                burst.stop().await;
                return Ok(());
            }
        }
        tokio::time::sleep(hold).await;
        Ok(())
    }

    fn kill(&self, step: Step, roles: &Roles) {
        let victims = match step.fault {
            Fault::KillLeader => vec![roles.leader],
            Fault::KillFollower => vec![roles.follower],
            _ => vec![roles.leader, roles.follower],
        };
        for id in &victims {
            self.cluster().kill(*id);
        }
        let left = self.cluster().ids().into_iter().filter(|id| !victims.contains(id));
        let left: Vec<u64> = left.collect();
        self.begin(step, if left.len() > victims.len() { &[] } else { &left });
    }

    fn kill_all(&self) {
        for id in self.cluster().ids() {
            self.cluster().kill(id);
        }
    }

    fn isolate(&self, step: Step, one: u64) {
        for other in self.cluster().ids() {
            self.cluster().links.set((one, other), Mode::Cut);
            self.cluster().links.set((other, one), Mode::Cut);
        }
        self.begin(step, &[one]);
    }

    fn everywhere(&self, step: Step, mode: Mode) {
        self.begin(step, &[]);
        for from in self.cluster().ids() {
            for to in self.cluster().ids() {
                self.cluster().links.set((from, to), mode);
            }
        }
    }

    /// The leader's links, or all, come and go.
    async fn flap(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let until = Instant::now() + Duration::from_millis(step.hold_ms);
        let mut turn = step.choice;
        while Instant::now() < until {
            for from in self.cluster().ids() {
                for to in self.cluster().ids() {
                    let mode = if step.fault == Fault::Reset { Mode::Reset } else { Mode::Cut };
                    if step.fault == Fault::Reset || [from, to].contains(&roles.leader) {
                        self.cluster().links.set((from, to), mode);
                    }
                }
            }
            // Below, about, and beyond an election's timeout.
            tokio::time::sleep(Duration::from_millis(100 + turn % 7 * 150)).await;
            self.cluster().links.heal();
            turn = turn.wrapping_mul(31).wrapping_add(7);
            tokio::time::sleep(Duration::from_millis(100 + turn % 5 * 150)).await;
        }
        Ok(())
    }

    async fn learner(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let id = self.cluster().join(roles.follower, false).await?;
        tokio::time::sleep(Duration::from_millis(step.hold_ms)).await;
        self.cluster().change_member(id, "remove").await?;
        self.cluster().forget(id);
        Ok(())
    }

    async fn replace(&self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        self.cluster().kill(roles.follower);
        self.cluster().change_member(roles.follower, "remove").await?;
        self.cluster().forget(roles.follower);
        let at = roles.others.iter().copied().find(|id| *id != roles.follower);
        let id = self.cluster().join(at.unwrap_or(roles.leader), true).await?;
        let until = Instant::now() + CONVERGE_WITHIN;
        while !self.cluster().voters(id).await.unwrap_or_default().contains(&id) {
            anyhow::ensure!(Instant::now() < until, "node {id} does not become a voter");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn rollback_cut_off(&mut self, step: Step, roles: &Roles) -> Result<()> {
        self.isolate(step, roles.follower);
        if let Some(body) = self.client.next_rollback() {
            // First where it cannot be done, then by whoever can.
            self.client.try_change(Kind::Rollback, &body, roles.follower).await;
            self.client.settle(Kind::Rollback, &body, 12).await;
        }
        Ok(())
    }

    async fn rollback_leader_change(&mut self, step: Step, roles: &Roles) -> Result<()> {
        self.begin(step, &[]);
        let Some(body) = self.client.next_rollback() else { return Ok(()) };
        let cluster = std::sync::Arc::clone(&self.shared.cluster);
        let (leader, after_us) = (roles.leader, step.choice % 20_000);
        let killing = async {
            tokio::time::sleep(Duration::from_micros(after_us)).await;
            cluster.kill(leader);
        };
        tokio::join!(killing, self.client.try_change(Kind::Rollback, &body, roles.follower));
        self.client.settle(Kind::Rollback, &body, 12).await;
        Ok(())
    }

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

    /// A backup of the cluster, its end, and a cluster of the backup.
    ///
    /// # Errors
    /// Of the harness; what the restored cluster does wrong is in the history.
    pub async fn backup_destroy_restore(
        &mut self,
        program: &std::path::Path,
        folder: &std::path::Path,
    ) -> Result<()> {
        let least = self.shared.knowledge.revision();
        let restored = self.restored(program, folder, least).await;
        let (entries, failure): (Vec<Json>, _) = match restored {
            Ok(entries) => (entries, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        self.shared.recorder.add(Record::Restored { least, entries, failure });
        Ok(())
    }

    async fn restored(
        &self,
        program: &std::path::Path,
        folder: &std::path::Path,
        least: u64,
    ) -> Result<Vec<Json>> {
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
        Ok(entries)
    }
}
